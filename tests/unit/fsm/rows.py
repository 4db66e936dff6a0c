"""Events as the core stores them."""

from __future__ import annotations

from reworker.core.codec import encode_event
from reworker.fsm.events import Event
from reworker.storage.contract import EventRow


def event_row(event: Event) -> EventRow:
    """Return the row of an event; only its kind, time and data say anything."""
    return EventRow("d", 1, type(event).__name__, event.at, "", encode_event(event), None, None, "")
