"""Whether the final reply of a check is what the operator expects, and if not, where; equality is JSON's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import islice
from typing import Any

from reworker.fsm.events import ReplyCompleted, ReplyFailed
from reworker.fsm.playbook import Expectation

#: characters of a value and of a place that people are shown; levels and items of a value that are looked at.
SHOWN_CHARACTERS, PLACE_CHARACTERS, SHOWN_LEVELS, SHOWN_ITEMS = 120, 80, 3, 10
#: stands for a value that is not there.
_NOTHING = object()


def is_met(expectation: Expectation, event: ReplyCompleted | ReplyFailed) -> bool:
    """Tell whether a final reply meets an expectation.

    The whole body counts, with any keys that only its worker knows: ``{"status": "completed" | "failed",
    "data"?: any, "message"?: str, ...}``. A key that is null counts as absent, as does an empty message.
    """
    body, wanted = _body(event), expectation.body
    if expectation.is_subset:
        return is_contained(wanted, body)
    return _is_equal(_told(wanted), _told(body))


def difference(expectation: Expectation, event: ReplyCompleted | ReplyFailed) -> str:
    """Return where a reply that does not meet an expectation differs first, with what is wanted and found.

    For example ``data.free: wanted true, found false``.
    """
    wanted, found = expectation.body, _body(event)
    if not expectation.is_subset:
        wanted, found = _told(wanted), _told(found)
    place: list[str] = []
    while isinstance(wanted, Mapping) and isinstance(found, Mapping):
        key = _differing_key(wanted, found, is_subset=expectation.is_subset)
        wanted, found = wanted.get(key, _NOTHING), found.get(key, _NOTHING)
        place.append(key)
    where = f"{_cut('.'.join(place), PLACE_CHARACTERS)}: " if place else ""
    return f"{where}wanted {_shown(wanted)}, found {_shown(found)}"


def _differing_key(wanted: Mapping[str, Any], found: Mapping[str, Any], *, is_subset: bool) -> str:
    """Return the first key that is wanted and not so, or the first that is not wanted."""
    is_alike = is_contained if is_subset else _is_equal
    for key, value in wanted.items():
        if key not in found or not is_alike(value, found[key]):
            return key
    return next(key for key in found if key not in wanted)


def _shown(value: Any) -> str:
    if value is _NOTHING:
        return "nothing"
    return _cut(json.dumps(_brief(value, SHOWN_LEVELS), ensure_ascii=False), SHOWN_CHARACTERS)


def _brief(value: Any, levels: int) -> Any:
    """Return as much of a value as may be shown: a reply can be large, and nested deeper than is safe."""
    if isinstance(value, str):
        return value[:SHOWN_CHARACTERS]
    if not isinstance(value, Mapping | list | tuple):
        return value
    if value and not levels:
        return "..."
    rest = ["..."] * (len(value) > SHOWN_ITEMS)
    if isinstance(value, Mapping):
        few = {key: _brief(one, levels - 1) for key, one in islice(value.items(), SHOWN_ITEMS)}
        return few | dict.fromkeys(rest, "...")
    return [_brief(one, levels - 1) for one in value[:SHOWN_ITEMS]] + rest


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]}..."


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
