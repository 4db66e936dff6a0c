"""The plan: order, size, JSON and missing dynamic values."""

from __future__ import annotations

import json

import pytest

from reworker.errors import PlaybookInvalid
from reworker.fsm.parsing import parse
from reworker.fsm.plan import Plan, compile_plan
from reworker.fsm.plan_json import plan_from_json, plan_to_json
from reworker.fsm.playbook import OnUnknown, Playbook, Sequence

TEXT = """\
group: g
name: n
unattended: true
execution:
- description: first
  hosts: [a, b]
  notify: {failed: {irc: ["#ops"]}}
  steps:
  - x:One
  - x:Two: {p: [1, {q: null}], dynamic: [version, color], notify: {started: {irc: ["#web"]}}}
    timeout: 5
    idempotent: true
    on_unknown: fail
- hosts: [b]
  steps: [y:Three]
"""


def test_plan_is_sequence_major_and_host_minor_when_compiled():
    plan = compile_plan(parse(TEXT), {"version": 1, "color": "red"})
    assert plan.step_count == 5
    assert [(one.index, one.sequence_index, one.host, one.key) for one in plan.steps()] == [
        (0, 0, "a", "x:One"),
        (1, 0, "a", "x:Two"),
        (2, 0, "b", "x:One"),
        (3, 0, "b", "x:Two"),
        (4, 1, "b", "y:Three"),
    ]
    assert [plan.place(one.index) for one in plan.steps()] == [
        (0, 0, 0),
        (0, 0, 1),
        (0, 1, 0),
        (0, 1, 1),
        (1, 0, 0),
    ]
    assert plan.step(3).sequence_description == "first"
    assert plan.step(3).timeout_s == 5.0
    assert plan.step(3).on_unknown is OnUnknown.FAIL
    assert plan.is_unattended
    assert plan.dynamic == {"version": 1, "color": "red"}


@pytest.mark.parametrize("index", [-1, 5])
def test_plan_has_no_step_when_index_is_outside(index):
    plan = compile_plan(parse(TEXT), {"version": 1, "color": "red"})
    with pytest.raises(IndexError, match=f"step {index} of a plan of 5"):
        plan.step(index)


def test_plan_has_no_steps_when_it_has_no_sequences():
    assert Plan(group="g", name="n", sequences=()).step_count == 0


def test_compile_names_all_when_dynamic_values_are_missing():
    with pytest.raises(PlaybookInvalid, match=r"shop\.yaml: dynamic values are missing: color, version"):
        compile_plan(parse(TEXT), {"other": 1}, source="shop.yaml")


def test_plan_is_the_same_when_read_back_from_json():
    plan = compile_plan(parse(TEXT), {"version": 1, "color": "red"})
    assert plan_from_json(json.loads(json.dumps(plan_to_json(plan)))) == plan
    assert plan_from_json(plan_to_json(plan)) == plan


def test_plan_json_holds_only_json_types_when_written():
    value = plan_to_json(compile_plan(parse(TEXT), {"version": 1, "color": "red"}))
    assert json.loads(json.dumps(value)) == value


def test_plan_json_is_linear_in_steps_plus_hosts_when_hosts_are_many(step):
    def size(count):
        sequence = Sequence(hosts=tuple(f"h{n}" for n in range(count)), steps=(step("a:B"),) * count)
        plan = compile_plan(Playbook(group="g", name="n", execution=(sequence,)), {})
        assert plan.step_count == count * count
        return len(json.dumps(plan_to_json(plan)))

    assert size(1000) < 12 * size(100)
