"""Hypothesis strategies: plans with everything that a playbook and an operator's rules can ask for."""

from __future__ import annotations

from hypothesis import strategies as st

from reworker.fsm.plan import Plan
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
from reworker.fsm.rules import PhaseNotice

NAMES = {"key": st.just("a:B"), "command": st.just("a"), "subcommand": st.just("B")}
NOTIFY = {phase: {"irc": ("#a",)} for phase in ("started", "completed", "failed")}

retries = st.sampled_from([None, None, Retry(attempts=2), Retry(attempts=3, backoff_s=2.0)])
policies = st.sampled_from([OnUnknown.RETRY, OnUnknown.ASK, OnUnknown.FAIL])
timeouts = st.sampled_from([None, 5.0])
approvals = st.builds(
    Approval,
    text=st.just("well?"),
    of=st.integers(1, 2),
    is_not_self=st.booleans(),
    expires_s=st.sampled_from([None, 60.0]),
)
verifications = st.builds(Step, **NAMES, timeout_s=timeouts)
rollbacks = st.builds(Step, **NAMES, timeout_s=timeouts, retry=retries, on_unknown=policies)
checks = st.builds(
    Step,
    **NAMES,
    expectation=st.sampled_from([None, Expectation(body={"status": "completed"}, is_subset=True)]),
    on_unknown=policies,
)
actions = st.builds(Step, **NAMES, on_unknown=policies)


@st.composite
def steps(draw, name, earlier):
    """Draw a step called `name`; `earlier` are the ids of steps that its `when` may ask for."""
    asks = draw(st.integers(0, 3)) == 0 and earlier
    when = None
    if asks:
        data = draw(st.sampled_from([None, {"x": 1}]))
        when = When(step=draw(st.sampled_from(earlier)), data=data, is_negated=draw(st.booleans()))
    if draw(st.integers(0, 7)) == 0:
        consent = draw(approvals)
        return Step(key="approval", command="", subcommand="", approval=consent, when=when, id=name)
    verify = draw(st.none() | verifications)
    step = st.builds(
        Step,
        **NAMES,
        id=st.just(name),
        when=st.just(when),
        verify=st.just(verify),
        on_unknown=policies if verify is None else st.just(OnUnknown.VERIFY),
        rollback=st.none() | rollbacks,
        retry=retries,
        timeout_s=timeouts,
        delay_s=st.sampled_from([0.0, 0.0, 0.0, 3.0]),
        notify=st.sampled_from([{}, NOTIFY]),
    )
    return draw(step)


@st.composite
def executions(draw):
    """Draw one to three sequences that may need any of those before them."""
    found, names = [], []
    for index in range(draw(st.integers(1, 3))):
        own = []
        for offset in range(draw(st.integers(1, 3))):
            own.append(draw(steps(f"s{index}-{offset}", [*names, *(one.id for one in own)])))
        others = [f"q{other}" for other in range(index)]
        needs = st.none() | st.lists(st.sampled_from(others), unique=True).map(tuple) if others else st.none()
        sequence = st.builds(
            Sequence,
            hosts=st.integers(1, 4).map(lambda count: tuple(f"h{n}" for n in range(count))),
            steps=st.just(tuple(own)),
            id=st.just(f"q{index}"),
            notify=st.sampled_from([{}, NOTIFY]),
            batch_count=st.integers(1, 3),
            max_failure_count=st.integers(0, 2),
            needs=needs,
        )
        found.append(draw(sequence))
        names += [one.id for one in own]
    return found


@st.composite
def plans(draw):
    """Draw a plan as `compile_plan` lays it out."""
    apart = []
    for kind, kinds_steps in ((SequenceKind.CHECK, checks), (SequenceKind.ACTION, actions)):
        own = tuple(draw(st.lists(kinds_steps, max_size=2)))
        apart.append([Sequence(hosts=("",), steps=own, kind=kind)] if own else [])
    return Plan(
        group="g",
        name="n",
        sequences=(*apart[0], *draw(executions()), *apart[1]),
        is_unattended=draw(st.sampled_from([False, False, False, True])),
        locks=draw(st.sampled_from([(), ("host:h0", "host:h1")])),
        timeout_s=draw(st.sampled_from([None, 600.0])),
        notice=draw(st.none() | st.just(PhaseNotice(topic="t"))),
    )
