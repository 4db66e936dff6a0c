"""The control keys beside a step, the steps that verify it and take it back, and approvals."""

from __future__ import annotations

import pytest

from reworker.errors import PlaybookInvalid
from reworker.fsm.parsing import parse, problems
from reworker.fsm.plan import Role, compile_plan
from reworker.fsm.playbook import Approval, OnUnknown, Retry, Step, When
from tests.unit.fsm.playbook_texts import build, build_step, refused

HERE = "execution[0].steps[0]"


def read(**controls):
    """Return the step ``a:B`` with these control keys."""
    (found,) = parse(build_step({"a:B": {}, **controls})).execution[0].steps
    return found


def read_when(when):
    steps = [{"a:B": {}, "id": "changed"}, {"a:B": {}, "when": when}]
    return parse(build(steps=steps)).execution[0].steps[1].when


def refused_key(key, value, part, path=None):
    return refused(build_step({"a:B": {}, key: value}), part, path and f"{HERE}.{path}")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (2, Retry(attempts=2)),
        (100, Retry(attempts=100)),
        ({"attempts": 3}, Retry(attempts=3)),
        ({"attempts": 3, "backoff": "2s"}, Retry(attempts=3, backoff_s=2.0)),
        ({"attempts": 3, "backoff": 0.5}, Retry(attempts=3, backoff_s=0.5)),
    ],
)
def test_parse_reads_retry_when_it_is_a_number_or_a_mapping(value, expected):
    assert read(retry=value).retry == expected


@pytest.mark.parametrize("value", [0, 1, -1, 101, 2.0, 2.5, 2**62, "3", "", True, None, [3]])
def test_parse_refuses_retry_when_it_is_no_number_of_attempts(value):
    refused_key("retry", value, "must be a whole number from 2 to 100, not ", "retry")
    refused_key("retry", {"attempts": value}, "must be a whole number from 2 to 100, not ", "retry.attempts")


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ({}, "'attempts' is missing"),
        ({"backoff": "2s"}, "'attempts' is missing"),
        ({"attempts": 3, "backof": 1}, "unknown key 'backof'; did you mean 'backoff'?"),
        ({"attempts": 3, "backoff": "2 s"}, "'2 s' is no duration"),
        ({"attempts": 3, "backoff": 0}, "0 is no duration"),
    ],
)
def test_parse_refuses_retry_when_its_mapping_is_wrong(value, part):
    refused_key("retry", value, part)


def test_parse_reads_delay_when_it_is_a_duration():
    assert read(delay="1m30s").delay_s == 90.0
    assert read().delay_s == 0.0


@pytest.mark.parametrize("value", [0, -1, "1h banana", True, None, ["5m"], "367d"])
def test_parse_refuses_delay_when_it_is_no_duration(value):
    refused_key("delay", value, "is no duration", "delay")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("changed", When(step="changed")),
        ("not changed", When(step="changed", is_negated=True)),
        ("not  changed ", When(step="changed", is_negated=True)),
        ({"step": "changed"}, When(step="changed")),
        ({"not": "changed"}, When(step="changed", is_negated=True)),
        ({"step": "changed", "data": {"a": [1]}}, When(step="changed", data={"a": [1]})),
        ({"step": "changed", "data": False}, When(step="changed", data=False)),
    ],
)
def test_parse_reads_when_in_each_of_its_forms(value, expected):
    assert read_when(value) == expected


@pytest.mark.parametrize(
    ("value", "part"),
    [
        (3, "when, if it is no id, must be a mapping, not 3"),
        (True, "not true"),
        (None, "not nothing"),
        (["changed"], "not a list"),
        ("", "'' may hold only letters"),
        ("not", "no step has the id 'not'"),
        ("not ", "'not ' may hold only letters"),
        ("changed and more", "'changed and more' may hold only letters"),
        ("!changed", "may hold only letters"),
        ("x" * 300, "may hold only letters"),
        ({}, "give either 'step' or 'not'"),
        ({"data": {}}, "give either 'step' or 'not'"),
        ({"step": "changed", "not": "changed"}, "give either 'step' or 'not'"),
        ({"stp": "changed"}, "unknown key 'stp'; did you mean 'step'?"),
        ({"step": 3}, "must be text, not 3"),
        ({"not": ["changed"]}, "must be text, not a list"),
        ({"not": "changed", "data": {}}, "give it beside 'step'"),
        ({"step": "changed", "data": None}, "and not null"),
    ],
)
def test_parse_refuses_when_in_another_form(value, part):
    steps = [{"a:B": {}, "id": "changed"}, {"a:B": {}, "when": value}]
    assert refused(build(steps=steps), part).path.startswith("execution[0].steps[1].when")


