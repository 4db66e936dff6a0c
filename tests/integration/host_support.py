"""A host of small workers in a process of its own, and what a test asks of it."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.integration.worker_support import FakeCore
from tests.support.processes import Process
from tests.support.waiting import wait_until

WORKERS = """
import os
import sys
from pathlib import Path
from reworker.worker import Job, Worker, step

class Small(Worker):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if Path(f"crash-{type(self).__name__.lower()}").exists():
            os._exit(9)
        if Path(f"quit-{type(self).__name__.lower()}").exists():
            sys.exit("no key")

    @step("Play", idempotent=True)
    def play(self, job: Job, *, seconds: float = 0.0) -> int:
        job.sleep(seconds)
        return os.getpid()

for number in range(10):
    globals()[f"T{number}Worker"] = type(f"T{number}Worker", (Small,), {"__module__": __name__})
"""


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Host:
    """``reworker host`` in a folder with the workers ``t0`` to ``t9``.

    Args:
        start: starts a process that is killed at the end of the test.
        folder: where it works.
        core: sends steps.
    """

    def __init__(self, start: Callable[..., Process], folder: Path, core: FakeCore) -> None:
        self._start, self.folder, self.core = start, folder, core
        self._numbers = itertools.count(1)
        (folder / "small.py").write_text(WORKERS)

    def begin(self, url: str, entries: str, *arguments: str, count: int, top: str = "") -> Process:
        """Start it with these entries, and wait until so many processes consume."""
        (self.folder / "host.yaml").write_text(f"mq: {url}\n{top}workers:\n{entries}")
        command = ("-m", "reworker", "host", "-c", "host.yaml", *arguments)
        self.process = self._start(*command, folder=self.folder)
        for _ in range(count):
            self.process.wait_for_line(r"consuming worker\.")
        return self.process

    def pids(self) -> dict[str, int]:
        """Return the last process of each slot."""
        found = re.findall(r"(\S+): started as process (\d+)", self.process.output)
        return {name: int(pid) for name, pid in found}

    def send(self, type_name: str, **parameters: Any) -> str:
        """Send a step to a worker type; return its attempt."""
        return self.core.send(next(self._numbers), 2, f"worker.{type_name}", **parameters)

    def wait(self, *attempts: str) -> None:
        """Wait until each has completed; being started twice is no fault of an idempotent step."""
        for attempt in attempts:
            wait_until(lambda one=attempt: "completed" in self.core.statuses(one), 30)  # type: ignore[misc]  # bound here
            assert self.core.statuses(attempt).count("completed") == 1

    def data_of(self, attempt: str) -> Any:
        """Wait for the end of an attempt, and return what it has answered."""
        self.wait(attempt)
        mine = [one for one in self.core.replies if one.properties.correlation_id == attempt]
        return json.loads(mine[-1].body)["data"]

    def wait_for_replacement(self, name: str, pid: int) -> int:
        """Wait until another process is in a slot; return its id."""
        wait_until(lambda: self.pids()[name] != pid, 60, f"another process for {name}")
        return self.pids()[name]

    def kill(self, name: str) -> int:
        """Kill the process of a slot; return its id."""
        pid = self.pids()[name]
        os.kill(pid, signal.SIGKILL)
        return pid
