"""What a playbook may say, and what is answered when it says something else."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from reworker.fsm.parsing import parse, problems
from reworker.fsm.playbook import OnUnknown, Step
from tests.unit.fsm.playbook_texts import build, build_step, refused

FULL = """\
group: web
name: roll out the shop
params: {color: {enum: [red, blue]}}
unattended: true
execution:
- description: web servers
  id: webs
  hosts: [web1, WEB2.example.com]
  notify: {failed: {irc: ["#ops"]}}
  steps:
  - bigip:OutOfRotation
  - service:restart:
      service: httpd
      depth: {a: [1, no]}
      dynamic: [version]
      notify:
        started: {irc: ["#web"], email: [ops@example.com]}
    timeout: 5m
    queue_timeout: 90
    idempotent: true
    id: restart
  - {"noop:Run": null, on_unknown: fail}
"""


def reasons(text):
    return [found.reason for found in problems(text)]


def test_parse_reads_everything_when_playbook_is_full():
    found = parse(FULL)
    assert (found.group, found.name, found.is_unattended) == ("web", "roll out the shop", True)
    assert found.params == {"color": {"enum": ["red", "blue"]}}
    (sequence,) = found.execution
    assert (sequence.description, sequence.id) == ("web servers", "webs")
    assert sequence.hosts == ("web1", "WEB2.example.com")
    assert sequence.notify == {"failed": {"irc": ("#ops",)}}
    bare, restart, last = sequence.steps
    assert bare == Step(key="bigip:OutOfRotation", command="bigip", subcommand="OutOfRotation")
    assert last == Step(key="noop:Run", command="noop", subcommand="Run", on_unknown=OnUnknown.FAIL)
    assert restart == Step(
        key="service:restart",
        command="service",
        subcommand="restart",
        parameters={"service": "httpd", "depth": {"a": [1, "no"]}},
        notify={"started": {"irc": ("#web",), "email": ("ops@example.com",)}},
        dynamic_names=("version",),
        timeout_s=300.0,
        queue_timeout_s=90.0,
        is_idempotent=True,
        on_unknown=OnUnknown.RETRY,
        id="restart",
    )


def test_parse_gives_the_same_when_playbook_is_json_or_bytes():
    text = build_step({"a:B": {"c": "ü"}})
    as_yaml = "group: g\nname: n\nexecution:\n- description: d\n  hosts: [web1]\n  steps: [{'a:B': {c: ü}}]"
    assert parse(text) == parse(text.encode()) == parse(as_yaml)


@pytest.mark.parametrize("text", ["", "- a", "a", "3", "null"])
def test_parse_refuses_when_top_is_no_mapping(text):
    assert len(problems(text)) == 1
    refused(text, "a playbook must be a mapping" if text else "empty")


def test_problems_gives_all_with_lines_when_there_are_many():
    text = FULL.replace("group:", "gruop:").replace("timeout: 5m", "tiemout: 5m").replace("hosts:", "host:")
    found = problems(text, "shop.yaml")
    assert [(one.line, one.path) for one in found] == [
        (1, ""),
        (1, ""),
        (6, "execution[0]"),
        (8, "execution[0]"),
        (18, "execution[0].steps[1]"),
    ]
    assert {one.source for one in found} == {"shop.yaml"}
    text = "\n".join(one.reason for one in found)
    assert "unknown key 'gruop'; did you mean 'group'?" in text
    assert "'group' is missing" in text
    assert "unknown key 'host'; did you mean 'hosts'?" in text
    assert "unknown key 'tiemout'; did you mean 'timeout'?" in text


def test_problems_gives_the_known_keys_when_nothing_is_near():
    known = "hosts, steps, description, notify, id, strategy, needs, preflight, domain"
    assert reasons(build(xyz=1)) == [f"unknown key 'xyz'; known: {known}"]


def test_problems_is_empty_when_playbook_is_good():
    assert problems(FULL) == []


def test_problems_keeps_what_was_found_when_syntax_breaks_later():
    assert [found.line for found in problems("a: 1\na: 2\nb: [")] == [2, 3]


def test_problems_stops_at_100_when_everything_is_wrong():
    assert len(problems(build(steps=["x"] * 1_000))) == 100


@pytest.mark.parametrize(
    "step",
    [
        "a:b:C",
        ":X",
        "x:",
        ":",
        "x",
        "../x:Y",
        "worker.#:Z",
        "*",
        "*:X",
        "a b:C",
        "a:B\n",
        "é:X",
        "a" * 300 + ":X",
    ],
)
def test_parse_refuses_step_when_name_is_unsafe(step):
    found = refused(build_step(step), "is not command:Subcommand", "execution[0].steps[0]")
    assert len(found.reason) < 200
    if ":" in step:
        refused(build_step({step: {"p": 1}}), "is not command:Subcommand", "execution[0].steps[0]")


@pytest.mark.parametrize("step", ["a:B", "yum-cmd:install", "a_1:frob", "a" * 100 + ":X"])
def test_parse_accepts_step_when_name_is_safe(step):
    assert parse(build_step(step)).execution[0].steps[0].key == step


@pytest.mark.parametrize(
    ("step", "part"),
    [
        (3, "a step must be a mapping, not 3"),
        (None, "not nothing"),
        (["a:B"], "not a list"),
        ({}, 'a step is "command:Subcommand"'),
        ({"timeout": 3}, 'a step is "command:Subcommand"'),
        ({"service": "Restart"}, "did you mean service:Restart, without a space?"),
        ({"service": "not a word"}, 'a step is "command:Subcommand"'),
        ({"a:B": {}, "c:D": {}}, "one step per item, not 2: a:B, c:D"),
        ({"a:B": [1]}, "the parameters of a step must be a mapping, not a list"),
        ({"a:B": {"hosts": ["x"]}}, "parameter 'hosts' is set by the core"),
        ({"a:B": {"command": "x"}}, "parameter 'command' is set by the core"),
        ({"a:B": {"dynamic": "x"}}, "dynamic must be a list"),
        ({"a:B": {"dynamic": [1]}}, "must be text, not 1"),
        ({"a:B": {}, "notify": {}}, "unknown key 'notify'"),
        ({"a:B": {}, "idempotent": "yes"}, "must be true or false, not 'yes'"),
        ({"a:B": {}, "on_unknown": "rety"}, "did you mean 'retry'?"),
        ({"a:B": None, "times": 2}, "indent 'times' further than 'a:B'"),
        ({"a:B": None, "timeout": 2, "times": 2}, "indent 'times' further than 'a:B'"),
        ({"a:B": {}, "on_unknown": True}, "must be text, not true"),
        ({"a:B": {}, "on_unknown": ["retry"]}, "must be text, not a list"),
        ({"a:B": {}, "id": "a b"}, "may hold only letters"),
        ({"a:B": {}, "id": 3}, "must be text"),
    ],
)
def test_parse_refuses_step_when_form_is_wrong(step, part):
    refused(build_step(step), part)


def test_parse_refuses_step_when_alias_is_in_place_of_a_key():
    assert reasons("group: g\nname: n\nexecution: [{hosts: [a], steps: [{? {a: b} : c}]}]")


@pytest.mark.parametrize("value", [[], {}, "web1", None, 3])
@pytest.mark.parametrize("key", ["hosts", "steps"])
def test_parse_refuses_list_when_it_is_empty_or_none(key, value):
    refused(build(**{key: value}), f"{key} must be a list with at least one item", f"execution[0].{key}")


@pytest.mark.parametrize("execution", [[], {}, "x", None, [3], [None]])
def test_parse_refuses_execution_when_it_holds_no_sequence(execution):
    text = json.dumps({"group": "g", "name": "n", "execution": execution})
    assert len(problems(text)) == 1


@pytest.mark.parametrize("key", ["group", "name", "execution"])
def test_parse_names_key_when_it_is_missing(key):
    whole = json.loads(build())
    del whole[key]
    refused(json.dumps(whole), f"'{key}' is missing")


@pytest.mark.parametrize("key", ["hosts", "steps"])
def test_parse_names_key_when_sequence_lacks_it(key):
    whole = json.loads(build())
    del whole["execution"][0][key]
    refused(json.dumps(whole), f"'{key}' is missing", "execution[0]")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("params", 3), ("params", {"a": 3}), ("unattended", "no"), ("unattended", 0)),
        *(("locks", "no"), ("locks", None), ("locks", ["web1"])),
        *(("environment", ""), ("environment", "a\nb"), ("environment", 3), ("environment", ["prod"])),
        *(("timeout", 0), ("timeout", -1), ("timeout", "1h banana"), ("timeout", True), ("timeout", "367d")),
    ],
)
def test_parse_refuses_top_key_when_its_value_is_wrong(key, value):
    whole = {**json.loads(build()), key: value}
    assert problems(json.dumps(whole))[0].path.startswith(key)


@pytest.mark.parametrize(("is_idempotent", "policy"), [(True, OnUnknown.RETRY), (False, OnUnknown.ASK)])
def test_parse_chooses_what_to_do_when_on_unknown_is_not_given(is_idempotent, policy):
    (found,) = parse(build_step({"a:B": {}, "idempotent": is_idempotent})).execution[0].steps
    assert found == replace(found, is_idempotent=is_idempotent, on_unknown=policy)


def test_parse_refuses_when_steps_times_hosts_are_over_the_limit():
    hosts = [f"h{index}" for index in range(1001)]
    found = refused(build(hosts=hosts, steps=["a:B"] * 100), "100100 steps", "execution")
    assert "the limit is 100000; split the playbook" in found.reason
