"""Whether the final reply of a check is what the operator expects; equality is that of JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reworker.fsm.events import ReplyCompleted, ReplyFailed
from reworker.fsm.playbook import Expectation


def is_met(expectation: Expectation, event: ReplyCompleted | ReplyFailed) -> bool:
    """Tell whether a final reply meets an expectation.

    The whole body counts, with any keys that only its worker knows: ``{"status": "completed" | "failed",
    "data"?: any, "message"?: str, ...}``. A key that is null counts as absent, as does an empty message.
    """
    body, wanted = _body(event), expectation.body
    if expectation.is_subset:
        return is_contained(wanted, body)
    return _is_equal(_told(wanted), _told(body))


def is_contained(wanted: Any, found: Any) -> bool:
    """Tell whether `found` has all that `wanted` has: keys of mappings, items of lists, at any depth."""
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(
            key in found and is_contained(value, found[key]) for key, value in wanted.items()
        )
    if isinstance(wanted, list | tuple):
        return isinstance(found, list | tuple) and all(
            any(is_contained(value, other) for other in found) for value in wanted
        )
    return _is_equal(wanted, found)


def _body(event: ReplyCompleted | ReplyFailed) -> dict[str, Any]:
    """Return the reply's body as far as the event knows it."""
    status = "completed" if isinstance(event, ReplyCompleted) else "failed"
    own = {"status": status, "data": event.data, "message": event.message or None}
    return {key: value for key, value in {**own, **(event.extra or {})}.items() if value is not None}


def _told(body: Any) -> Any:
    """Return a body without what says nothing: nulls, and a message that only repeats other words of it.

    A failure's message is taken from its data or reason when its worker gave none.
    """
    if not isinstance(body, Mapping):
        return body
    told = {key: value for key, value in body.items() if value is not None}
    message = told.get("message")
    if isinstance(message, str) and message in ("", told.get("data"), told.get("reason")):
        del told["message"]
    return told


def _is_equal(wanted: Any, found: Any) -> bool:
    """Compare as JSON does: true is not 1. Goes no deeper than `wanted`, so that no reply is too deep."""
    if isinstance(wanted, Mapping):
        return (
            isinstance(found, Mapping)
            and wanted.keys() == found.keys()
            and all(_is_equal(value, found[key]) for key, value in wanted.items())
        )
    if isinstance(wanted, list | tuple):
        return (
            isinstance(found, list | tuple)
            and len(wanted) == len(found)
            and all(_is_equal(value, other) for value, other in zip(wanted, found, strict=True))
        )
    if isinstance(wanted, bool) or isinstance(found, bool):
        return wanted is found
    return bool(wanted == found)
