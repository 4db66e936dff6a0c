from __future__ import annotations

import json
from typing import Any

import pytest

from reworker.fsm.parsing import parse
from reworker.fsm.rules import Rules
from reworker.web.pages.line_diff import counts, difference
from reworker.web.pages.listing import Listing
from reworker.web.pages.run_form import Field, fields_of, values_of
from reworker.web.pages.visits import Form


def playbook(params: dict[str, Any], *dynamic: str) -> Any:
    step: Any = {"noop:Do": {"dynamic": list(dynamic)}} if dynamic else "noop:Do"
    whole = {"group": "g", "name": "n", "params": params, "execution": [{"hosts": ["a"], "steps": [step]}]}
    return parse(json.dumps(whole))


def field(schema: dict[str, Any]) -> Field:
    (found,) = fields_of(playbook({"x": schema}), Rules())
    return found


@pytest.mark.parametrize(
    ("schema", "kind", "value", "is_required"),
    [
        ({"type": "string"}, "text", "", True),
        ({"type": "string", "default": "a"}, "text", "a", False),
        ({"type": "integer", "default": 3}, "integer", "3", False),
        ({"type": "number", "default": 0.5}, "number", "0.5", False),
        ({"type": "boolean", "default": True}, "boolean", "true", False),
        ({"type": "boolean"}, "boolean", "", False),
        ({"enum": ["a", 1], "default": 1}, "choice", "1", False),
        ({"type": "array", "items": {"type": "string"}, "default": ["a", "b"]}, "list", "a\nb", False),
        ({"type": "array", "items": {"type": "object"}}, "json", "", True),
        ({"type": "object", "default": {"a": 1}}, "json", '{"a": 1}', False),
        ({"type": ["string", "null"]}, "json", "", True),
        ({}, "json", "", True),
    ],
)
def test_field_is_made_of_a_schema_when_it_says(
    schema: dict[str, Any], kind: str, value: str, is_required: bool
) -> None:
    found = field(schema)
    assert (found.kind, found.value, found.is_required) == (kind, value, is_required)


@pytest.mark.parametrize(
    ("schema", "typed", "value"),
    [
        ({"type": "string"}, "1.10", "1.10"),
        ({"type": "string", "default": "a"}, "", ""),
        ({"type": "integer"}, " 7 ", "7"),
        ({"type": "boolean"}, "true", True),
        ({"enum": ["a", 1]}, "1", 1),
        ({"enum": ["a", 1]}, '"a"', "a"),
        ({"type": "array"}, "a\r\n\r\n2", ["a", 2]),
        ({"type": "object"}, '{"a": [1]}', {"a": [1]}),
        ({"type": "object"}, "{no", "{no"),
    ],
)
def test_value_is_what_was_typed_when_the_form_comes(schema: dict[str, Any], typed: str, value: Any) -> None:
    assert values_of(Form([("param.x", typed)]), [field(schema)]) == {"x": value}


def test_values_are_left_out_when_nothing_was_typed() -> None:
    fields = [field({"type": "string"}), field({"type": "integer"}), field({"type": "array"})]
    assert values_of(Form(), fields) == {}
    assert values_of(Form(), [field({"type": "boolean", "default": True})]) == {"x": False}


def test_names_that_only_steps_list_have_a_field_when_there_are_params() -> None:
    found = fields_of(playbook({"b": {"type": "string"}}, "c", "b", "a"), Rules())
    assert [one.name for one in found] == ["b", "a", "c"]


def test_fields_show_what_was_typed_when_it_did_not_fit() -> None:
    (found,) = fields_of(playbook({"x": {"type": "integer", "default": 1}}), Rules(), {"param.x": "many"})
    assert found.value == "many"


def test_difference_shows_lines_that_changed_when_some_did() -> None:
    before = "\n".join(str(number) for number in range(30))
    lines = difference(before, before.replace("\n15\n", "\nfifteen\n"))
    assert counts(lines) == (1, 1)
    assert [one.text for one in lines if one.kind in ("added", "removed")] == ["15", "fifteen"]
    assert [one.text for one in lines if one.kind == "gap"] == ["line 13"]
    assert [one.number for one in lines if one.kind == "added"] == [16]
    assert difference(before, before) == []


def test_list_keeps_what_it_knows_when_an_address_asks() -> None:
    asked = Listing.of({"q": " a&b ", "status": "failed", "since": "never", "actor": "x" * 500, "evil": "1"})
    assert (asked.q, asked.status, asked.since, len(asked.actor)) == ("a&b", "failed", "", 200)
    assert Listing.of({"status": "evil"}) == Listing()
    assert Listing(q="a&b", status="open").url(status="") == "/deployments?q=a%26b"


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "string"}, "Required."),
        ({"type": "string", "default": ""}, ""),
        ({"type": "string", "description": "What to say"}, "What to say. Required."),
        ({"type": "array", "description": "Who hears of it?"}, "Who hears of it? One value a line."),
        ({"type": "object", "default": {}}, "As JSON."),
        ({"type": "integer", "minimum": 0, "maximum": 9, "default": 0}, "From 0 to 9."),
        ({"type": "integer", "minimum": 1, "default": 2}, "At least 1."),
        ({"type": "number", "maximum": 0.5, "default": 0}, "At most 0.5."),
    ],
)
def test_field_says_what_it_takes(schema: dict[str, Any], words: str) -> None:
    assert field(schema).help == words
