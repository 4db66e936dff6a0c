"""The worker of the drill: its steps leave marks in a file, which tell what really happened."""

from __future__ import annotations

import os
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import msgspec

from reworker.errors import ConfigError
from reworker.worker import Job, Worker, step

#: environment variable that names the file of marks.
MARKS_VARIABLE = "REWORKER_DRILL_MARKS"
#: how the command line names this worker, and its suffix: its queue is ``worker.drill``.
WORKER, SUFFIX = "reworker.drill.worker:DrillWorker", "drill"
#: steps of this worker, as playbooks write them.
ONCE, AGAIN = "drill:Once", "drill:Again"


class Mark(msgspec.Struct, frozen=True):
    """One line of the file; its place in the file is its place in time.

    `kind` is ``begin`` or ``end``, `attempt` the correlation id, `number` the step's number on its host.
    """

    kind: str
    attempt: str
    host: str
    number: int
    pid: int

    @property
    def deployment_id(self) -> str:
        """The deployment that the attempt belongs to."""
        return self.attempt.partition(".")[0]

    @property
    def place(self) -> tuple[str, int]:
        """Host and number: the planned step within its deployment."""
        return self.host, self.number


class DrillWorker(Worker):
    """Writes ``begin``, takes its time, writes ``end``."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        path = os.environ.get(MARKS_VARIABLE, "")
        if not path:
            raise ConfigError("names the file of marks; `reworker drill` sets it", key=MARKS_VARIABLE)
        self._marks = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        super().__init__(*arguments, **{"queue": SUFFIX, **options})

    @step("Once")
    def once(self, job: Job, *, number: int, seconds: float = 0.0) -> None:
        """Do what must not be done twice."""
        self._act(job, number, seconds)

    @step("Again", idempotent=True)
    def again(self, job: Job, *, number: int, seconds: float = 0.0) -> None:
        """Do what may be done twice."""
        self._act(job, number, seconds)

    def around(self, deed: str) -> AbstractContextManager[None]:
        """Do nothing; a faulty worker may end here."""
        return nullcontext()

    def _act(self, job: Job, number: int, seconds: float) -> None:
        with self.around("begin"):
            self._mark("begin", job, number)
        time.sleep(seconds)
        with self.around("end"):
            self._mark("end", job, number)

    def _mark(self, kind: str, job: Job, number: int) -> None:
        mark = Mark(kind, job.id, job.hosts[0], number, os.getpid())
        # one write: lines of two processes never mix
        os.write(self._marks, msgspec.json.encode(mark) + b"\n")


def marks_in(file: Path) -> list[Mark]:
    """Return the marks so far, oldest first."""
    lines = file.read_bytes().splitlines() if file.exists() else []
    return [msgspec.json.decode(line, type=Mark) for line in lines]
