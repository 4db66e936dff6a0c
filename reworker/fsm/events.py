"""What can happen to a deployment: frozen events, each with its wall time `at` (aware UTC).

`attempt` is an attempt's number within its deployment, from 1; on the wire it is the part after
the dot of the correlation id. Reasons and messages are texts for people.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class Decision(StrEnum):
    """What a person decides about an attempt whose effect is not known."""

    RETRY = "retry"
    SKIP = "skip"
    FAIL = "fail"
    COMPLETE = "complete"


@dataclass(frozen=True, kw_only=True)
class Event:
    """Base of all events."""

    at: datetime


@dataclass(frozen=True, kw_only=True)
class Submitted(Event):
    """The deployment was accepted; `unattended` means that nobody can be asked."""

    actor: str = ""
    unattended: bool = False


@dataclass(frozen=True, kw_only=True)
class PauseRequested(Event):
    """Dispatch nothing new until resumed."""

    actor: str = ""
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class ResumeRequested(Event):
    """Go on after a pause."""

    actor: str = ""


@dataclass(frozen=True, kw_only=True)
class CancelRequested(Event):
    """Stop the deployment."""

    actor: str = ""
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class AttemptEvent(Event):
    """Base of the events that concern one attempt."""

    attempt: int


@dataclass(frozen=True, kw_only=True)
class Decided(AttemptEvent):
    """A person ended the doubt about an attempt."""

    decision: Decision
    actor: str = ""
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class DispatchConfirmed(AttemptEvent):
    """The broker has the step message."""


@dataclass(frozen=True, kw_only=True)
class DispatchUnroutable(AttemptEvent):
    """The broker returned the step message: no queue is bound."""

    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class DispatchUnknown(AttemptEvent):
    """A message that must not be published twice may or may not have reached the broker."""

    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class ReplyStarted(AttemptEvent):
    """The worker began."""


@dataclass(frozen=True, kw_only=True)
class ReplyRunning(AttemptEvent):
    """The worker's heartbeat, with its progress if it knows it (0 to 100)."""

    percent: float | None = None
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class ReplyCompleted(AttemptEvent):
    """The worker succeeded; `extra` are the keys of its reply that only it knows."""

    message: str = ""
    data: Any = None
    extra: dict[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class ReplyFailed(AttemptEvent):
    """The worker failed; `extra` are the keys of its reply that only it knows."""

    message: str = ""
    data: Any = None
    extra: dict[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class ReplyUnknown(AttemptEvent):
    """The worker cannot tell whether the step took effect."""

    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class ReplyCancelled(AttemptEvent):
    """The worker stopped because it was told to."""

    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class QueueTimedOut(AttemptEvent):
    """No worker began within the queue timeout."""


@dataclass(frozen=True, kw_only=True)
class RunTimedOut(AttemptEvent):
    """The worker did not end within the step's timeout."""


@dataclass(frozen=True, kw_only=True)
class HeartbeatLost(AttemptEvent):
    """A worker that had sent heartbeats fell silent."""


@dataclass(frozen=True, kw_only=True)
class CancelTimedOut(AttemptEvent):
    """The worker did not answer a cancel in time."""


EVENT_KINDS: dict[str, type[Event]] = {
    kind.__name__: kind
    for kind in (
        *(Submitted, PauseRequested, ResumeRequested, CancelRequested, Decided),
        *(DispatchConfirmed, DispatchUnroutable, DispatchUnknown),
        *(ReplyStarted, ReplyRunning, ReplyCompleted, ReplyFailed, ReplyUnknown, ReplyCancelled),
        *(QueueTimedOut, RunTimedOut, HeartbeatLost, CancelTimedOut),
    )
}
