"""Values of a deployment against the `params` of its playbook."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reworker.core import parameters, patterns
from reworker.core.submission import new_playbook, plan_of
from reworker.errors import ConfigError, PlaybookInvalid
from reworker.fsm.parsing import parse
from reworker.fsm.playbook import Step
from reworker.fsm.rules import Rules, TriggerRule

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

PARAMS = {
    "color": {"enum": ["red", "blue"]},
    "count": {"type": "integer", "minimum": 1, "maximum": 9, "default": 2},
    "is_hot": {"type": "boolean", "default": False},
}


def text_of(params, *steps):
    execution = [{"hosts": ["web1"], "steps": list(steps) or ["noop:Run"]}]
    return json.dumps({"group": "g", "name": "n", "params": params, "execution": execution})


def complete(given, params=PARAMS, rules=None, steps=()):
    return parameters.complete(parse(text_of(params, *steps)), given, rules, source="shop.yaml")


def refusal(given, params=PARAMS, **more):
    with pytest.raises(PlaybookInvalid, match=r"^shop\.yaml: values do not fit its params: ") as caught:
        complete(given, params, **more)
    return caught.value.reason


def problem(schema):
    """Return what is wrong with a schema, or an empty text."""
    found = parameters.problems(parse(text_of({"x": schema})), {"x": 7}, source="shop.yaml")
    assert all((one.line, one.path, one.source) == (7, "params.x", "shop.yaml") for one in found)
    return found[0].reason if found else ""


def fitting(schema, value):
    return complete({"x": value}, {"x": schema})["x"]


def test_values_are_completed_with_defaults_when_they_are_left_out():
    assert complete({"color": "red"}) == {"color": "red", "count": 2, "is_hot": False}
    assert complete({"color": "red", "count": 3}) == {"color": "red", "count": 3, "is_hot": False}


def test_values_are_taken_as_they_are_when_playbook_has_no_params():
    assert complete({"anything": [1]}, {}) == {"anything": [1]}


def test_default_is_used_when_it_is_null():
    assert complete({}, {"x": {"default": None}}) == {"x": None}


@pytest.mark.parametrize(
    ("schema", "value", "expected"),
    [
        ({"type": "integer"}, "3", 3),
        ({"type": "integer"}, "-3", -3),
        ({"type": "integer"}, " 3 ", 3),
        ({"type": "number"}, "1.5", 1.5),
        ({"type": "boolean"}, "true", True),
        ({"type": "boolean"}, "false", False),
        ({"type": ["integer", "null"]}, "3", 3),
        ({"type": "integer", "minimum": 3}, "3", 3),
        ({"enum": [1, 2]}, "2", 2),
        ({"type": "string"}, "3", "3"),
        ({"type": "string"}, "true", "true"),
        ({"type": ["integer", "string"]}, "3", "3"),
        ({}, "3", "3"),
        ({"type": "integer"}, 3, 3),
        ({"type": "array", "items": {"type": "integer"}}, [3], [3]),
    ],
)
def test_text_becomes_what_the_schema_asks_for(schema, value, expected):
    found = fitting(schema, value)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "integer"}, "x"),
        ({"type": "integer"}, ""),
        ({"type": "integer"}, "3.5"),
        ({"type": "integer"}, True),
        ({"type": "integer"}, None),
        ({"type": "number"}, "NaN"),
        ({"type": "number"}, "1e400"),
        ({"type": "number"}, "Infinity"),
        ({"type": "boolean"}, "yes"),
        ({"type": "boolean"}, 1),
        ({"type": "array"}, "[1]"),
        ({"type": "string"}, 3),
        ({"type": "string", "pattern": "^a+$"}, "b"),
        ({"pattern": "^a+$"}, "\ud800"),
        ({"type": "integer", "maximum": 3}, "4"),
        ({"enum": []}, "x"),
        ({"type": "array", "items": {"type": "integer"}}, ["x"]),
    ],
)
def test_value_is_refused_when_it_does_not_fit(schema, value):
    assert "'x' does not fit" in refusal({"x": value}, {"x": schema})


def test_refusal_speaks_of_what_was_meant_when_a_text_is_a_number():
    assert "10 is greater than the maximum of 9" in refusal({"color": "red", "count": "10"})


def test_value_is_checked_against_its_pattern_only_when_it_is_text():
    schema = {"pattern": r"^[0-9]+(\.[0-9]+)*$"}
    assert fitting(schema, "1.10.2") == "1.10.2"
    assert fitting(schema, [1]) == [1]


def test_match_ends_when_its_pattern_takes_for_ever():
    with pytest.raises(TimeoutError, match=r"its pattern takes longer than 0\.2 s"):
        patterns.is_match("^(a+)+$", "a" * 60 + "!", limit_s=0.2)


def test_matches_end_when_all_of_a_playbook_take_too_long_together():
    with (
        patterns.limited(0.0),
        pytest.raises(TimeoutError, match="of this playbook take too long together"),
        patterns.limited(),
    ):
        patterns.is_match("^together$", "together")
    assert patterns.is_match("^together$", "together")


def test_match_is_refused_when_python_cannot_do_it():
    with pytest.raises(RecursionError, match="beyond what Python can match"):
        patterns.is_match("(" * 5_000 + ")" * 5_000, "a")


def test_refusal_names_everything_when_much_is_wrong():
    found = refusal({"count": 0, "colour": "red"}, steps=[{"a:B": {"dynamic": ["cart"]}}])
    assert found.partition(": ")[2].split("; ") == [
        "'color' is missing (one of 'red', 'blue')",
        "'count' does not fit: 0 is less than the minimum of 1",
        "'cart' is missing",
        "'colour' is unknown, did you mean 'color'?",
    ]


def test_refusal_says_the_place_when_it_is_deep_inside_a_value():
    schema = {"properties": {"a": {"items": {"type": "integer"}}}}
    assert "does not fit at .a[1]: 'x' is not of type 'integer'" in refusal(
        {"x": {"a": [1, "x"]}}, {"x": schema}
    )


def test_refusal_says_the_type_when_a_value_is_missing():
    assert refusal({}, {"x": {"type": "integer"}}).endswith("'x' is missing (integer)")
    assert refusal({}, {"x": {}}).endswith("'x' is missing")


def test_refusal_is_short_when_very_much_is_wrong():
    found = refusal({"color": "x" * 10_000} | {f"y{number}" * 50: 1 for number in range(1_000)})
    assert found.endswith("and 981 more")
    assert len(found) < 20_000


def test_name_is_known_when_only_a_step_lists_it():
    steps = [
        {
            "a:B": {"dynamic": ["one"]},
            "rollback": {"a:C": {"dynamic": ["two"]}},
            "verify": {"a:D": {"dynamic": ["three"]}},
        }
    ]
    given = {"color": "red", "one": 1, "two": 2, "three": [3]}
    assert complete(given, steps=steps) == {**given, "count": 2, "is_hot": False}


def test_name_is_known_when_only_the_operators_rules_list_it():
    asking = [
        Step(key="a:B", command="a", subcommand="B", dynamic_names=(name,))
        for name in ("one", "two", "three")
    ]
    rules = Rules(triggers=(TriggerRule(step=asking[0]),), checks=(asking[1],), actions=(asking[2],))
    given = {"color": "red", "one": 1, "two": 2, "three": 3}
    assert complete(given, rules=rules).items() >= given.items()
    assert "'two' is unknown" in refusal(given)


@pytest.mark.parametrize(
    ("schema", "part"),
    [
        ({"type": "integr"}, "unknown type 'integr'; did you mean 'integer'?"),
        ({"type": 3}, "the schema is wrong at type: "),
        ({"type": []}, "the schema is wrong at type: "),
        ({"enum": 3}, "the schema is wrong at enum: 3 is not of type 'array'"),
        ({"minimum": "a"}, "the schema is wrong at minimum: "),
        ({"multipleOf": 0}, "the schema is wrong at multipleOf: "),
        ({"required": True}, "the schema is wrong at required: "),
        ({"properties": {"a": 3}}, "the schema is wrong at properties.a: "),
        ({"items": {"type": "x"}}, "unknown type 'x'; known: string, "),
        ({"pattern": "["}, "the schema is wrong at pattern: '[' is not a 'regex'"),
        ({"patternProperties": {"a": {}}}, "patternProperties is not supported"),
        ({"pattern": "a{99999999999}"}, "the schema cannot be used: "),
        ({"$ref": "http://127.0.0.1:1/x"}, "$ref is not supported"),
        ({"$ref": "#"}, "$ref is not supported"),
        ({"items": [{"$dynamicRef": "#x"}]}, "$dynamicRef is not supported"),
        ({"type": "integer", "default": "x"}, "the default does not fit: 'x' is not of type 'integer'"),
        ({"enum": ["a"], "default": "b"}, "the default does not fit"),
    ],
)
def test_schema_is_refused_when_it_is_malformed(schema, part):
    assert part in problem(schema)
    with pytest.raises(PlaybookInvalid):
        complete({"x": 1}, {"x": schema})


@pytest.mark.parametrize(
    "schema", [{}, {"type": "string", "x-form": "area"}, {"title": "X"}, PARAMS["count"]]
)
def test_schema_is_accepted_when_it_is_good(schema):
    assert problem(schema) == ""


def test_schemas_are_left_alone_when_they_are_no_mappings():
    playbook = replace(parse(text_of({})), params={"x": 3})
    assert parameters.problems(playbook, source="shop.yaml") == []


def test_number_is_refused_when_it_is_beyond_all_arithmetic():
    assert "cannot be checked: " in refusal({"x": 1 << 2_000}, {"x": {"multipleOf": 0.1}})


KEYWORDS = [
    *("type", "enum", "const", "minimum", "multipleOf", "pattern", "maxLength", "items", "uniqueItems"),
    *("properties", "required", "default", "anyOf", "not", "$ref", "$id", "$defs"),
]
schemas = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(KEYWORDS),
            inner | st.sampled_from(["integer", "string", "array"]),
            max_size=3,
        )
    ),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from(["type", "default", "pattern", "enum", "items"]), schemas, max_size=3),
    schemas,
)
def test_schema_and_value_are_accepted_or_refused_whatever_they_are(schema, value):
    playbook = replace(parse(text_of({})), params={"x": schema})
    if parameters.problems(playbook, source="f"):
        return
    try:
        found = parameters.complete(playbook, {"x": value}, source="f")
    except PlaybookInvalid:
        return
    assert parameters.complete(playbook, found, source="f") == found


@pytest.mark.parametrize(
    ("schema", "value", "typed", "expected"),
    [
        ({"type": "string"}, 1.1, "1.10", "1.10"),
        ({"type": "string"}, True, "true", "true"),
        ({"type": "string"}, {"a": 1}, "a: 1", "a: 1"),
        ({"type": "string"}, "a", '"a"', "a"),
        ({"enum": ["1", "2"]}, 1, "1", "1"),
        ({"type": "integer"}, 3, "3", 3),
        ({"type": "integer"}, "x", "x", "x"),
        ({}, 3, "3", 3),
    ],
)
def test_value_is_as_it_was_typed_when_only_the_text_fits(schema, value, typed, expected):
    playbook = parse(text_of({"x": schema}))
    found = parameters.as_typed(playbook, {"x": value, "other": 1}, {"x": typed, "other": "1"})
    assert (found, type(found["x"])) == ({"x": expected, "other": 1}, type(expected))


def test_plan_has_the_completed_values_when_a_deployment_is_submitted():
    plan = plan_of(
        text_of(PARAMS, {"a:B": {"dynamic": ["count"]}}), {"color": "blue", "is_hot": "true"}, "shop.yaml"
    )
    assert plan.dynamic == {"color": "blue", "count": 2, "is_hot": True}


def test_deployment_is_refused_when_its_values_do_not_fit():
    with pytest.raises(PlaybookInvalid, match="'color' is missing"):
        plan_of(text_of(PARAMS), {}, "shop.yaml")


def test_playbook_is_not_stored_when_its_schemas_are_malformed():
    with pytest.raises(PlaybookInvalid, match=r"params\.x: unknown type 'integr'"):
        new_playbook("0" * 24, 1, text_of({"x": {"type": "integr"}}), "ann", START)
    assert new_playbook("0" * 24, 1, text_of(PARAMS), "ann", START).name == "n"


def test_values_need_the_library_only_when_there_are_params(monkeypatch):
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    assert complete({"x": 1}, {}) == {"x": 1}
    with pytest.raises(ConfigError, match=r"install reworker\[server\]"):
        complete({"color": "red"})


@pytest.mark.parametrize("key", ["verify", "rollback"])
def test_deployment_is_refused_when_what_belongs_to_a_step_is_too_large_to_be_sent(key):
    text = text_of({}, {"a:B": {}, key: {"a:C": {"blob": "x" * 1_100_000}}})
    with pytest.raises(PlaybookInvalid, match=r"execution\[0\].steps\[0\].*1048576"):
        plan_of(text, {}, "shop.yaml")
