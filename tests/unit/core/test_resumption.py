"""However a chain of deployments fails and goes on, each step is done once on each host, in its order."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reworker.core.resumption import Past, Scope, resumption
from reworker.errors import NotResumable
from reworker.fsm.commands import DispatchStep, RequestLocks
from reworker.fsm.deployment import Deployment
from reworker.fsm.events import DispatchConfirmed, Event, LocksGranted, ReplyCompleted, ReplyFailed, Submitted
from reworker.fsm.machine import reduce
from reworker.fsm.parsing import parse
from reworker.fsm.plan import Plan, compile_plan

AT = datetime(2026, 1, 1, tzinfo=UTC)


def plan_of(sequences: list[tuple[int, int, int]], edit: int = 0) -> Plan:
    """Return a plan of (hosts, steps, batch) per sequence; each edit adds one behind them."""
    text = ["group: g", "name: n", "execution:"]
    for number, (host_count, step_count, batch) in enumerate(sequences):
        hosts = ", ".join(f"h{number}x{host}" for host in range(host_count))
        steps = ", ".join(f"'noop:S{step}'" for step in range(step_count))
        text.append(f"- {{id: s{number}, hosts: [{hosts}], strategy: {{batch: {batch}}}, steps: [{steps}]}}")
    for number in range(edit):
        text.append(f"- {{id: new{number}, hosts: [new{number}], steps: ['noop:S0', 'noop:S1']}}")
    return compile_plan(parse("\n".join(text)), {})


def run(
    plan: Plan, submitted: Submitted, is_good: Callable[[str, str], bool]
) -> tuple[Deployment, list[tuple[str, str]]]:
    """Run a deployment to its end; return it, and what was done in which order."""
    deployment, done = Deployment(id="d"), []
    waiting: list[Event] = [submitted]
    while waiting:
        deployment, commands = reduce(plan, deployment, waiting.pop(0))
        if any(isinstance(command, RequestLocks) for command in commands):
            waiting.append(LocksGranted(at=AT, fence=1))
        for command in commands:
            if not isinstance(command, DispatchStep):
                continue
            step = plan.step(command.step_index)
            waiting.append(DispatchConfirmed(at=AT, attempt=command.attempt))
            if is_good(step.host, step.key):
                done.append((step.host, step.key))
                waiting.append(ReplyCompleted(at=AT, attempt=command.attempt))
            else:
                waiting.append(ReplyFailed(at=AT, attempt=command.attempt))
    return deployment, done


@settings(max_examples=settings.default.max_examples * 3 // 5, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3)), min_size=1, max_size=3),
    st.data(),
)
def test_every_step_is_done_once_and_in_order_however_often_a_deployment_fails(
    sequences: list[tuple[int, int, int]], data: st.DataObject
) -> None:
    plan = plan_of(sequences)
    begun, done, edit = Submitted(at=AT), [], 0
    for _ in range(30):
        deployment, new = run(plan, begun, lambda host, key: data.draw(st.integers(0, 4)) > 0)
        done += new
        if deployment.status == "completed":
            break
        past = Past(plan, completed=deployment.completed, left_out=deployment.left_out)
        edit += data.draw(st.booleans())
        plan = plan_of(sequences, edit)
        found = resumption(past, plan, Scope(), "d")
        begun = Submitted(at=AT, done=found.done, left_out=found.left_out, facts=found.facts)
    else:
        return
    expected = {(step.host, step.key) for step in plan.steps()}
    assert len(done) == len(expected)
    assert set(done) == expected
    for host in {step.host for step in plan.steps()}:
        keys = [key for where, key in done if where == host]
        assert keys == sorted(keys)


def test_ten_thousand_steps_are_passed_over_when_the_playbook_was_edited_behind_them() -> None:
    before, after = plan_of([(1000, 10, 1)]), plan_of([(1000, 10, 1)], edit=1)
    found = resumption(Past(before, completed=((0, 9990),)), after, Scope())
    assert found.done == ((0, 9990),)


def test_nothing_counts_as_done_when_only_the_place_is_the_same() -> None:
    before = plan_of([(2, 2, 1)])
    after = compile_plan(
        parse("group: g\nname: n\nexecution: [{id: other, hosts: [x, y], steps: ['noop:S0', 'noop:S1']}]"), {}
    )
    found = resumption(Past(before, completed=((0, 3),)), after, Scope())
    assert (found.done, found.left_out) == ((), ())


def test_step_that_is_gone_is_an_error_when_it_was_done() -> None:
    with pytest.raises(NotResumable, match=r"host h0x0: step 2, noop:S1, was done"):
        resumption(Past(plan_of([(1, 3, 1)]), completed=((0, 2),)), plan_of([(1, 1, 1)], edit=1), Scope())
