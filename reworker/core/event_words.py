"""Events in words for people."""

from __future__ import annotations

from reworker.core.service import EventView
from reworker.fsm.plan import Role

#: what an event means for the step it is about.
STEP_WORDS = {
    "DomainChosen": "domain chosen",
    "DispatchConfirmed": "sent",
    "DispatchUnroutable": "unroutable",
    "DispatchUnknown": "unknown",
    "ReplyStarted": "started",
    "ReplyRunning": "running",
    "ReplyCompleted": "completed",
    "ReplyFailed": "failed",
    "ReplyUnknown": "unknown",
    "ReplyCancelled": "cancelled",
    "QueueTimedOut": "timed out: no worker took it",
    "RunTimedOut": "timed out: still running",
    "HeartbeatLost": "worker fell silent",
    "CancelTimedOut": "cancelled without an answer",
    "DelayEnded": "waited long enough",
    "ApprovalExpired": "timed out: nobody approved it",
    "Approved": "approved",
    "Refused": "refused",
    "Decided": "decided",
    "Skipped": "skipped",
}
DEPLOYMENT_WORDS = {
    "Submitted": "submitted",
    "LocksGranted": "has its locks",
    "LocksAwaited": "waits for a lock",
    "LocksDue": "tries to get its locks",
    "DeploymentTimedOut": "timed out",
    "PauseRequested": "pause requested",
    "ResumeRequested": "resume requested",
    "CancelRequested": "cancel requested",
}
#: events that people cause, and are named with.
_BY_PEOPLE = ("Approved", "Refused", "Decided", "PauseRequested", "ResumeRequested", "CancelRequested")


def step_name(key: str, role: str) -> str:
    """Return what an attempt does: the step itself, or what belongs to it."""
    return f"{role} {key}" if role in (Role.VERIFY, Role.ROLLBACK) else key


def event_words(event: EventView, *, is_step: bool) -> str:
    """Return what happened, in words; `is_step` says that it is about an attempt."""
    data = event.data
    words = (STEP_WORDS if is_step else DEPLOYMENT_WORDS).get(event.kind, event.kind)
    if data.get("decision"):
        words = f"decided: {data['decision']}"
    if event.kind == "ReplyStarted" and event.ignored:
        # Of several cores, one may read a `started` after another has read what came behind it.
        words = f"started, late or once more, by {event.actor or 'a worker without a name'}"
    if event.kind == "LocksAwaited":
        words = f"waits for {data['lock'].replace(':', ' ', 1)}, held by {data['holder']}"
    if event.kind == "DomainChosen":
        words = f"goes to domain {data['domain']}" if data["domain"] else "goes to workers without a domain"
    if data.get("resumes"):
        words = f"{words}, goes on with {data['resumes']}"
    if data.get("percent") is not None:
        words = f"{words} {data['percent']:.0f} %"
    if event.kind in _BY_PEOPLE and event.actor:
        words = f"{words} by {event.actor}"
    reason = data.get("message") or data.get("reason") or ""
    return f"{words}: {reason}" if reason else words
