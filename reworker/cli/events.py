"""Events in words for people, and as JSON for scripts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from reworker.clock import iso
from reworker.core.service import AttemptView, EventView
from reworker.fsm.plan import Role
from reworker.fsm.states import AttemptStatus
from reworker.logs import escaped

#: what an event means for the step it is about.
STEP_WORDS = {
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


def event_line(event: EventView, attempts: Mapping[int, AttemptView]) -> str:
    """Return one line, for example ``12:00:01.250  web1  service:Restart  started``."""
    at = iso(event.at)[11:23]
    note = f"  (ignored: {event.ignored})" if event.ignored else ""
    attempt = attempts.get(event.data.get("attempt", 0))
    place = ""
    if attempt is not None:
        name = step_name(attempt.row.step, attempt.row.role)
        place = f"{attempt.row.host or '-'}  {name}  "
    return escaped(f"{at}  {place}{_words(event, is_step=attempt is not None)}{note}")


def with_skips(events: Iterable[EventView], attempts: Iterable[AttemptView]) -> list[EventView]:
    """Return the events, with a line for each step that was left out: no event speaks of these."""
    skips = [
        EventView(0, "Skipped", row.created_at, "", {"attempt": row.number, "message": row.message}, None)
        for row in (one.row for one in attempts)
        if row.status == AttemptStatus.SKIPPED
    ]
    return sorted([*events, *skips], key=lambda event: event.at) if skips else list(events)


def step_name(key: str, role: str) -> str:
    """Return what an attempt does: the step itself, or what belongs to it."""
    return f"{role} {key}" if role in (Role.VERIFY, Role.ROLLBACK) else key


def _words(event: EventView, *, is_step: bool) -> str:
    data = event.data
    words = (STEP_WORDS if is_step else DEPLOYMENT_WORDS).get(event.kind, event.kind)
    if data.get("decision"):
        words = f"decided: {data['decision']}"
    if event.kind == "ReplyStarted" and event.ignored:
        # Of several cores, one may read a `started` after another has read what came behind it.
        words = f"started, late or once more, by {event.actor or 'a worker without a name'}"
    if event.kind == "LocksAwaited":
        words = f"waits for {data['lock'].replace(':', ' ', 1)}, held by {data['holder']}"
    if data.get("resumes"):
        words = f"{words}, goes on with {data['resumes']}"
    if data.get("percent") is not None:
        words = f"{words} {data['percent']:.0f} %"
    if event.kind in _BY_PEOPLE and event.actor:
        words = f"{words} by {event.actor}"
    reason = data.get("message") or data.get("reason") or ""
    return f"{words}: {reason}" if reason else words


def event_object(event: EventView, attempts: Mapping[int, AttemptView]) -> dict[str, Any]:
    """Return an event for scripts; the keys of its data stand beside the common ones."""
    data = event.data
    attempt = attempts.get(data.get("attempt", 0))
    place = {"host": attempt.row.host, "step": attempt.row.step} if attempt else {}
    if attempt and attempt.row.role != Role.STEP:
        place["role"] = attempt.row.role
    ignored = {"ignored": event.ignored} if event.ignored else {}
    return {"seq": event.seq, "at": iso(event.at), "event": event.kind, **place, **data, **ignored}
