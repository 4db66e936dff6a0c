"""The form that starts a playbook: a field for each of its `params`, and what such a form says. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from reworker.fsm.playbook import Playbook, dynamic_names
from reworker.fsm.rules import Rules
from reworker.web.pages.visits import Form

#: what stands before the name of a parameter in the name of its field.
PREFIX = "param."
#: how what is no plain value is typed.
_TYPED = {"list": "One value a line.", "json": "As JSON."}
#: types of JSON Schema -> how a browser asks for them; others are typed as JSON.
_KINDS = {"string": "text", "integer": "integer", "number": "number", "boolean": "boolean", "array": "list"}


class Field(msgspec.Struct, frozen=True):
    """A field of the form.

    Args:
        name: of the parameter.
        kind: text, lines, integer, number, boolean, choice, list or json.
        value: as the field shows it.
        hint: what it is for.
        choices: of a choice, as JSON, with what people read.
        is_required: it has to be filled.
        lowest, highest: of a number, if limited.
    """

    name: str
    kind: str
    value: str = ""
    hint: str = ""
    choices: tuple[tuple[str, str], ...] = ()
    is_required: bool = True
    lowest: Any = None
    highest: Any = None

    @property
    def field_name(self) -> str:
        """The name that the form sends."""
        return PREFIX + self.name

    @property
    def help(self) -> str:
        """What stands below the field: what it is for, how it is typed, what it takes; empty is nothing."""
        return " ".join(self._sentences())

    def _sentences(self) -> Iterator[str]:
        if hint := self.hint.strip():
            yield hint if hint.endswith((".", "!", "?", ":")) else f"{hint}."
        if self.kind in _TYPED:
            yield _TYPED[self.kind]
        if self.lowest is not None and self.highest is not None:
            yield f"From {self.lowest} to {self.highest}."
        elif self.lowest is not None:
            yield f"At least {self.lowest}."
        elif self.highest is not None:
            yield f"At most {self.highest}."
        if self.is_required:
            yield "Required."


def fields_of(playbook: Playbook, rules: Rules, given: Mapping[str, str] | None = None) -> list[Field]:
    """Return the fields for a playbook: its params in their order, then the names that only steps list.

    Args:
        playbook: valid.
        rules: of the database, whose steps may ask for values too.
        given: what was typed before, by field; None shows the defaults.
    """
    own = (step for sequence in playbook.execution for step in sequence.steps)
    steps = (*own, *rules.checks, *rules.actions, *(one.step for one in rules.triggers))
    others = sorted(dynamic_names(steps) - playbook.params.keys())
    found = [_field(name, schema) for name, schema in playbook.params.items()]
    found += [Field(name, "text", hint="asked for by a step; any value") for name in others]
    if given is None:
        return found
    return [msgspec.structs.replace(one, value=given.get(one.field_name, "")) for one in found]


def _field(name: str, schema: Mapping[str, Any]) -> Field:
    kind = _kind(schema)
    has_default = "default" in schema
    return Field(
        name,
        kind,
        value=_shown(schema["default"], kind) if has_default else "",
        hint=str(schema.get("description") or schema.get("title") or ""),
        choices=tuple((json.dumps(one), _plain(one)) for one in schema.get("enum") or ()),
        is_required=not has_default and kind not in ("boolean", "list"),
        lowest=schema.get("minimum"),
        highest=schema.get("maximum"),
    )


def _kind(schema: Mapping[str, Any]) -> str:
    if schema.get("enum"):
        return "choice"
    found = schema.get("type")
    kind = _KINDS.get(found, "json") if isinstance(found, str) else "json"
    items = schema.get("items")
    if kind == "list" and isinstance(items, dict) and items.get("type") in ("array", "object"):
        return "json"
    return kind


def _shown(value: Any, kind: str) -> str:
    """Return a value as its field shows it."""
    if kind in ("choice", "json", "boolean"):
        return json.dumps(value, ensure_ascii=False)
    if kind == "list" and isinstance(value, list):
        return "\n".join(map(_plain, value))
    return _plain(value)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def values_of(form: Form, fields: Iterable[Field]) -> dict[str, Any]:
    """Return the values that a form gives; those that are left empty are not given.

    What is typed as text may stand for a number: `core.parameters` takes it as the schema wants it.
    """
    found: dict[str, Any] = {}
    for one in fields:
        text = form.text(one.field_name)
        if one.kind == "boolean":
            found[one.name] = text == "true"
        elif text.strip() or (one.kind == "text" and one.value and not text):
            found[one.name] = _value(one.kind, text)
    return found


def _value(kind: str, text: str) -> Any:
    if kind == "list":
        return [_meant(line.strip()) for line in text.split("\n") if line.strip()]
    if kind in ("json", "choice"):
        return _meant(text)
    return text if kind == "text" else text.strip()


def _meant(text: str) -> Any:
    """Return what a text means as JSON, else the text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
