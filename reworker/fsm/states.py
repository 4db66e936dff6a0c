"""The states of deployments and attempts, and every possible transition, as data.

`machine.py` looks transitions up here; `diagram.py` draws `docs/state-machine.md` from them.
What stands in neither table cannot happen: the event is ignored and recorded as ignored.
"""

from __future__ import annotations

from enum import StrEnum


class DeploymentStatus(StrEnum):
    """Where a deployment is; `queued` waits for its locks, `waiting` for a person."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    WAITING = "waiting"
    ROLLING_BACK = "rolling_back"
    CANCELLING = "cancelling"
    COMPLETED = "completed"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"
    ROLLBACK_FAILED = "rollback_failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """Tell whether nothing can follow this status."""
        return self in TERMINAL_STATUSES


class Stage(StrEnum):
    """Which part of its plan a deployment is at."""

    CHECKS = "checks"
    EXECUTION = "execution"
    ROLLBACK = "rollback"
    ACTIONS = "actions"


class AttemptStatus(StrEnum):
    """Where one attempt at one step on one host is; `waiting` is for a delay or for people's consent."""

    WAITING = "waiting"
    READY = "ready"
    SENT = "sent"
    STARTED = "started"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    UNROUTABLE = "unroutable"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"

    @property
    def is_live(self) -> bool:
        """Tell whether an answer for this attempt is still expected."""
        return self in LIVE_STATUSES


class Trigger(StrEnum):
    """What moves a deployment: a request from outside, or how far its attempts are."""

    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    PLAN_DONE = "plan done"
    STEP_FAILED = "step failed"
    ASK = "only people can go on"
    ANSWER = "people answered"
    ANSWER_IN_ROLLBACK = "people answered in rollback"
    ROLL_BACK = "roll back"
    ROLLBACK_DONE = "rollback done"
    ROLLBACK_FAILED = "rollback failed"
    ATTEMPTS_OVER = "attempts over"


TERMINAL_STATUSES = frozenset(
    {
        DeploymentStatus.COMPLETED,
        DeploymentStatus.FAILED,
        DeploymentStatus.ROLLED_BACK,
        DeploymentStatus.ROLLBACK_FAILED,
        DeploymentStatus.CANCELLED,
    }
)
LIVE_STATUSES = frozenset({AttemptStatus.READY, AttemptStatus.SENT, AttemptStatus.STARTED})

_D, _T, _A = DeploymentStatus, Trigger, AttemptStatus

#: (status, trigger) -> next status of the deployment.
DEPLOYMENT_TRANSITIONS: dict[tuple[DeploymentStatus, Trigger], DeploymentStatus] = {
    (_D.QUEUED, _T.START): _D.RUNNING,
    (_D.QUEUED, _T.CANCEL): _D.CANCELLING,
    (_D.RUNNING, _T.PLAN_DONE): _D.COMPLETED,
    (_D.RUNNING, _T.STEP_FAILED): _D.FAILED,
    (_D.RUNNING, _T.ROLL_BACK): _D.ROLLING_BACK,
    (_D.RUNNING, _T.ASK): _D.WAITING,
    (_D.RUNNING, _T.PAUSE): _D.PAUSED,
    (_D.RUNNING, _T.CANCEL): _D.CANCELLING,
    (_D.PAUSED, _T.PLAN_DONE): _D.COMPLETED,
    (_D.PAUSED, _T.STEP_FAILED): _D.FAILED,
    (_D.PAUSED, _T.RESUME): _D.RUNNING,
    (_D.PAUSED, _T.CANCEL): _D.CANCELLING,
    (_D.WAITING, _T.ANSWER): _D.RUNNING,
    (_D.WAITING, _T.ANSWER_IN_ROLLBACK): _D.ROLLING_BACK,
    (_D.WAITING, _T.PAUSE): _D.PAUSED,
    (_D.WAITING, _T.CANCEL): _D.CANCELLING,
    (_D.ROLLING_BACK, _T.ASK): _D.WAITING,
    (_D.ROLLING_BACK, _T.PAUSE): _D.PAUSED,
    (_D.ROLLING_BACK, _T.ROLLBACK_DONE): _D.ROLLED_BACK,
    (_D.ROLLING_BACK, _T.ROLLBACK_FAILED): _D.ROLLBACK_FAILED,
    (_D.ROLLING_BACK, _T.CANCEL): _D.CANCELLING,
    (_D.CANCELLING, _T.ATTEMPTS_OVER): _D.CANCELLED,
}

#: (status, name of the event's class) -> next status of the attempt.
#: `Approved` counts when enough people have said so. The rows from `unknown` hold only while a publish is in
#: doubt: a confirm or an answer ends that doubt.
ATTEMPT_TRANSITIONS: dict[tuple[AttemptStatus, str], AttemptStatus] = {
    (_A.WAITING, "DelayEnded"): _A.READY,
    (_A.WAITING, "Approved"): _A.COMPLETED,
    (_A.WAITING, "Refused"): _A.FAILED,
    (_A.WAITING, "ApprovalExpired"): _A.TIMED_OUT,
    (_A.READY, "DomainChosen"): _A.READY,
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
