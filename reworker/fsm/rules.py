"""What an operator adds to every playbook: triggers, pre-deploy checks, post-deploy actions, phase notices.

Frozen into the plan when a deployment is submitted; `core.rules` reads them from the settings files.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from reworker.fsm.playbook import Step


@dataclass(frozen=True, kw_only=True)
class TriggerRule:
    """Puts `step` directly before each step of this command and subcommand; an empty one is any."""

    step: Step
    next_command: str = ""
    next_subcommand: str = ""
    description: str = ""

    def precedes(self, step: Step) -> bool:
        """Tell whether the trigger's step goes before this one."""
        return (
            not step.approval
            and self.next_command in ("", step.command)
            and self.next_subcommand in ("", step.subcommand)
        )


@dataclass(frozen=True, kw_only=True)
class PhaseNotice:
    """Tells of the start and the end of every deployment.

    Args:
        topic: routing key on the exchange of steps.
        targets: whom to tell.
        url: with one ``%s`` for the deployment's id, or empty.
    """

    topic: str
    targets: tuple[str, ...] = ()
    url: str = ""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """All of it; `checks` and `actions` are done without a host, in this order.

    `step_timeout_s` is for steps that have no timeout of their own; None lets them run for ever.
    """

    triggers: tuple[TriggerRule, ...] = ()
    checks: tuple[Step, ...] = ()
    actions: tuple[Step, ...] = ()
    notice: PhaseNotice | None = None
    step_timeout_s: float | None = None


def with_triggers(steps: Iterable[Step], triggers: Iterable[TriggerRule]) -> tuple[Step, ...]:
    """Return the steps with those of the triggers put in.

    Triggers apply in order, each to the list the one before has left, so that a later trigger can match an
    earlier one's step, but none its own.
    """
    found = tuple(steps)
    for trigger in triggers:
        found = tuple(
            one for step in found for one in ((trigger.step, step) if trigger.precedes(step) else (step,))
        )
    return found


def with_timeout(steps: tuple[Step, ...], timeout_s: float | None) -> tuple[Step, ...]:
    """Return the steps; those that might run for ever get this timeout, unless it is None."""
    return steps if timeout_s is None else tuple(_limited(step, timeout_s) for step in steps)


def _limited(step: Step, timeout_s: float) -> Step:
    if step.approval:
        return step
    return replace(
        step,
        timeout_s=timeout_s if step.timeout_s is None else step.timeout_s,
        verify=step.verify and _limited(step.verify, timeout_s),
        rollback=step.rollback and _limited(step.rollback, timeout_s),
    )
