"""What can happen to a deployment: frozen events, each with its wall time `at` (aware UTC).

`attempt` is an attempt's number within its deployment, from 1; on the wire it is the part after
the dot of the correlation id. Reasons and messages are texts for people.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from reworker.fsm.ranges import Ranges


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
    """The deployment was accepted.

    Args:
        unattended: nobody can be asked.
        resumes: id of the deployment that it continues, or empty.
        done: ``[[from, to), ...]``, indexes of the steps that were done there and still hold.
        left_out: indexes of the steps that are not to be done.
        facts: which conditions hold because of steps done there; see `Deployment.facts`.
        source_ip: where the request came from, as its sender says; only for the record.
        reason: why it was started; only for the record.
    """

    actor: str = ""
    reason: str = ""
    source_ip: str = ""
    unattended: bool = False
    resumes: str = ""
    done: Ranges = ()
    left_out: Ranges = ()
    facts: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class LocksGranted(Event):
    """The deployment holds all its locks; `fence` grows with every holder."""

    fence: int


@dataclass(frozen=True, kw_only=True)
class LocksAwaited(Event):
    """A lock is held by another deployment, `holder`, or that one came earlier."""

    lock: str
    holder: str


@dataclass(frozen=True, kw_only=True)
class LocksDue(Event):
    """A lock was released that the deployment waits for: time to try again."""


@dataclass(frozen=True, kw_only=True)
class DeploymentTimedOut(Event):
    """The deployment did not end within its timeout."""


@dataclass(frozen=True, kw_only=True)
class PauseRequested(Event):
    """Dispatch nothing new until resumed."""

    actor: str = ""
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class ResumeRequested(Event):
    """Go on after a pause."""

    actor: str = ""
    reason: str = ""


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
class Approved(AttemptEvent):
    """A person consented."""

    actor: str = ""
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Refused(AttemptEvent):
    """A person did not consent."""

    actor: str = ""
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class ApprovalExpired(AttemptEvent):
    """Nobody consented in time."""


@dataclass(frozen=True, kw_only=True)
class DelayEnded(AttemptEvent):
    """The delay before a dispatch is over."""


@dataclass(frozen=True, kw_only=True)
class DomainChosen(AttemptEvent):
    """Of the step's domains, the message goes to this one; empty is none."""

    domain: str = ""


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
    """The worker's heartbeat, with its progress if it knows it (0 to 100).

    With `again_in_s` a try has ended, and the message is in the worker's queue again after so many seconds.
    """

    percent: float | None = None
    message: str = ""
    again_in_s: float = 0.0


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
    """The worker cannot tell whether the step took effect; `unless_started`: it did not if it never began."""

    reason: str = ""
    unless_started: bool = False


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
        *(Submitted, LocksGranted, LocksAwaited, LocksDue, DeploymentTimedOut),
        *(PauseRequested, ResumeRequested, CancelRequested, Decided),
        *(Approved, Refused, ApprovalExpired, DelayEnded),
        *(DomainChosen, DispatchConfirmed, DispatchUnroutable, DispatchUnknown),
        *(ReplyStarted, ReplyRunning, ReplyCompleted, ReplyFailed, ReplyUnknown, ReplyCancelled),
        *(QueueTimedOut, RunTimedOut, HeartbeatLost, CancelTimedOut),
    )
}
