"""Events in words for people, and as JSON for scripts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from reworker.clock import iso
from reworker.core.event_words import event_words, step_name
from reworker.core.service import AttemptView, EventView
from reworker.fsm.plan import Role
from reworker.fsm.states import AttemptStatus
from reworker.logs import escaped
from reworker.topology.names import step_key


def event_line(event: EventView, attempts: Mapping[int, AttemptView]) -> str:
    """Return one line, for example ``12:00:01.250  web1  service:Restart  started``."""
    at = iso(event.at)[11:23]
    note = f"  (ignored: {event.ignored})" if event.ignored else ""
    attempt = attempts.get(event.data.get("attempt", 0))
    place = ""
    if attempt is not None:
        name = step_name(attempt.row.step, attempt.row.role)
        place = f"{attempt.row.host or '-'}  {name}  "
        if event.kind == "DispatchConfirmed" and attempt.row.domain:
            key = step_key(attempt.row.step.partition(":")[0], attempt.row.domain)
            note = f" with the key {key}{note}"
    return escaped(f"{at}  {place}{event_words(event, is_step=attempt is not None)}{note}")


def with_skips(events: Iterable[EventView], attempts: Iterable[AttemptView]) -> list[EventView]:
    """Return the events, with a line for each step that was left out: no event speaks of these."""
    skips = [
        EventView(0, "Skipped", row.created_at, "", {"attempt": row.number, "message": row.message}, None)
        for row in (one.row for one in attempts)
        if row.status == AttemptStatus.SKIPPED
    ]
    return sorted([*events, *skips], key=lambda event: event.at) if skips else list(events)


def event_object(event: EventView, attempts: Mapping[int, AttemptView]) -> dict[str, Any]:
    """Return an event for scripts; the keys of its data stand beside the common ones."""
    data = event.data
    attempt = attempts.get(data.get("attempt", 0))
    place = {"host": attempt.row.host, "step": attempt.row.step} if attempt else {}
    if attempt and attempt.row.role != Role.STEP:
        place["role"] = attempt.row.role
    ignored = {"ignored": event.ignored} if event.ignored else {}
    return {"seq": event.seq, "at": iso(event.at), "event": event.kind, **place, **data, **ignored}
