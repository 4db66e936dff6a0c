"""What forms about codes, tasks and schedules say, as the core takes it; and what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec

from reworker.task_errors import TaskRefused
from reworker.web.pages.visits import Form

T = TypeVar("T")


def asked_in(
    form: Form, kind: type[T], fields: Mapping[str, type], *, keeps_empty: bool = False, **more: Any
) -> T:
    """Return what a form asks for.

    Args:
        form: as it was sent.
        kind: of what is asked for, a Struct.
        fields: names of its fields in the form -> str, int, float or datetime.
        keeps_empty: an empty field of a text empties it; else it was not given.
        more: values that do not come from the form.

    Raises:
        TaskRefused: a value is none of its kind.
    """
    values = {name: _value(form.text(name), one, name) for name, one in fields.items() if form.all(name)}
    given = {
        name: value
        for name, value in values.items()
        if value is not None and (value or keeps_empty or value == 0)
    }
    try:
        return msgspec.convert({**given, **more}, kind)
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at `$.")
        raise TaskRefused(reason, field=place.rstrip("`")) from error


def _value(text: str, kind: type, name: str) -> Any:
    if kind is str:
        return text
    text = text.strip()
    if not text:
        return None
    try:
        if kind is datetime:
            found = datetime.fromisoformat(text)
            return found if found.tzinfo else found.replace(tzinfo=UTC)
        return kind(text)
    except (ValueError, OverflowError) as error:
        what = "a moment such as 2026-12-24T18:00" if kind is datetime else "a number"
        raise TaskRefused(f"{text[:40]!a} is not {what}", field=name) from error


def variables_in(text: str) -> dict[str, str]:
    """Return the variables in a text with one NAME=VALUE a line.

    Raises:
        TaskRefused: a line is none.
    """
    found = {}
    for line in filter(str.strip, text.split("\n")):
        name, sign, value = line.partition("=")
        if not sign or not name.strip():
            raise TaskRefused(f"{line[:60]!a} is not NAME=VALUE", field="env_vars")
        found[name.strip()] = value
    return found
