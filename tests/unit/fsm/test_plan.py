"""The plan: order, size, JSON and missing dynamic values."""

from __future__ import annotations

import json

import pytest

from reworker.errors import PlaybookInvalid
from reworker.fsm.parsing import parse
from reworker.fsm.plan import Plan, Role, compile_plan
from reworker.fsm.plan_json import plan_from_json, plan_to_json
from reworker.fsm.playbook import OnUnknown, Playbook, Sequence, SequenceKind, Step, When
from reworker.fsm.rules import PhaseNotice, Rules, TriggerRule

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


ORDERED = """\
group: g
name: n
environment: prod
timeout: 2h
execution:
- {id: a, hosts: [Web1., bücher.example], steps: [{"x:One": {}, id: one, rollback: "x:Undo"}]}
- {id: b, needs: [], hosts: [web2], steps: ["x:Two"]}
- {needs: [b, a], hosts: [WEB1], steps: ["x:Three", {"x:Four": {}, when: not one, verify: "x:Look"}]}
"""


def rules():
    """Return rules with a trigger before `x:Two`, a check and an action."""
    before, check, act, tell = (
        Step(key=key, command=key[0], subcommand=key[2:])
        for key in ("t:Before", "c:Check", "d:Act", "d:Tell")
    )
    return Rules(
        triggers=(TriggerRule(step=before, next_subcommand="Two"),),
        checks=(check,),
        actions=(act, tell),
        notice=PhaseNotice(topic="notify.irc"),
    )


def test_plan_says_who_waits_for_whom_when_it_is_compiled():
    plan = compile_plan(parse(ORDERED), {})
    assert plan.needs == ((), (), (0, 1))
    assert plan.dependents == ((2,), (2,), ())
    assert plan.watchers == {"one": ((2, 1, When(step="one", is_negated=True)),)}
    assert plan.has_rollback
    assert plan.timeout_s == 7200.0


def test_plan_locks_each_host_once_however_it_is_spelled():
    assert compile_plan(parse(ORDERED), {}).locks == (
        "environment:prod",
        "host:web1",
        "host:web2",
        "host:xn--bcher-kva.example",
    )


def test_plan_locks_nothing_when_playbook_says_so():
    assert compile_plan(parse(f"locks: false\n{ORDERED}"), {}).locks == ()


def test_plan_holds_checks_and_actions_around_the_rest_when_there_are_rules():
    plan = compile_plan(parse(ORDERED), {}, rules=rules())
    assert [one.key for one in plan.steps()] == [
        *("c:Check", "x:One", "x:One", "t:Before", "x:Two", "x:Three", "x:Four", "d:Act", "d:Tell"),
    ]
    assert [one.kind for one in plan.sequences] == [
        SequenceKind.CHECK,
        *[SequenceKind.EXECUTION] * 3,
        SequenceKind.ACTION,
    ]
    assert [one.hosts for one in plan.steps()][:2] == [(), ("Web1.",)]
    assert plan.needs == ((), (), (), (1, 2), ())
    assert plan.notice == PhaseNotice(topic="notify.irc")
    assert not any(name == "host:" for name in plan.locks)


def test_compile_asks_for_the_values_of_rules_when_their_steps_list_them():
    asking = Step(key="t:X", command="t", subcommand="X", dynamic_names=("ticket",))
    for given in (
        Rules(checks=(asking,)),
        Rules(actions=(asking,)),
        Rules(triggers=(TriggerRule(step=asking),)),
    ):
        with pytest.raises(PlaybookInvalid, match="dynamic values are missing: ticket"):
            compile_plan(parse(ORDERED), {}, rules=given)
        assert compile_plan(parse(ORDERED), {"ticket": 1}, rules=given).dynamic == {"ticket": 1}


def test_plan_gives_the_step_in_each_of_its_roles():
    plan = compile_plan(parse(ORDERED), {})
    assert plan.step(4, Role.VERIFY).key == "x:Look"
    assert plan.step(4, Role.VERIFY).is_idempotent
    assert plan.step(4, Role.VERIFY).on_unknown is OnUnknown.ASK
    assert plan.step(0, Role.ROLLBACK).key == "x:Undo"
    assert plan.step(0, Role.ROLLBACK).role is Role.ROLLBACK
    assert plan.step(3, Role.ROLLBACK).key == "x:Three"