def test_parse_reads_verify_and_rollback_when_they_are_names():
    found = read(verify="service:Status", rollback="service:Start")
    assert found.verify == Step(key="service:Status", command="service", subcommand="Status")
    assert found.rollback == Step(key="service:Start", command="service", subcommand="Start")
    assert found.on_unknown is OnUnknown.VERIFY


def test_parse_reads_verify_and_rollback_when_they_have_everything():
    notify = {"failed": {"irc": ["#ops"]}}
    found = read(
        verify={"s:Look": {"service": "x", "dynamic": ["who"]}, "timeout": 5, "queue_timeout": "1m"},
        rollback={
            "s:Undo": {"to": 1, "dynamic": ["version"], "notify": notify},
            **{"timeout": 5, "queue_timeout": 6, "retry": 2, "idempotent": True, "on_unknown": "fail"},
        },
    )
    assert found.verify == Step(
        key="s:Look",
        command="s",
        subcommand="Look",
        parameters={"service": "x"},
        dynamic_names=("who",),
        timeout_s=5.0,
        queue_timeout_s=60.0,
    )
    assert found.rollback == Step(
        key="s:Undo",
        command="s",
        subcommand="Undo",
        parameters={"to": 1},
        dynamic_names=("version",),
        notify={"failed": {"irc": ("#ops",)}},
        timeout_s=5.0,
        queue_timeout_s=6.0,
        retry=Retry(attempts=2),
        is_idempotent=True,
        on_unknown=OnUnknown.FAIL,
    )


def test_parse_chooses_retry_in_doubt_when_rollback_is_idempotent():
    assert read(rollback={"a:B": {}, "idempotent": True}).rollback.on_unknown is OnUnknown.RETRY
    assert read(rollback={"a:B": {}}).rollback.on_unknown is OnUnknown.ASK


@pytest.mark.parametrize("key", ["verify", "rollback"])
@pytest.mark.parametrize(
    ("value", "part"),
    [
        (3, "step must be a mapping, not 3"),
        (None, "step must be a mapping, not nothing"),
        (["a:B"], "step must be a mapping, not a list"),
        ({}, 'a step is "command:Subcommand"'),
        ("a:b:C", "is not command:Subcommand"),
        ("../x:Y", "is not command:Subcommand"),
        ({"worker.#:Z": {}}, "is not command:Subcommand"),
        ({"service": "Status"}, "did you mean service:Status, without a space?"),
        ({"a:B": {}, "c:D": {}}, "one step per item, not 2"),
        ({"a:B": {"hosts": ["x"]}}, "parameter 'hosts' is set by the core"),
        ({"a:B": {}, "timeout": 0}, "0 is no duration"),
        ({"a:B": {}, "timeot": 1}, "unknown key 'timeot'; did you mean 'timeout'?"),
        ({"a:B": None, "service": "x"}, "indent 'service' further than 'a:B'"),
        ({"a:B": None, "timeot": 1}, "indent 'timeot' further than 'a:B'; did you mean 'timeout'?"),
        ({"a:B": {}, "id": "x"}, "'id' has no meaning for a "),
        ({"a:B": {}, "when": "x"}, "'when' has no meaning for a "),
        ({"a:B": {}, "delay": 1}, "'delay' has no meaning for a "),
        ({"a:B": {}, "verify": "c:D"}, "'verify' has no meaning for a "),
        ({"a:B": {}, "rollback": "c:D"}, "'rollback' has no meaning for a "),
        ({"approval": "ok?"}, "an approval is an item of its own"),
    ],
)
def test_parse_refuses_verify_and_rollback_when_they_are_no_step(key, value, part):
    assert refused_key(key, value, part).path.startswith(f"{HERE}.{key}")
    assert len(problems(build_step({"a:B": {}, key: value}))) == 1


@pytest.mark.parametrize("key", ["retry", "idempotent", "on_unknown"])
def test_parse_refuses_key_when_it_stands_beside_a_verify_step(key):
    value = {"a:B": {}, key: 1}
    refused_key("verify", value, f"'{key}' has no meaning for a verify step; known: timeout, queue_timeout")


def test_parse_refuses_notify_when_it_stands_in_a_verify_step():
    refused_key("verify", {"a:B": {"notify": {"failed": {"irc": ["#a"]}}}}, "a verify step notifies nobody")


@pytest.mark.parametrize("policy", list(OnUnknown))
def test_parse_takes_what_to_do_in_doubt_when_step_can_be_verified(policy):
    assert read(verify="a:Look", on_unknown=str(policy)).on_unknown is policy


def test_parse_prefers_to_verify_when_step_is_idempotent_too():
    assert read(verify="a:Look", idempotent=True).on_unknown is OnUnknown.VERIFY


