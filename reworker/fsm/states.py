"""The states of deployments and attempts, and every possible transition, as data.

`machine.py` looks transitions up here; `diagram.py` draws `docs/state-machine.md` from them.
What stands in neither table cannot happen: the event is ignored and recorded as ignored.
"""

from __future__ import annotations

from enum import StrEnum


class DeploymentStatus(StrEnum):
    """Where a deployment is; `rolling_back` and its ends will be added beside these."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    WAITING = "waiting"
    CANCELLING = "cancelling"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """Tell whether nothing can follow this status."""
        return self in TERMINAL_STATUSES


class AttemptStatus(StrEnum):
    """Where one attempt at one step on one host is."""

    READY = "ready"
    SENT = "sent"
    STARTED = "started"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    UNROUTABLE = "unroutable"
    UNKNOWN = "unknown"

    @property
    def is_live(self) -> bool:
        """Tell whether an answer for this attempt is still expected."""
        return self in LIVE_STATUSES


class Trigger(StrEnum):
    """What moves a deployment: a request from outside, or the outcome of an attempt."""

    SUBMIT = "submit"
    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    STEP_DONE = "step done"
    PLAN_DONE = "plan done"
    STEP_FAILED = "step failed"
    DOUBT = "in doubt"
    ANSWER = "answered"
    ATTEMPTS_OVER = "attempts over"


TERMINAL_STATUSES = frozenset(
    {DeploymentStatus.COMPLETED, DeploymentStatus.FAILED, DeploymentStatus.CANCELLED}
)
LIVE_STATUSES = frozenset({AttemptStatus.READY, AttemptStatus.SENT, AttemptStatus.STARTED})

_D, _T, _A = DeploymentStatus, Trigger, AttemptStatus

#: (status, trigger) -> next status of the deployment.
DEPLOYMENT_TRANSITIONS: dict[tuple[DeploymentStatus, Trigger], DeploymentStatus] = {
    (_D.QUEUED, _T.SUBMIT): _D.RUNNING,
    (_D.QUEUED, _T.CANCEL): _D.CANCELLING,
    (_D.RUNNING, _T.STEP_DONE): _D.RUNNING,
    (_D.RUNNING, _T.PLAN_DONE): _D.COMPLETED,
    (_D.RUNNING, _T.STEP_FAILED): _D.FAILED,
    (_D.RUNNING, _T.DOUBT): _D.WAITING,
    (_D.RUNNING, _T.PAUSE): _D.PAUSED,
    (_D.RUNNING, _T.CANCEL): _D.CANCELLING,
    (_D.PAUSED, _T.STEP_DONE): _D.PAUSED,
    (_D.PAUSED, _T.PLAN_DONE): _D.COMPLETED,
    (_D.PAUSED, _T.STEP_FAILED): _D.FAILED,
    (_D.PAUSED, _T.DOUBT): _D.PAUSED,
    (_D.PAUSED, _T.ANSWER): _D.PAUSED,
    (_D.PAUSED, _T.RESUME): _D.RUNNING,
    (_D.PAUSED, _T.CANCEL): _D.CANCELLING,
    (_D.WAITING, _T.ANSWER): _D.RUNNING,
    (_D.WAITING, _T.PAUSE): _D.PAUSED,
    (_D.WAITING, _T.CANCEL): _D.CANCELLING,
    (_D.CANCELLING, _T.ATTEMPTS_OVER): _D.CANCELLED,
}

#: (status, name of the event's class) -> next status of the attempt.
#: The rows from `unknown` hold only while a publish is in doubt: a confirm or an answer ends that doubt.
ATTEMPT_TRANSITIONS: dict[tuple[AttemptStatus, str], AttemptStatus] = {
    (_A.READY, "DispatchConfirmed"): _A.SENT,
    (_A.READY, "DispatchUnroutable"): _A.UNROUTABLE,
    (_A.READY, "DispatchUnknown"): _A.UNKNOWN,
    (_A.READY, "ReplyStarted"): _A.STARTED,
    (_A.READY, "ReplyRunning"): _A.STARTED,
    (_A.READY, "ReplyCompleted"): _A.COMPLETED,
    (_A.READY, "ReplyFailed"): _A.FAILED,
    (_A.READY, "ReplyUnknown"): _A.UNKNOWN,
    (_A.READY, "ReplyCancelled"): _A.CANCELLED,
    (_A.READY, "CancelTimedOut"): _A.CANCELLED,
    (_A.SENT, "ReplyStarted"): _A.STARTED,
    (_A.SENT, "ReplyRunning"): _A.STARTED,
    (_A.SENT, "ReplyCompleted"): _A.COMPLETED,
    (_A.SENT, "ReplyFailed"): _A.FAILED,
    (_A.SENT, "ReplyUnknown"): _A.UNKNOWN,
    (_A.SENT, "ReplyCancelled"): _A.CANCELLED,
    (_A.SENT, "QueueTimedOut"): _A.TIMED_OUT,
    (_A.SENT, "CancelTimedOut"): _A.CANCELLED,
    (_A.STARTED, "ReplyRunning"): _A.STARTED,
    (_A.STARTED, "ReplyCompleted"): _A.COMPLETED,
    (_A.STARTED, "ReplyFailed"): _A.FAILED,
    (_A.STARTED, "ReplyUnknown"): _A.UNKNOWN,
    (_A.STARTED, "ReplyCancelled"): _A.CANCELLED,
    (_A.STARTED, "RunTimedOut"): _A.UNKNOWN,
    (_A.STARTED, "HeartbeatLost"): _A.UNKNOWN,
    (_A.STARTED, "CancelTimedOut"): _A.CANCELLED,
    (_A.UNKNOWN, "DispatchConfirmed"): _A.SENT,
    (_A.UNKNOWN, "DispatchUnroutable"): _A.UNROUTABLE,
    (_A.UNKNOWN, "ReplyStarted"): _A.STARTED,
    (_A.UNKNOWN, "ReplyRunning"): _A.STARTED,
    (_A.UNKNOWN, "ReplyCompleted"): _A.COMPLETED,
    (_A.UNKNOWN, "ReplyFailed"): _A.FAILED,
    (_A.UNKNOWN, "ReplyUnknown"): _A.UNKNOWN,
    (_A.UNKNOWN, "ReplyCancelled"): _A.CANCELLED,
}
