"""A host that is started anew when the source of its workers changes; for development.

One process watches files and imports no worker, the host is its child: so each start reads all source afresh.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import signal
import site
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from reworker.clock import SystemClock
from reworker.errors import ReworkerError
from reworker.host.child import HANDLED, fork
from reworker.host.slot import words_of
from reworker.logs import escaped

logger = logging.getLogger("reworker.host")

#: seconds between two looks at the files.
LOOK_S = 0.3
#: changed files that are named.
SHOWN_COUNT = 5
#: exit code when the settings are wrong or a worker cannot be imported.
CONFIG_EXIT_CODE = 2
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

Snapshot = dict[str, tuple[int, int]]


class Runnable(Protocol):
    """What a child runs."""

    def run(self) -> int:
        """Run until told to stop; return the exit code."""
        ...


class ReloadingHost:
    """Runs a host in a child, and another one whenever a file has changed, until told to stop.

    Threads: `run` belongs to the main thread of a process that has imported no worker.

    Args:
        make: returns what to run; called in the child.
        files: settings, to be watched beside the source.
    """

    def __init__(self, make: Callable[[], Runnable], files: Iterable[str]) -> None:
        self._make = make
        self._files = set(files)
        self._pid = self._exit_code = 0
        self._pipe: BinaryIO = io.BytesIO()
        self._told = b""
        self._before: Snapshot = {}
        self._is_stopping = self._is_leaving = False

    def run(self) -> int:
        """Run until told to stop; return the exit code of the last child."""
        old = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
        try:
            while not self._is_stopping:
                self._start()
                self._watch()
                self._end_child()
            return self._exit_code
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, old)

    def _start(self) -> None:
        self._before = snapshot_of(self._files)
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        self._pid = fork(lambda: _work(self._make, writing), [reading])
        os.close(writing)
        self._pipe, self._told = os.fdopen(reading, "rb"), b""

    def _watch(self) -> None:
        """Wait until something changes, or a signal tells to stop."""
        while not self._is_stopping:
            self._hear(LOOK_S)
            self._learn()
            now, before = snapshot_of(self._files), self._before
            if now != before and not self._is_stopping:
                names = sorted(one for one in now.keys() | before.keys() if now.get(one) != before.get(one))
                logger.info("changed: %s; the host is started anew", ", ".join(names[:SHOWN_COUNT]))
                self._wait_for_rest(now)
                break
        self._pipe.close()

    def _learn(self) -> None:
        """Watch the files that the child has named, too."""
        self._told += self._pipe.read() or b""
        if self._told.endswith(b"\n"):
            named, seen = json.loads(self._told)
            self._told = b""
            self._files |= set(named)
            self._before = {**{path: (at, size) for path, at, size in seen}, **self._before}

    def _wait_for_rest(self, last: Snapshot) -> None:
        """Wait until nothing has changed between two looks: a checkout changes many files."""
        self._hear(LOOK_S)
        while (now := snapshot_of(self._files)) != last and not self._is_stopping:
            last = now
            self._hear(LOOK_S)

    def _hear(self, limit_s: float) -> None:
        """Do what a signal says, if one comes in time."""
        found = signal.sigtimedwait(HANDLED, limit_s)
        if found is None:
            return
        number = signal.Signals(found.si_signo)
        if number is signal.SIGCHLD:
            self._reap()
        elif number in STOP_SIGNALS:
            self._is_stopping = True
            self._send(signal.SIGTERM)
        else:
            self._send(number)

    def _reap(self) -> None:
        pid, status = os.waitpid(self._pid, os.WNOHANG) if self._pid else (0, 0)
        if pid:
            self._pid, self._exit_code = 0, os.waitstatus_to_exitcode(status)
            if not self._is_stopping and not self._is_leaving:
                logger.warning("the host ended with %s; waiting for a change", words_of(self._exit_code))

    def _end_child(self) -> None:
        """Have the child drain, and wait for its end; a signal to stop ends it at once."""
        self._is_leaving = True
        if not self._is_stopping:  # else it has been told
            self._send(signal.SIGTERM)
        while self._pid:
            self._hear(LOOK_S)
        self._is_leaving = False

    def _send(self, number: signal.Signals) -> None:
        if self._pid:
            os.kill(self._pid, number)


def snapshot_of(files: Iterable[str]) -> Snapshot:
    """Return time of change and size of files that are there, and of all source beside them."""
    folders = {os.path.dirname(one) for one in files if one.endswith(".py")}
    paths = {*files, *(str(one) for folder in folders for one in Path(folder).glob("*.py"))}
    found: Snapshot = {}
    for path in paths:
        with contextlib.suppress(OSError):
            status = os.stat(path)
            found[path] = status.st_mtime_ns, status.st_size
    return found


def _work(make: Callable[[], Runnable], writing: int) -> int:
    """Make what is to be run, say which files it was made of, and run it."""
    known, began_ns = set(sys.modules), int(SystemClock().now().timestamp() * 1e9)
    try:
        made = make()
    except ReworkerError as error:
        _tell(writing, [*_loaded_since(known), *_named_by(error)], began_ns)
        for line in str(error).splitlines():
            sys.stderr.write(escaped(f"reworker: {line}") + "\n")
        return CONFIG_EXIT_CODE
    _tell(writing, _loaded_since(known), began_ns)
    return made.run()


def _tell(writing: int, files: Iterable[str], began_ns: int) -> None:
    """Write ``[[path], [[path, time, size]]]``; what has changed while it was read has no time."""
    named = list(files)
    seen = [(path, at if at < began_ns else 0, size) for path, (at, size) in snapshot_of(named).items()]
    with os.fdopen(writing, "w", encoding="utf-8") as pipe:
        pipe.write(json.dumps([named, seen]) + "\n")


def _loaded_since(before: set[str]) -> Iterator[str]:
    """Yield the source of modules loaded since that are neither installed nor Python's; and where we are."""
    for name in set(sys.modules) - before:
        path = getattr(sys.modules[name], "__file__", None)
        if isinstance(path, str) and _is_watched(path):
            yield os.path.abspath(path)
    yield os.path.join(os.getcwd(), "*.py")  # not there itself, but a file that is new beside it counts


def _named_by(error: BaseException | None) -> Iterator[str]:
    """Yield the source that an error came through; it has to be watched to see the repair."""
    while error is not None:
        if isinstance(error, SyntaxError) and error.filename:
            yield os.path.abspath(error.filename)
        for frame in traceback.extract_tb(error.__traceback__):
            if _is_watched(frame.filename):
                yield os.path.abspath(frame.filename)
        error = error.__cause__


def _is_watched(path: str) -> bool:
    installed = (*site.getsitepackages(), site.getusersitepackages(), sysconfig.get_path("stdlib"))
    return path.endswith(".py") and not path.startswith(tuple(f"{one}{os.sep}" for one in installed))
