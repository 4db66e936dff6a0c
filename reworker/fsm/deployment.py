"""The snapshot of a deployment: everything the machine remembers, of the same size for any plan."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from reworker.fsm.commands import TimerKind
from reworker.fsm.states import AttemptStatus, DeploymentStatus


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One open attempt: not ended, or ended in a doubt that nobody has settled yet.

    `is_unconfirmed` says that the doubt is about its publish, so a worker's answer can still end it.
    """

    number: int
    step_index: int
    status: AttemptStatus = AttemptStatus.READY
    timers: tuple[TimerKind, ...] = ()
    is_unconfirmed: bool = False


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Where and why a deployment failed."""

    step_index: int
    host: str
    step: str
    attempt: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """A deployment between two events.

    `position` is the index of the step that is open or comes next, `tries` how often it was dispatched,
    `reason` why the deployment waits, failed or was cancelled. Steps that run side by side will each have
    a cursor in place of `position` and `tries`; `attempts` already holds several.
    """

    id: str
    status: DeploymentStatus = DeploymentStatus.QUEUED
    is_unattended: bool = False
    position: int = 0
    tries: int = 0
    attempt_count: int = 0
    attempts: tuple[Attempt, ...] = ()
    completed_count: int = 0
    failed_count: int = 0
    skipped_count: int = 0
    failure: Failure | None = None
    reason: str = ""
    created_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None

    def attempt(self, number: int) -> Attempt | None:
        """Return the open attempt of this number, or None."""
        return next((attempt for attempt in self.attempts if attempt.number == number), None)
