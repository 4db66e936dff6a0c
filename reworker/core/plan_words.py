"""The steps of a plan in words for people: what they wait for, what follows a failure or a doubt. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from reworker.core.domain_keys import keys_of
from reworker.fsm.domains import NO_DOMAIN
from reworker.fsm.plan import Plan, PlannedStep, Role
from reworker.fsm.playbook import Notify, OnUnknown, SequenceKind, When
from reworker.fsm.rules import Rules
from reworker.topology import names


def message_words(step: PlannedStep) -> str:
    """Return where a step is sent, and with what."""
    keys = " or ".join(keys_of(step.command, step.domains))
    return f"-> {names.EXCHANGE}/{keys}  {json.dumps(dict(step.parameters))}"


def domain_words(domains: Sequence[str]) -> str:
    """Return the domains that are tried for a step, in their order."""
    first, *others = ("no domain" if one == NO_DOMAIN else one for one in domains)
    return ", else ".join((f"domain {first}" if domains[0] != NO_DOMAIN else first, *others))


def conditions(step: PlannedStep, rules: Rules | None) -> Iterator[str]:
    """Yield where a step comes from, and what comes before it."""
    if is_triggered(step, rules):
        yield f"by a trigger{f': {step.title}' if step.title else ''}"
    elif step.title:
        yield step.title
    if step.id:
        yield f"id {step.id}"
    if step.when is not None:
        yield when_words(step.when)
    if step.delay_s:
        yield f"{step.delay_s:g} s later"
    if step.dynamic_names:
        yield f"with {', '.join(step.dynamic_names)}"
    if step.expectation is not None:
        wanted = "contain" if step.expectation.is_subset else "be"
        yield f"its reply must {wanted} {json.dumps(step.expectation.body)}"
    if step.approval is not None:
        yield approval_words(step)


def is_triggered(step: PlannedStep, rules: Rules | None) -> bool:
    """Tell whether a trigger of the operator has put in a step."""
    own = vars(step)
    triggers = rules.triggers if rules else ()
    return any(all(own[name] == value for name, value in vars(one.step).items()) for one in triggers)


def when_words(when: When) -> str:
    """Return on what a step depends."""
    data = f" with {json.dumps(when.data)}" if when.data is not None else ""
    return f"only if {when.step} {'did not complete' if when.is_negated else 'completed'}{data}"


def approval_words(step: PlannedStep) -> str:
    """Return who must approve a step, and what."""
    approval = step.approval
    assert approval is not None
    who = "one person" if approval.of == 1 else f"{approval.of} people"
    other = ", not who started it" if approval.is_not_self else ""
    limit = f", within {approval.expires_s:g} s" if approval.expires_s is not None else ""
    return f"{who} must approve{other}{limit}: {approval.text}"


def failure_words(plan: Plan, step: PlannedStep, back: Sequence[str]) -> str:
    """Return what happens when a step fails; `back` is what was done and would be taken back."""
    if step.approval and plan.is_unattended:
        return "it does, for nobody can be asked, and the deployment fails"
    sequence = plan.sequences[step.sequence_index]
    end = "the deployment fails"
    if sequence.max_failure_count:
        end = f"its host is left; {sequence.max_failure_count + 1} such hosts fail the deployment"
    if back and sequence.kind is SequenceKind.EXECUTION:
        end += f", and what was done of this is taken back: {', '.join(back)}"
    if step.retry is not None:
        then = ", then at doubled intervals" if step.retry.attempts > 2 else ""
        pause = f" {step.retry.backoff_s:g} s later{then},"
        return f"it is tried {step.retry.attempts} times in all,{pause} then {end}"
    return end


def doubt_words(plan: Plan, step: PlannedStep) -> str:
    """Return what is done when nobody knows whether a step took effect."""
    if step.on_unknown is OnUnknown.VERIFY and step.verify is not None:
        verify = plan.step(step.index, Role.VERIFY)
        return f"verify by {step.verify.key}  {message_words(verify)}"
    if step.on_unknown is OnUnknown.ASK and plan.is_unattended:
        return "fail, for nobody can be asked"
    return str(step.on_unknown)


def told_words(notify: Notify) -> str:
    """Return who is told of what."""
    return ", ".join(
        f"{phase} to {transport} {'/'.join(targets)}"
        for phase, transports in notify.items()
        for transport, targets in transports.items()
    )
