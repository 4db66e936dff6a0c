"""Playbooks of the largest size that is promised."""

from __future__ import annotations

from datetime import UTC, datetime

from reworker.fsm.deployment import Deployment
from reworker.fsm.events import Event, ReplyCompleted, Submitted
from reworker.fsm.machine import reduce
from reworker.fsm.parsing import MAX_PLANNED_STEPS, parse
from reworker.fsm.plan import compile_plan
from reworker.fsm.states import DeploymentStatus

AT = datetime(2026, 1, 1, tzinfo=UTC)
HEAD = "locks: false\ngroup: g\nname: n\nexecution:\n- hosts: [a]\n  steps:\n"


def test_parse_accepts_when_there_are_as_many_steps_as_allowed() -> None:
    found = parse(HEAD + "  - a:B\n" * MAX_PLANNED_STEPS)
    assert len(found.execution[0].steps) == MAX_PLANNED_STEPS


def test_deployment_completes_and_stays_small_when_it_has_10_000_steps() -> None:
    plan = compile_plan(parse(HEAD + "  - a:B\n" * 10_000), {})
    events: list[Event] = [Submitted(at=AT)]
    events += [ReplyCompleted(at=AT, attempt=number) for number in range(1, 10_001)]
    deployment, longest = Deployment(id="d"), 0
    for event in events:
        deployment, _ = reduce(plan, deployment, event)
        longest = max(longest, len(deployment.attempts))
    assert (deployment.status, deployment.completed_count) == (DeploymentStatus.COMPLETED, 10_000)
    assert longest == 1
