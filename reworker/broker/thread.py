"""Run a broker on an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, Self, TypeVar

#: seconds a call into the broker's thread may take; it answers in microseconds unless it is broken.
CALL_TIMEOUT_S = 10.0

T = TypeVar("T")


class Runnable(Protocol):
    """The broker, as seen from here."""

    port: int

    async def start(self) -> None:
        """Listen."""
        ...

    async def stop(self) -> None:
        """Close."""
        ...

    def url(self, vhost: str = "/") -> str:
        """Return the address for clients."""
        ...

    def add_vhost(self, name: str) -> object:
        """Create a vhost."""
        ...

    def inspect(self) -> dict[str, Any]:
        """Return the state."""
        ...

    def drop_connections(self) -> int:
        """Cut all sockets."""
        ...

    def block(self, reason: str = ...) -> None:
        """Make publishers wait."""
        ...

    def unblock(self) -> None:
        """Let publishers go on."""
        ...

    def pause(self) -> None:
        """Freeze reading and writing."""
        ...

    def resume(self) -> None:
        """End `pause`."""
        ...


class BrokerThread:
    """A broker in a thread; see `server.BrokerThread`."""

    def __init__(self, broker: Runnable) -> None:
        self._broker = broker
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port it listens on; known after the first `start`."""
        return self._broker.port

    def url(self, vhost: str = "/") -> str:
        """Return the address for clients, password included."""
        return self._broker.url(vhost)

    def start(self) -> Self:
        """Start the thread and listen; after `stop` on the same port again."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="reworker-broker", daemon=True)
        self._thread.start()
        try:
            self._run(self._broker.start())
        except BaseException:
            self._end()
            raise
        return self

    def stop(self) -> None:
        """Close all connections and end the thread; safe twice."""
        if self._loop is not None:
            try:
                self._run(self._broker.stop())
            finally:
                self._end()

    def _end(self) -> None:
        loop, self._loop = self._loop, None
        if loop and self._thread:
            loop.call_soon_threadsafe(loop.stop)
            self._thread.join(CALL_TIMEOUT_S)
            loop.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        if self._loop is None:
            coroutine.close()
            raise RuntimeError("the broker thread is not running")
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(CALL_TIMEOUT_S)

    def _call(self, function: Callable[[], T]) -> T:
        async def call() -> T:
            return function()

        return self._run(call())

    def add_vhost(self, name: str) -> None:
        """Create a vhost; no effect when it exists."""
        self._call(lambda: self._broker.add_vhost(name))

    def inspect(self) -> dict[str, Any]:
        """Return queues, depths, consumers and bindings as plain values; see `inspection.describe`."""
        return self._call(self._broker.inspect)

    def drop_connections(self) -> int:
        """Cut all sockets without a word and return how many there were."""
        return self._call(self._broker.drop_connections)

    def block(self, reason: str = "blocked by a test") -> None:
        """Make publishers wait, as a broker without memory or disk does; they are told at their next publish."""
        self._call(lambda: self._broker.block(reason))

    def unblock(self) -> None:
        """Let publishers go on."""
        self._call(self._broker.unblock)

    def pause(self) -> None:
        """Freeze reading and writing: to a client the connection is half open."""
        self._call(self._broker.pause)

    def resume(self) -> None:
        """End `pause`."""
        self._call(self._broker.resume)
