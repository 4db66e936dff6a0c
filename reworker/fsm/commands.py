"""What the core has to do after an event: frozen commands, carried out after the snapshot is saved.

`attempt` is the attempt's number within its deployment. Every command may be carried out twice
without harm except `DispatchStep` of a step that is not idempotent.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from reworker.fsm.plan import Role
from reworker.fsm.states import AttemptStatus, DeploymentStatus


class TimerKind(StrEnum):
    """The timers and the event each becomes when it is due; the last two are the deployment's (attempt 0)."""

    QUEUE = "queue"  # QueueTimedOut
    RUN = "run"  # RunTimedOut
    HEARTBEAT = "heartbeat"  # HeartbeatLost
    CANCEL = "cancel"  # CancelTimedOut
    DELAY = "delay"  # DelayEnded
    APPROVAL = "approval"  # ApprovalExpired
    DEPLOYMENT = "deployment"  # DeploymentTimedOut
    LOCKS = "locks"  # LocksDue; set by the release of a lock, not by a command


@dataclass(frozen=True, kw_only=True)
class Command:
    """Base of all commands."""


@dataclass(frozen=True, kw_only=True)
class DispatchStep(Command):
    """Publish step `step_index` of the plan, or what belongs to it by `role`, as attempt `attempt`.

    `tries` counts from 1 per step; `fence` is that of the deployment's locks, 0 without.
    """

    attempt: int
    step_index: int
    tries: int
    role: Role = Role.STEP
    fence: int = 0


@dataclass(frozen=True, kw_only=True)
class RequestLocks(Command):
    """Take the plan's locks, all or none; the answer is `LocksGranted` or `LocksAwaited`."""


@dataclass(frozen=True, kw_only=True)
class ReleaseLocks(Command):
    """Give up the plan's locks, or the place in their queues."""


@dataclass(frozen=True, kw_only=True)
class StartTimer(Command):
    """Start or restart the timer (kind, attempt); it is due `after_s` seconds after the event."""

    kind: TimerKind
    attempt: int
    after_s: float


@dataclass(frozen=True, kw_only=True)
class StopTimer(Command):
    """Forget the timer (kind, attempt)."""

    kind: TimerKind
    attempt: int


@dataclass(frozen=True, kw_only=True)
class SendControl(Command):
    """Tell the workers of `command` to cancel an attempt."""

    attempt: int
    command: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class SendNotification(Command):
    """Publish a notification; `phase` is started, completed or failed.

    Its routing key is ``notify.<transport>``, or `topic` where there is one.
    """

    transport: str
    targets: tuple[str, ...]
    phase: str
    slug: str
    message: str
    topic: str = ""


@dataclass(frozen=True, kw_only=True)
class RecordAttempt(Command):
    """Write the attempt's row: its new status, and what came with it; `is_new` makes the row.

    `domain` is where its message goes; empty is none, or not chosen yet.
    """

    attempt: int
    step_index: int
    status: AttemptStatus
    at: datetime
    role: Role = Role.STEP
    is_new: bool = False
    tries: int = 1
    message: str = ""
    data: Any = None
    percent: float | None = None
    domain: str = ""


@dataclass(frozen=True, kw_only=True)
class FinishDeployment(Command):
    """The deployment has ended; nothing follows."""

    status: DeploymentStatus
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Ignored(Command):
    """The event changed nothing; record it with this reason."""

    reason: str
