"""Notifications: those that a worker's `notify()` sends, and reading one that has come."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from reworker.errors import JobFailed
from reworker.messages import SLUG_LIMIT, Notification
from reworker.topology.names import notify_key


def notifications(
    table: Any, phase: str, slug: Any, message: Any, target: Any = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (routing key, body) for each transport that the step wants to hear of this phase.

    Args:
        table: the step's ``notify``: ``{phase: {transport: [target]}}``; anything else yields nothing.
        phase: started, completed or failed.
        slug: short text; cut to 80 characters.
        message: the text.
        target: given instead of the table's targets; one target or a list.
    """
    transports = table.get(phase) if isinstance(table, Mapping) else None
    if not isinstance(transports, Mapping):
        return
    for transport, targets in transports.items():
        wanted = targets if target is None else target
        yield (
            notify_key(str(transport)),
            {
                "slug": str(slug)[:SLUG_LIMIT],
                "message": message,
                "phase": phase,
                "target": list(wanted) if isinstance(wanted, list | tuple) else [wanted],
            },
        )


def notification_of(body: Mapping[str, Any]) -> Notification:
    """Return the notification in a decoded message: ``{"slug", "message", "phase", "target": [str]}``.

    Raises:
        JobFailed: it is none; says which field is wrong.
    """
    try:
        return msgspec.convert(body, Notification)
    except msgspec.ValidationError as error:
        raise JobFailed(f"the message is no notification: {error}") from error
