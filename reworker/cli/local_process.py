"""A process of ours beside `up` and `demo`: started, watched, started again."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Self

from reworker.cli.main import EXIT_USAGE
from reworker.errors import ConfigError

logger = logging.getLogger(__name__)

#: seconds between two tries to start a process that has ended.
RESTART_S = 0.5


class LocalProcess:
    """Runs from `__enter__` to `__exit__`; when it ends in between, another takes its place.

    Args:
        name: what it is called in the log.
        arguments: of ``reworker``.
        environ: variables beside those of this process.
    """

    def __init__(self, name: str, arguments: Sequence[str], environ: Mapping[str, str] | None = None) -> None:
        self._name, self._arguments, self._environ = name, arguments, environ or {}
        self._stopping = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name=f"{name} watch", daemon=True)

    def __enter__(self) -> Self:
        """Start it.

        Raises:
            ConfigError: it did not start; the text has its last words.
        """
        self._process = self._start()
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._process.terminate()
        self._watcher.join()

    def _own_arguments(self) -> Sequence[str]:
        """Return the arguments for the next start."""
        return self._arguments

    def _is_ready(self, process: subprocess.Popen[str]) -> bool:
        """Wait until it is ready, where that matters; tell whether it came to that."""
        return True

    def _start(self) -> subprocess.Popen[str]:
        # -P: a folder called reworker in the current one must not be taken for us.
        # --leash: it ends with us even when we are killed; nobody else would stop it.
        command = [sys.executable, "-P", "-m", "reworker", *self._own_arguments(), "--leash"]
        process = subprocess.Popen(
            [*command, "--log-level", "WARNING"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **self._environ},
            # Its own session: Ctrl-C goes to us alone, and we stop it after everything that uses it.
            start_new_session=True,
        )
        self._last = ""
        if self._is_ready(process):
            return process
        _reap(process)
        raise ConfigError(f"the {self._name} did not start: {self._last.removeprefix('reworker: ')}")

    def _watch(self) -> None:
        """Pass on what it says, so that it never waits for a reader; replace it when it has ended."""
        while True:
            for line in self._process.stdout or ():
                logger.warning("%s: %s", self._name, line.rstrip())
            code = _reap(self._process)
            if self._stopping.is_set():
                return
            if code == EXIT_USAGE:
                logger.error("the %s cannot run like this; it is not started again", self._name)
                return
            logger.error("the %s ended with code %d; starting it again", self._name, code)
            self._replace()

    def _replace(self) -> None:
        while not self._stopping.wait(RESTART_S):
            try:
                self._process = self._start()
            except ConfigError as error:
                logger.error("%s", error)
                continue
            if self._stopping.is_set():
                self._process.terminate()
            return


def _reap(process: subprocess.Popen[str]) -> int:
    code = process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()
    return code
