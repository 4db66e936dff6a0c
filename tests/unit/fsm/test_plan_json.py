"""Plans survive the way through JSON, those that version 1 wrote too."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reworker.core.codec import decode_plan, encode_plan
from reworker.fsm.parsing import parse
from reworker.fsm.plan import Plan, compile_plan
from reworker.fsm.plan_json import plan_from_json, plan_to_json, steps_to_json
from reworker.fsm.playbook import (
    Approval,
    Expectation,
    OnUnknown,
    Retry,
    Sequence,
    SequenceKind,
    Step,
    When,
)
from reworker.fsm.rules import PhaseNotice, Rules

#: what version 1 wrote for this playbook.
VERSION_1 = """{"group": "g", "name": "n", "sequences": [{"hosts": ["a", "b"], "steps": [{"key": "x:One",
"command": "x", "subcommand": "One"}, {"key": "x:Two", "command": "x", "subcommand": "Two", "parameters":
{"p": [1, {"q": null}]}, "notify": {"started": {"irc": ["#web"]}}, "dynamic_names": ["version"],
"timeout_s": 5.0, "is_idempotent": true, "on_unknown": "fail", "id": "two"},
{"key": "x:Three", "command": "x", "subcommand":
"Three", "queue_timeout_s": 90.0, "is_idempotent": true, "on_unknown": "retry"}], "description": "first",
"notify": {"failed": {"irc": ["#ops"]}}, "id": "a"}], "dynamic": {"version": 1}, "is_unattended": true}"""
SAME_PLAYBOOK = """\
group: g
name: n
unattended: true
locks: false
execution:
- description: first
  id: a
  hosts: [a, b]
  notify: {failed: {irc: ["#ops"]}}
  steps:
  - x:One
  - x:Two: {p: [1, {q: null}], dynamic: [version], notify: {started: {irc: ["#web"]}}}
    timeout: 5
    idempotent: true
    on_unknown: fail
    id: two
  - x:Three: {}
    idempotent: true
    queue_timeout: 90
"""

words = st.text("abc-_1", max_size=4)
numbers = st.floats(min_value=0.5, max_value=1e6)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
tuples = st.lists(words, max_size=3).map(tuple)
notify = st.dictionaries(words, st.dictionaries(words, tuples, max_size=2), max_size=2)
known = {
    Retry: st.builds(Retry, attempts=st.integers(2, 9), backoff_s=numbers),
    When: st.builds(When, step=words, data=values, is_negated=st.booleans()),
    Approval: st.builds(
        Approval,
        text=words,
        of=st.integers(1, 9),
        is_not_self=st.booleans(),
        expires_s=st.none() | numbers,
    ),
    Expectation: st.builds(Expectation, body=values, is_subset=st.booleans()),
}


def steps(inner):
    """Return steps in which every field has any value; `inner` are those in `verify` and `rollback`."""
    return st.builds(
        Step,
        key=words,
        command=words,
        subcommand=words,
        parameters=st.dictionaries(words, values, max_size=2),
        notify=notify,
        dynamic_names=tuples,
        timeout_s=st.none() | numbers,
        queue_timeout_s=numbers,
        delay_s=numbers,
        is_idempotent=st.booleans(),
        on_unknown=st.sampled_from(OnUnknown),
        retry=st.none() | known[Retry],
        when=st.none() | known[When],
        verify=inner,
        rollback=inner,
        approval=st.none() | known[Approval],
        expectation=st.none() | known[Expectation],
        id=words,
        title=words,
        priority=st.integers(0, 255),
        domains=tuples,
    )


sequences = st.builds(
    Sequence,
    hosts=tuples,
    steps=st.lists(steps(st.none() | steps(st.none())), max_size=2).map(tuple),
    description=words,
    notify=notify,
    id=words,
    kind=st.sampled_from(SequenceKind),
    batch_count=st.integers(1, 9),
    max_failure_count=st.integers(0, 9),
    needs=st.none() | tuples,
    domains=tuples,
)
notices = st.builds(PhaseNotice, topic=words, targets=tuples, url=words)
plans = st.builds(
    Plan,
    group=words,
    name=words,
    sequences=st.lists(sequences, max_size=2).map(tuple),
    dynamic=st.dictionaries(words, values, max_size=2),
    is_unattended=st.booleans(),
    locks=tuples,
    timeout_s=st.none() | numbers,
    notice=st.none() | notices,
    environment=words,
    domains=st.dictionaries(words, tuples, max_size=2),
)


@given(plans)
def test_plan_is_the_same_when_read_back_whatever_it_holds(plan):
    value = plan_to_json(plan)
    assert plan_from_json(value) == plan
    assert json.loads(json.dumps(value)) == value
    found = decode_plan(encode_plan(plan))
    assert found == plan
    assert repr(found) == repr(plan)


@given(steps(st.none() | steps(st.none())))
def test_step_is_the_same_in_json_when_its_keys_are_in_another_order(step):
    other = Step(**dict(reversed(vars(step).items())))
    assert json.dumps(steps_to_json(step), sort_keys=True) == json.dumps(steps_to_json(other), sort_keys=True)


@pytest.mark.parametrize("kind", [Plan, Sequence, Step, Retry, When, Approval, Expectation, PhaseNotice])
def test_strategies_of_these_tests_know_every_field(kind):
    drawn = {Plan: plans, Sequence: sequences, Step: steps(st.none()), PhaseNotice: notices, **known}
    assert {one.name for one in fields(kind)} == drawn[kind].wrapped_strategy.kwargs.keys()


def test_plan_of_version_1_is_read_when_it_is_loaded():
    plan = plan_from_json(json.loads(VERSION_1))
    assert plan == compile_plan(parse(SAME_PLAYBOOK), {"version": 1})
    assert plan.locks == ()
    assert list(plan.steps())[1].queue_timeout_s == 900.0


def test_plan_is_small_when_everything_is_as_usual():
    plan = Plan(group="g", name="n", sequences=(Sequence(hosts=("a",), steps=()),))
    assert plan_to_json(plan) == {"group": "g", "name": "n", "sequences": [{"hosts": ["a"], "steps": []}]}


def test_plan_is_the_same_after_its_indexes_were_used():
    plan = compile_plan(parse(SAME_PLAYBOOK), {"version": 1}, rules=Rules())
    before = plan_to_json(plan)
    assert (plan.needs, plan.dependents, plan.watchers, plan.has_rollback) == (((),), ((),), {}, False)
    assert plan_to_json(plan) == before


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ({}, KeyError),
        ({"group": "g", "sequences": []}, TypeError),
        ({"group": "g", "name": "n", "sequences": [], "invented": 1}, TypeError),
        ({"group": "g", "name": "n", "sequences": [{"hosts": [], "steps": [], "kind": "x"}]}, ValueError),
    ],
)
def test_plan_raises_when_its_json_is_none_of_ours(value, error):
    with pytest.raises(error):
        plan_from_json(value)
