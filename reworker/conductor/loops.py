"""The event loop of a process of ``async def`` workers: one for all its tasks, as clients expect."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable
from concurrent.futures import CancelledError
from typing import Any

from reworker.errors import JobCancelled
from reworker.jobs.attempt import Attempt


class ProcessLoop:
    """An event loop on a thread of its own, started when it is first needed.

    Threads: `run` belongs to any, and waits. It must not be used before the process forks.
    End of life: with the process.

    Args:
        name: of the thread.
    """

    def __init__(self, name: str) -> None:
        self._name, self._lock = name, threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(self, work: Awaitable[Any], attempt: Attempt) -> Any:
        """Return what a coroutine gives; when the attempt is interrupted, it is cancelled where it waits.

        Raises:
            JobError: it was interrupted.
            BaseException: whatever it raises.
        """
        loop = self._started()
        tasks: list[asyncio.Task[Any]] = []

        def cancel() -> None:
            for task in tasks:
                task.cancel()

        async def supervised() -> Any:
            task = asyncio.current_task()
            assert task is not None
            tasks.append(task)
            if attempt.is_cancelled or attempt.interrupt.fired is not None:
                task.cancel()  # before it was there to be told
            return await work

        attempt.interrupt.use(lambda: _call(loop, cancel))
        try:
            return asyncio.run_coroutine_threadsafe(supervised(), loop).result()
        except (CancelledError, asyncio.CancelledError) as error:
            raise (attempt.interrupt.fired or JobCancelled)() from error
        finally:
            attempt.interrupt.use(None)

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name=self._name, daemon=True).start()
            return self._loop


def _call(loop: asyncio.AbstractEventLoop, call: Any) -> None:
    loop.call_soon_threadsafe(call)
