"""Processes that live short lives: forked, in milliseconds, from one that has loaded everything.

That one is the standard library's fork server, which has no threads. A life ends with its starter at the
latest, however that one ends; it has a session of its own, so that Ctrl-C is its starter's to act upon.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import wait as wait_for
from multiprocessing.process import BaseProcess
from pathlib import Path

from reworker.clock import SystemClock

#: what a life does: it gets the arguments of a command line and returns at its end.
Entry = Callable[[list[str]], None]

#: seconds a killed process may take to be gone.
END_S = 30.0
#: seconds between two looks into what a life has written.
LOOK_S = 0.02
# one at a time: the library looks at the others' ends when it starts one
_lock = threading.Lock()


class Nursery:
    """Starts lives.

    Args:
        entry: what each does; a function at the top of a module.
        preloaded: modules that the fork server loads beforehand.
    """

    def __init__(self, entry: Entry, preloaded: Sequence[str]) -> None:
        self._entry = entry
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(preloaded))

    def start(self, arguments: Sequence[str], environment: Mapping[str, str], output: Path) -> Life:
        """Start a life; what it says is appended to the file `output`."""
        own = (self._entry, list(arguments), dict(environment), str(output))
        process = self._context.Process(target=live, args=own, daemon=True)
        output.touch()
        start = output.stat().st_size
        with _lock:
            process.start()
        return Life(process, output, start)


class Life:
    """A process of ours; any thread may wait for its end."""

    def __init__(self, process: BaseProcess, output: Path, start: int) -> None:
        self._process, self._output, self._start = process, output, start
        self.pid = process.pid or 0

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet; one that stands still runs."""
        return self.exit_code is None

    @property
    def exit_code(self) -> int | None:
        """Its exit code; negative for a signal; None while it runs."""
        with _lock:
            return self._process.exitcode

    @property
    def output(self) -> str:
        """What it has said so far."""
        with self._output.open("rb") as file:
            file.seek(self._start)
            return file.read().decode(errors="replace")

    def has_ended(self, within_s: float) -> bool:
        """Wait for its end for a while, and tell whether it has come."""
        return bool(wait_for([self._process.sentinel], within_s))

    def is_said(self, word: str, timeout_s: float) -> bool:
        """Wait until it has said this, and tell whether it has; not, when it ends or takes too long."""
        clock = SystemClock()
        until_mono_s = clock.mono_s() + timeout_s
        while word not in self.output:
            if self.has_ended(LOOK_S) or clock.mono_s() > until_mono_s:
                return word in self.output
        return True

    def wait_for_word(self, word: str, timeout_s: float) -> None:
        """Wait until it has said this.

        Raises:
            TimeoutError: it has not, or it has ended; with what it said.
        """
        if not self.is_said(word, timeout_s):
            raise TimeoutError(f"{word!r} was not said by process {self.pid}:\n{self.output}")

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        if self.is_running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it at once and wait until it is gone. Safe twice."""
        self._end(signal.SIGKILL, END_S)

    def stop(self, timeout_s: float = END_S) -> None:
        """Tell it to stop in good order and wait for that.

        Raises:
            TimeoutError: it goes on; with what it said.
        """
        self._end(signal.SIGTERM, timeout_s)

    def _end(self, number: signal.Signals, timeout_s: float) -> None:
        self.send_signal(number)
        if not self.has_ended(timeout_s):
            raise TimeoutError(f"process {self.pid} goes on after {number.name}:\n{self.output}")


def live(entry: Entry, arguments: list[str], environment: dict[str, str], output: str) -> None:
    """Do what a life does, in its process."""
    os.setsid()
    # nothing loaded before the fork is ever garbage, and to look at it would copy its memory
    gc.freeze()
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), name="leash", daemon=True).start()
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for number in (1, 2):
        os.dup2(file, number)
    # a life may vanish at any moment: what it says must be in the file by then
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # they are text files here
    os.environ.update(environment)
    entry(arguments)


def _end_with(sentinel: int) -> None:
    wait_for([sentinel])
    os._exit(1)
