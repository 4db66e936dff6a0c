"""The embedded broker as a process of its own beside `up` and `demo`: started, watched, started again."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from reworker.errors import ConfigError

logger = logging.getLogger(__name__)

#: seconds between two tries to start a broker that has ended.
RESTART_S = 0.5


class LocalBroker:
    """Runs from `__enter__` to `__exit__`; when its process ends in between, another takes its place.

    It has a process of its own so that it shares no interpreter lock with the core and the workers.

    Args:
        port: to listen on; 0 takes a free one, which it keeps.
        store: file of its durable queues and messages.
    """

    def __init__(self, port: int, store: Path) -> None:
        self._port, self._store = port, store
        self._stopping = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="broker watch", daemon=True)
        #: address and login, once it runs.
        self.url = ""

    def __enter__(self) -> Self:
        """Start it.

        Raises:
            ConfigError: it did not start; the text has its last words.
        """
        self._process = self._start()
        self._port = urlsplit(self.url).port or self._port
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._process.terminate()
        self._watcher.join()

    def _start(self) -> subprocess.Popen[str]:
        # -P: a folder called reworker in the current one must not be taken for us.
        # --leash: it ends with us even when we are killed; nobody else would stop it, and it holds the store.
        command = [sys.executable, "-P", "-m", "reworker", "broker", "--leash", "--log-level", "WARNING"]
        process = subprocess.Popen(
            [*command, "--port", str(self._port), "--store", str(self._store)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # Its own session: Ctrl-C goes to us alone, and we stop it after everything that uses it.
            start_new_session=True,
        )
        last = ""
        for line in process.stdout or ():
            words = line.split()
            if words[:2] == ["listening", "on"]:
                self.url = words[2].replace(":***@", ":guest@")
                return process
            last = line.strip() or last
        _reap(process)
        raise ConfigError(f"the embedded broker did not start: {last.removeprefix('reworker: ')}")

    def _watch(self) -> None:
        """Pass on what it says, so that it never waits for a reader; replace it when it has ended."""
        while True:
            for line in self._process.stdout or ():
                logger.warning("broker: %s", line.rstrip())
            code = _reap(self._process)
            if self._stopping.is_set():
                return
            logger.error("the embedded broker ended with code %d; starting it again", code)
            self._replace()

    def _replace(self) -> None:
        while not self._stopping.is_set():
            try:
                self._process = self._start()
            except ConfigError as error:
                logger.error("%s", error)
                self._stopping.wait(RESTART_S)
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
