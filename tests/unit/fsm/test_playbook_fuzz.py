"""Whatever stands at a key of a playbook: it is read, or refused with places; nothing else happens."""

from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from reworker.errors import PlaybookInvalid
from reworker.fsm.control_parsing import APPROVAL_KEYS, RETRY_KEYS, WHEN_KEYS
from reworker.fsm.parsing import PLAYBOOK_KEYS, examine, parse
from reworker.fsm.plan import compile_plan
from reworker.fsm.plan_json import plan_from_json, plan_to_json
from reworker.fsm.sequence_parsing import SEQUENCE_KEYS, STRATEGY_KEYS
from reworker.fsm.step_parsing import CONTROL_KEYS

SPECIAL = (
    "a:B",
    "web1",
    "one",
    "not one",
    "seq",
    "verify",
    "retry",
    "25%",
    "101 %",
    "1.5",
    "5m",
    "1h banana",
)
INNER_KEYS = (
    "a:B",
    "c:D",
    "dynamic",
    "notify",
    *APPROVAL_KEYS,
    *RETRY_KEYS,
    *WHEN_KEYS,
    *STRATEGY_KEYS,
    *CONTROL_KEYS,
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 200),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.dates(),
    st.sampled_from(SPECIAL),
    st.text(max_size=20),
    st.sampled_from([float("nan"), float("inf"), -0.0, 2**63, "0o17", "no", "on", "x" * 300]),
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(INNER_KEYS) | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)


def base():
    """Return a playbook with two sequences and ids; every value in it may be replaced."""
    first = {"id": "seq", "hosts": ["a", "b"], "steps": [{"a:B": {}, "id": "one"}]}
    second = {"hosts": ["web1"], "steps": ["x:Y", {"a:B": {}}, {"approval": "ok?"}]}
    return {"group": "g", "name": "n", "execution": [first, second]}


def is_sound(text):
    """Check that a text is read or refused properly; tell whether it is valid."""
    reading = examine(text, "f.yaml")
    assert len(reading.problems) <= 100
    lines = text.count("\n") + 1
    assert all(1 <= one.line <= lines and one.reason and len(str(one)) < 2_000 for one in reading.problems)
    assert all(str(one).isprintable() for one in reading.problems)
    if reading.problems:
        with pytest.raises(PlaybookInvalid):
            parse(text)
        return False
    plan = compile_plan(
        reading.playbook, dict.fromkeys("one", 1) | dict.fromkeys(_names(reading.playbook), 1)
    )
    assert plan_from_json(json.loads(json.dumps(plan_to_json(plan)))) == plan
    for index, needed in enumerate(plan.needs):
        assert index not in needed
        assert len(set(needed)) == len(needed)
    return True


def _names(playbook):
    steps = [step for one in playbook.execution for step in one.steps]
    return {
        name
        for step in steps
        for one in (step, step.verify, step.rollback)
        if one
        for name in one.dynamic_names
    }


def test_playbook_of_these_tests_is_valid():
    assert is_sound(yaml.safe_dump(base()))


@given(st.sampled_from(PLAYBOOK_KEYS), values)
def test_playbook_is_read_or_refused_when_anything_stands_at_a_top_key(key, value):
    is_sound(yaml.safe_dump({**base(), key: value}, allow_unicode=True))


@given(st.sampled_from(SEQUENCE_KEYS), values)
def test_playbook_is_read_or_refused_when_anything_stands_at_a_key_of_a_sequence(key, value):
    whole = base()
    whole["execution"][1][key] = value
    is_sound(yaml.safe_dump(whole, allow_unicode=True))


@given(st.sampled_from([*CONTROL_KEYS, "approval", "a:B"]), values, st.sampled_from([1, 2]))
def test_playbook_is_read_or_refused_when_anything_stands_at_a_key_of_a_step(key, value, place):
    whole = base()
    whole["execution"][1]["steps"][place][key] = value
    is_sound(yaml.safe_dump(whole, allow_unicode=True))


@given(st.dictionaries(st.sampled_from(CONTROL_KEYS), values, max_size=4))
def test_playbook_is_read_or_refused_when_anything_stands_at_many_keys(controls):
    whole = base()
    whole["execution"][1]["steps"][1].update(controls)
    whole["execution"][0]["steps"][0]["verify"] = {"a:C": None, **controls}
    whole["execution"][0]["steps"][0]["rollback"] = {"a:D": None, **controls}
    is_sound(yaml.safe_dump(whole, allow_unicode=True))


@given(st.lists(st.none() | st.lists(st.integers(0, 5), max_size=3, unique=True), min_size=1, max_size=6))
def test_needs_are_refused_just_when_sequences_wait_in_a_circle(needs):
    sequences = []
    for index, needed in enumerate(needs):
        one = {"id": f"s{index}", "hosts": ["a"], "steps": ["a:B"]}
        sequences.append(one if needed is None else {**one, "needs": [f"s{number}" for number in needed]})
    text = json.dumps({"group": "g", "name": "n", "execution": sequences})
    graph = {
        index: ([index - 1] if index else []) if needed is None else needed
        for index, needed in enumerate(needs)
    }
    assert is_sound(text) == _can_end(graph)


def _can_end(graph):
    """Tell whether all sequences end when each begins as soon as those that it needs have ended."""
    ended = set()
    while ready := {one for one, needed in graph.items() if one not in ended and ended.issuperset(needed)}:
        ended |= ready
    return len(ended) == len(graph)
