"""The embedded broker as a process of its own beside `up` and `demo`."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from reworker.cli.local_process import LocalProcess


class LocalBroker(LocalProcess):
    """Runs from `__enter__` to `__exit__`; see `LocalProcess`.

    It has a process of its own so that it shares no interpreter lock with the core and the workers.

    Args:
        port: to listen on; 0 takes a free one, which it keeps.
        store: file of its durable queues and messages.
    """

    def __init__(self, port: int, store: Path) -> None:
        super().__init__("embedded broker", ())
        self._port, self._store = port, store
        #: address and login, once it runs.
        self.url = ""

    def __enter__(self) -> Self:
        """Start it; see `LocalProcess`."""
        super().__enter__()
        self._port = urlsplit(self.url).port or self._port
        return self

    def _own_arguments(self) -> Sequence[str]:
        return ("broker", "--port", str(self._port), "--store", str(self._store))

    def _is_ready(self, process: subprocess.Popen[str]) -> bool:
        for line in process.stdout or ():
            words = line.split()
            if words[:2] == ["listening", "on"]:
                self.url = words[2].replace(":***@", ":guest@")
                return True
            self._last = line.strip() or self._last
        return False
