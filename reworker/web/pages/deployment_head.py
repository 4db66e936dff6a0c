"""What stands above everything else about a deployment: how it is, why, when, and what it waits for. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from statistics import median
from typing import Any

import msgspec

from reworker.core.plan_words import domain_words
from reworker.core.service import DeploymentView
from reworker.fsm.deployment import Attempt, Deployment
from reworker.fsm.domains import EVERY_COMMAND, ByCommand
from reworker.fsm.plan import Plan, Role
from reworker.fsm.states import AttemptStatus, DeploymentStatus
from reworker.logs import masked

#: waits that are told of one by one.
WAIT_COUNT = 5
#: seconds without any event after which steps in a queue are told of.
UNTAKEN_S = 30.0

_S = DeploymentStatus
#: status -> its words as a headline, and its sign.
HEADLINES: dict[DeploymentStatus, tuple[str, str]] = {
    _S.QUEUED: ("Queued", "…"),
    _S.RUNNING: ("Running", "▶"),
    _S.PAUSED: ("Paused", "‖"),
    _S.WAITING: ("Waits for people", "?"),
    _S.ROLLING_BACK: ("Failed, rolling back", "↺"),
    _S.CANCELLING: ("Cancelling", "■"),
    _S.COMPLETED: ("Completed", "✓"),
    _S.FAILED: ("Failed", "✗"),
    _S.ROLLED_BACK: ("Failed, rolled back", "↶"),
    _S.ROLLBACK_FAILED: ("Failed, and the rollback failed too", "✗"),
    _S.CANCELLED: ("Cancelled", "■"),
}


class Wait(msgspec.Struct, frozen=True):
    """Something a deployment waits for: in words, and the actions that end the wait.

    `attempt` is the number of the attempt it is about; 0 is none.
    """

    text: str
    actions: tuple[str, ...] = ()
    attempt: int = 0
    detail: str = ""
    link: str = ""


class Progress(msgspec.Struct, frozen=True):
    """How far a deployment is, in steps."""

    total: int
    completed: int
    failed: int
    skipped: int
    at_work: int


class Expectation(msgspec.Struct, frozen=True):
    """When it should end, by earlier runs: `usual_s` is the median of `run_count` of them."""

    usual_s: float
    run_count: int
    end_at: datetime

    def is_late(self, now: datetime) -> bool:
        """Tell whether it takes longer than it usually does."""
        return now > self.end_at


def headline(status: DeploymentStatus) -> tuple[str, str]:
    """Return the words of a status and its sign."""
    return HEADLINES[status]


def progress(view: DeploymentView) -> Progress:
    """Return how far a deployment is."""
    state = view.state
    return Progress(
        total=view.row.step_count,
        completed=state.completed_count,
        failed=state.failed_count,
        skipped=state.skipped_count,
        at_work=sum(not one.is_for_people for one in state.attempts),
    )


def expectation(state: Deployment, earlier: Iterable[DeploymentView]) -> Expectation | None:
    """Return when a running deployment should end; None when nothing can be said."""
    durations = [
        (one.state.ended_at - one.state.started_at).total_seconds()
        for one in earlier
        if one.state.status is _S.COMPLETED and one.state.started_at and one.state.ended_at
    ]
    if not durations or state.started_at is None or state.status.is_terminal:
        return None
    usual_s = median(durations)
    return Expectation(usual_s, len(durations), state.started_at + timedelta(seconds=usual_s))


def values_words(dynamic: Mapping[str, Any]) -> str:
    """Return the values that a deployment was started with, in a line; secrets are masked."""
    shown = masked("", dict(dynamic))
    plain = {
        name: value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
        for name, value in shown.items()
    }
    return ", ".join(f"{name} {value}" for name, value in plain.items())


def domains_words(by_command: ByCommand) -> str:
    """Return the domains that were given for this deployment alone, in a line."""
    parts = []
    for command, names in by_command.items():
        whose = "" if command == EVERY_COMMAND else f"{command}: "
        parts.append(f"{whose}{domain_words(names)}")
    return "; ".join(parts)


def waits(view: DeploymentView, plan: Plan, now: datetime | None = None) -> tuple[list[Wait], int]:
    """Return what a deployment waits for, the first few of it, and how many more there are.

    Args:
        view: the deployment.
        plan: its plan.
        now: the time, to tell of steps that no worker takes; None tells of none.
    """
    asking = [one for one in view.state.attempts if one.is_for_people]
    found = [*_own_waits(view), *_last_words(view.state, plan)]
    if now is not None and (now - view.row.updated_at).total_seconds() >= UNTAKEN_S:
        found += _untaken(view.state, plan)
    found += [_question(one, plan) for one in asking[:WAIT_COUNT]]
    return found, max(len(asking) - WAIT_COUNT, 0)


def _own_waits(view: DeploymentView) -> Iterator[Wait]:
    state = view.state
    if state.status is _S.QUEUED:
        reason = state.reason or "waits for a core that takes it up"
        link = next((f"/deployments/{word}" for word in reason.split() if _is_other(word, view)), "")
        yield Wait(f"It {reason}.", ("cancel",), link=link)
    if state.status is _S.PAUSED:
        yield Wait("It is paused: nothing new is sent until somebody resumes it.", ("resume",))


def _untaken(state: Deployment, plan: Plan) -> Iterator[Wait]:
    """Yield steps that lie in a queue while nothing else happens."""
    if state.status not in (_S.RUNNING, _S.WAITING, _S.ROLLING_BACK):
        return
    for attempt in [one for one in state.attempts if one.status is AttemptStatus.SENT][:WAIT_COUNT]:
        step = plan.step(attempt.step_index, attempt.role)
        where = f" of domain {attempt.domain}" if attempt.domain else ""
        text = f"{step.key}{place(step.host)} lies in its queue{where}, and no worker has taken it yet."
        detail = f"Does one run, and is it free? The step waits for {step.queue_timeout_s:g} s at most."
        yield Wait(text, attempt=attempt.number, detail=detail)


def _is_other(word: str, view: DeploymentView) -> bool:
    is_hex = len(word) == len(view.row.id) and not word.strip("0123456789abcdef")
    return is_hex and word != view.row.id


def _last_words(state: Deployment, plan: Plan) -> Iterator[Wait]:
    """Yield what a cancel waits for."""
    for attempt in state.attempts[:WAIT_COUNT] if state.status is _S.CANCELLING else ():
        step = plan.step(attempt.step_index, attempt.role)
        what = f"{step.key}{place(step.host)}"
        if attempt.status is AttemptStatus.SENT:
            limit = f"{step.queue_timeout_s:g} s after it was sent"
            text = f"{what} lies in a queue; the cancel ends when a worker refuses it, at the latest {limit}."
        else:
            text = f"{what}: its worker was told to stop."
        yield Wait(text, attempt=attempt.number)


def _question(attempt: Attempt, plan: Plan) -> Wait:
    step = plan.step(attempt.step_index, attempt.role)
    where = place(step.host)
    if attempt.status is AttemptStatus.UNKNOWN:
        what = {Role.VERIFY: "the check of ", Role.ROLLBACK: "the rollback of "}.get(attempt.role, "")
        text = f"Nobody knows whether {what}{step.key}{where} took effect. Look there, then decide."
        return Wait(text, ("decide",), attempt.number, attempt.reason)
    approval = step.approval
    assert approval is not None, "only approvals and doubts are for people"
    parts = [f"{len(attempt.approved_by)} of {approval.of} have approved"] if approval.of > 1 else []
    parts += [f"approved by {', '.join(attempt.approved_by)}"] if attempt.approved_by else []
    parts += ["not by who started it"] if approval.is_not_self else []
    text = f"Approval needed{where}: {approval.text}"
    return Wait(text, ("approve", "refuse"), attempt.number, "; ".join(parts))


def place(host: str) -> str:
    """Return ``on <host>`` with a space before it; empty without a host."""
    return f" on {host}" if host else ""


def usual_runs(views: Sequence[DeploymentView], own_id: str) -> list[DeploymentView]:
    """Return those deployments of a playbook that say how long it takes: earlier ones that completed."""
    return [one for one in views if one.row.id < own_id and one.state.status is _S.COMPLETED]
