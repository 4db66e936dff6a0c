"""A worker whose steps leave marks in a file, so that a test can count what really happened to hosts."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import msgspec

from reworker.worker import Job, Worker, step

#: environment variable that names the file of marks.
FILE_VARIABLE = "TEST_EFFECTS_FILE"
#: how the command line names this worker.
WORKER = "tests.support.effects:EffectsWorker"
#: steps of this worker, as playbooks write them.
ONCE, AGAIN = "effects:Once", "effects:Again"


class Mark(msgspec.Struct, frozen=True):
    """One line of the file; its place in the file is its place in time.

    `attempt` is the correlation id, `number` the step's number on its host.
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


class EffectsWorker(Worker):
    """Writes ``begin``, takes its time, writes ``end``."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._file = os.open(os.environ[FILE_VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        super().__init__(*arguments, **options)

    @step("Once")
    def once(self, job: Job, *, number: int, seconds: float = 0.02) -> None:
        """Do what must not be done twice."""
        self._act(job, number, seconds)

    @step("Again", idempotent=True)
    def again(self, job: Job, *, number: int, seconds: float = 0.02) -> None:
        """Do what may be done twice."""
        self._act(job, number, seconds)

    def _act(self, job: Job, number: int, seconds: float) -> None:
        self._mark("begin", job, number)
        time.sleep(seconds)
        self._mark("end", job, number)

    def _mark(self, kind: str, job: Job, number: int) -> None:
        mark = Mark(kind, job.id, job.hosts[0], number, os.getpid())
        os.write(self._file, msgspec.json.encode(mark) + b"\n")  # one write: lines of two processes never mix


def marks_in(file: Path) -> list[Mark]:
    """Return the marks so far, oldest first."""
    lines = file.read_bytes().splitlines() if file.exists() else []
    return [msgspec.json.decode(line, type=Mark) for line in lines]
