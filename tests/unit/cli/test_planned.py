"""What `plan` says of everything that a playbook and the operator's rules can hold."""

import json
import re

import pytest

from reworker.cli.planned import plan_lines, plan_objects
from reworker.fsm.parsing import parse
from reworker.fsm.plan import compile_plan
from reworker.fsm.playbook import Expectation, Step
from reworker.fsm.rules import PhaseNotice, Rules, TriggerRule

TEXT = """group: web
name: all of it
environment: production
timeout: 1h
execution:
- id: db
  hosts: [db1]
  steps:
  - noop:A: {size: 1}
    rollback: {noop:UnA: {size: 0}}
  - noop:B:
      dynamic: [color]
      notify: {failed: {irc: ['#release']}}
    id: second
    retry: {attempts: 3, backoff: 2s}
    rollback: noop:UnB
- description: web servers
  needs: [db]
  hosts: [web1, web2, web3]
  strategy: {batch: 2, max_failures: 1}
  notify: {started: {irc: ['#release', '#ops']}}
  steps:
  - noop:C:
    when: {step: second, data: {changed: true}}
    delay: 5s
    verify: noop:IsC
    timeout: 2m
  - approval: {text: "looks good?", of: 2, not_self: true, expires: 1h}
- description: apart
  needs: []
  hosts: [app1]
  steps: [noop:D]
"""


def step(key, **more):
    command, _, subcommand = key.partition(":")
    return Step(key=key, command=command, subcommand=subcommand, **more)


RULES = Rules(
    triggers=(
        TriggerRule(step=step("noop:Before", title="look first"), next_command="noop", next_subcommand="D"),
    ),
    checks=(step("noop:Disks", title="disks", expectation=Expectation(body={"ok": True}, is_subset=True)),),
    actions=(step("noop:Report"),),
    notice=PhaseNotice(topic="notify.phases"),
)


def planned(text=TEXT):
    return compile_plan(parse(text), {"color": "red"}, rules=RULES)


@pytest.fixture(scope="module")
def lines():
    return list(plan_lines(planned(), RULES))


def line_of(lines, words):
    (found,) = [line for line in lines if words in line and re.match(r" +\d+ ", line)]
    return found


def test_plan_begins_with_what_concerns_all_of_it(lines):
    assert lines[0] == "web / all of it: 12 steps"
    locks = ["environment:production", "host:app1", "host:db1", *(f"host:web{n}" for n in (1, 2, 3))]
    assert lines[1] == f"locks, all before the first step: {', '.join(locks)}"
    assert "3600 s" in lines[2]
    assert lines[3] == "start and end are told to re/notify.phases"


def test_plan_says_how_each_sequence_is_done(lines):
    assert [line for line in lines[4:] if not line.startswith("  ")] == [
        "pre-deploy checks",
        "sequence 1: db  (id db)",
        "sequence 2: web servers  (after sequence 1: db; 2 hosts at a time; 1 host may fail; "
        "tells started to irc #release/#ops)",
        "sequence 3: apart  (at once)",
        "post-deploy actions",
    ]


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (
            "1  -  noop:Disks",
            '-> re/worker.noop  {}  disks  its reply must contain {"ok": true}  timeout none',
        ),
        (
            "2  db1  noop:A",
            '  {"size": 1}  timeout none  way back: noop:UnA  -> re/worker.noop  {"size": 0}',
        ),
        (
            "3  db1  noop:B",
            "id second  with color  timeout none  tells failed to irc #release  way back: noop:UnB",
        ),
        (
            "3  db1  noop:B",
            "it is tried 3 times in all, 2 s later, then at doubled intervals, then the deployment fails",
        ),
        ("3  db1  noop:B", "and what was done of this is taken back: noop:UnA on db1; if in doubt: ask"),
        ("4  web1  noop:C", 'only if second completed with {"changed": true}  5 s later  timeout 120 s'),
        ("4  web1  noop:C", "its host is left; 2 such hosts fail the deployment, and what was done"),
        (
            "4  web1  noop:C",
            "taken back: noop:UnB on db1, noop:UnA on db1; if in doubt: verify by noop:IsC  -> re/",
        ),
        (
            "5  web1  approval",
            "waits for people  2 people must approve, not who started it, within 3600 s: looks good?",
        ),
        ("10  app1  noop:Before", "by a trigger: look first"),
        ("12  -  noop:Report", "if it fails: the deployment fails; if in doubt: ask"),
    ],
)
def test_plan_says_of_each_step_what_it_does_and_what_follows(lines, step, words):
    assert words in line_of(lines, step)


def test_plan_as_json_says_the_same(lines):
    whole, *steps = plan_objects(planned(), RULES)
    assert json.loads(json.dumps([whole, *steps]))
    assert [one["kind"] for one in whole["sequences"]] == ["check", *["execution"] * 3, "action"]
    assert [one["index"] + 1 for one in steps if one["by_trigger"]] == [10]
    assert steps[2]["rollback"] == "noop:UnB"
    assert [len(steps), whole["notice"]] == [12, "re/notify.phases"]


def test_plan_says_that_nobody_can_be_asked_when_it_is_unattended():
    lines = list(plan_lines(planned(f"unattended: true\n{TEXT}"), RULES))
    assert line_of(lines, "db1  noop:A").endswith("if in doubt: fail, for nobody can be asked")
    assert "nobody can be asked, and the deployment fails" in line_of(lines, "web1  approval")


def test_plan_names_a_few_ways_back_and_counts_the_others():
    hosts = ", ".join(f"h{number}" for number in range(1000))
    text = (
        f"group: g\nname: n\nexecution: [{{hosts: [{hosts}], steps: [{{'noop:A': null, rollback: noop:U}}]}}]"
    )
    last = list(plan_lines(planned(text), RULES))[-3]
    assert "noop:U on h998, noop:U on h997, noop:U on h996, and 996 more" in last
