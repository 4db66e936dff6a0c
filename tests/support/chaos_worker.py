"""The worker of the random playbooks: does, takes back, looks and fails; a file has a mark of each."""

from __future__ import annotations

import os
import time
import zlib
from pathlib import Path
from typing import Any

import msgspec

from reworker.errors import JobFailed
from reworker.worker import Job, Worker, step

#: environment variable that names the file of marks.
MARKS_VARIABLE = "REWORKER_CHAOS_MARKS"
#: how the command line names this worker, and its suffix: its queue is ``worker.chaos``.
WORKER, SUFFIX = "tests.support.chaos_worker:ChaosWorker", "chaos"


class Mark(msgspec.Struct, frozen=True):
    """One line of the file; its place in the file is its place in time.

    `kind` is ``begin``, ``end`` (it took effect) or ``fail`` (it did not), `attempt` the correlation id,
    `label` the step's name in its playbook, `host` empty for checks and actions.
    """

    kind: str
    deed: str
    attempt: str
    host: str
    label: str

    @property
    def deployment_id(self) -> str:
        """The deployment that the attempt belongs to."""
        return self.attempt.partition(".")[0]


class ChaosWorker(Worker):
    """Marks the begin, takes its time, marks the end; fails as often as the step's `odds` say."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._file = Path(os.environ[MARKS_VARIABLE])
        self._marks = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        super().__init__(*arguments, **{"queue": SUFFIX, **options})

    @step("Do")
    def do(self, job: Job, *, label: str, seconds: float = 0.0, odds: int = 0) -> None:
        """Do something to a host."""
        self._act(job, "do", label, seconds, odds)

    @step("Undo")
    def undo(self, job: Job, *, label: str, seconds: float = 0.0, odds: int = 0) -> None:
        """Take it back."""
        self._act(job, "undo", label, seconds, odds)

    @step("Look", idempotent=True)
    def look(self, job: Job, *, label: str) -> None:
        """Find out whether it was done within this deployment."""
        own_id = job.id.partition(".")[0]
        wanted = ("end", "do", own_id, job.hosts[0], label)
        marks = marks_in(self._file)
        if not any((one.kind, one.deed, one.deployment_id, one.host, one.label) == wanted for one in marks):
            raise JobFailed("it is not done")

    def _act(self, job: Job, deed: str, label: str, seconds: float, odds: int) -> None:
        self._mark("begin", deed, job, label)
        time.sleep(seconds)
        if zlib.crc32(job.id.encode()) % 100 < odds:
            self._mark("fail", deed, job, label)
            raise JobFailed("bad luck")
        self._mark("end", deed, job, label)

    def _mark(self, kind: str, deed: str, job: Job, label: str) -> None:
        host = job.hosts[0] if job.hosts else ""
        # one write: lines of two processes never mix
        os.write(self._marks, msgspec.json.encode(Mark(kind, deed, job.id, host, label)) + b"\n")


def marks_in(file: Path) -> list[Mark]:
    """Return the marks so far, oldest first."""
    lines = file.read_bytes().splitlines() if file.exists() else []
    return [msgspec.json.decode(line, type=Mark) for line in lines]