def test_parse_refuses_to_verify_when_there_is_no_verify_step():
    refused_key("on_unknown", "verify", "there is no 'verify' step here that could tell", "on_unknown")
    rollback = {"a:B": {}, "on_unknown": "verify"}
    refused_key("rollback", rollback, "there is no 'verify' step", "rollback.on_unknown")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("looks good?", Approval(text="looks good?")),
        ({"text": "line 1\nline 2"}, Approval(text="line 1\nline 2")),
        (
            {"text": "ok?", "of": 2, "not_self": True, "expires": "1h"},
            Approval(text="ok?", of=2, is_not_self=True, expires_s=3600.0),
        ),
    ],
)
def test_parse_reads_approval_when_it_is_a_text_or_a_mapping(value, expected):
    (found,) = parse(build_step({"approval": value})).execution[0].steps
    assert found == Step(key="approval", command="", subcommand="", approval=expected)


def test_parse_takes_id_and_when_of_an_approval():
    steps = [{"a:B": {}, "id": "x"}, {"approval": "ok?", "id": "y", "when": "x"}]
    assert parse(build(steps=steps)).execution[0].steps[1] == Step(
        key="approval", command="", subcommand="", approval=Approval(text="ok?"), id="y", when=When(step="x")
    )


def test_parse_leaves_step_alone_when_its_command_is_approval():
    (found,) = parse(build_step({"approval:Foo": {"text": 1}})).execution[0].steps
    assert found == Step(
        key="approval:Foo", command="approval", subcommand="Foo", parameters={"text": 1}, approval=None
    )


@pytest.mark.parametrize(
    ("step", "part"),
    [
        ({"approval": 3}, "an approval, if it is no text, must be a mapping, not 3"),
        ({"approval": None}, "not nothing"),
        ({"approval": ["ok?"]}, "not a list"),
        ({"approval": ""}, "must be a text of 1 to 2000 characters"),
        ({"approval": " \n"}, "must be a text of 1 to 2000 characters"),
        ({"approval": "x" * 2001}, "must be a text of 1 to 2000 characters"),
        ({"approval": {}}, "'text' is missing"),
        ({"approval": {"text": 3}}, "must be text, not 3"),
        ({"approval": {"text": "a", "of": 0}}, "must be a whole number from 1 to 100, not 0"),
        ({"approval": {"text": "a", "of": 101}}, "must be a whole number from 1 to 100, not 101"),
        ({"approval": {"text": "a", "of": True}}, "must be a whole number from 1 to 100, not true"),
        ({"approval": {"text": "a", "of": 1.5}}, "must be a whole number from 1 to 100, not 1.5"),
        ({"approval": {"text": "a", "not_self": "no"}}, "must be true or false, not 'no'"),
        ({"approval": {"text": "a", "expires": "soon"}}, "'soon' is no duration"),
        ({"approval": {"text": "a", "expires": 0}}, "0 is no duration"),
        ({"approval": {"text": "a", "by": "ann"}}, "unknown key 'by'"),
        ({"approval": "ok?", "timeout": 3}, "'timeout' has no meaning for an approval; known: id, when"),
        ({"approval": "ok?", "rollback": "a:B"}, "'rollback' has no meaning for an approval"),
        ({"approval": "ok?", "notify": {}}, "unknown key 'notify'"),
        ({"approval": "ok?", "a:B": {}}, "an approval is an item of its own"),
        ("approval", "is not command:Subcommand"),
    ],
)
def test_parse_refuses_approval_when_it_is_wrong(step, part):
    assert refused(build_step(step), part).path.startswith(HERE)


def test_parse_says_what_to_indent_when_keys_of_an_approval_stand_beside_it():
    text = "group: g\nname: n\nexecution:\n- hosts: [a]\n  steps:\n  - approval:\n    text: ok?\n"
    assert "indent 'text' further than 'approval'" in [one.reason for one in problems(text)][1]


def test_compile_asks_for_values_when_verify_and_rollback_steps_list_them():
    text = build_step(
        {
            "a:B": {"dynamic": ["one"]},
            "verify": {"a:C": {"dynamic": ["two"]}},
            "rollback": {"a:D": {"dynamic": ["three"]}},
        }
    )
    with pytest.raises(PlaybookInvalid, match="dynamic values are missing: one, three, two"):
        compile_plan(parse(text), {})
    plan = compile_plan(parse(text), {"one": 1, "two": 2, "three": 3})
    assert [plan.step(0, role).key for role in (Role.STEP, Role.VERIFY, Role.ROLLBACK)] == [
        "a:B",
        "a:C",
        "a:D",
    ]
