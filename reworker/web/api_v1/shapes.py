"""What the API shows of deployments: their types, and how they are made from what the core knows."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from reworker.core.recorder import LogLine
from reworker.core.service import AttemptView, DeploymentView, EventView
from reworker.fsm.deployment import Attempt as OpenAttempt
from reworker.fsm.plan import Role
from reworker.fsm.states import AttemptStatus, DeploymentStatus, Stage


class Where(msgspec.Struct, frozen=True):
    """Where and why a deployment failed.

    Args:
        step: key of the step; empty when the deployment as a whole failed.
        host: that the step was for; empty for none.
        attempt: number of the attempt; 0 is none.
        reason: in words.
    """

    step: str
    host: str
    attempt: int
    reason: str


class Question(msgspec.Struct, frozen=True):
    """Something that only a person can bring on.

    Args:
        attempt: its number, for `decide`, `approve` and `refuse`.
        kind: approval waits for consent, decision for somebody who knows what became of an attempt.
        reason: what people are asked.
        approved_by: who has consented so far.
    """

    attempt: int
    kind: str
    reason: str
    approved_by: tuple[str, ...] = ()


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment: one run of a playbook.

    Args:
        id: 24 hexadecimal digits, ordered by time.
        group: of its playbook.
        name: of its playbook.
        environment: where it is done; empty is nowhere in particular.
        status: where it is.
        is_over: nothing more will happen to it.
        stage: the part of its plan that it is at.
        reason: what it waits for, or why it ended so.
        actor: who started it.
        playbook_id: of the stored playbook; null when it was given as text.
        playbook_version: of the stored playbook; null when it is not known.
        is_task: it is a task of a code package.
        resumes: the deployment that it continues.
        steps: of its plan, each counted once per host.
        completed: steps that were done.
        skipped: steps that were passed over.
        failed: attempts that failed.
        last_seq: number of its last event.
        created_at: when it was asked for.
        started_at: when it began.
        updated_at: when it last changed.
        ended_at: when it ended.
        failure: where it failed.
        questions: what waits for people.
        state: all that the machine knows; only with ``include=state``.
    """

    id: str
    group: str
    name: str
    environment: str
    status: DeploymentStatus
    is_over: bool
    stage: Stage
    reason: str
    actor: str
    playbook_id: str | None
    playbook_version: int | None
    is_task: bool
    resumes: str | None
    steps: int
    completed: int
    skipped: int
    failed: int
    last_seq: int
    created_at: datetime
    started_at: datetime | None
    updated_at: datetime
    ended_at: datetime | None
    failure: Where | None = None
    questions: tuple[Question, ...] = ()
    state: dict[str, Any] | None = None


class Event(msgspec.Struct, frozen=True):
    """Something that happened to a deployment.

    Args:
        seq: its number, from 1 without gaps.
        event: what happened, such as ReplyStarted.
        at: when.
        actor: the person or worker that it comes from.
        data: more about it; `attempt` is the number of the attempt that it is about.
        ignored: why it changed nothing; null when it did.
    """

    seq: int
    event: str
    at: datetime
    actor: str
    data: dict[str, Any]
    ignored: str | None


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One dispatch of a step to a worker.

    Args:
        number: within the deployment, from 1.
        id: correlation id of its messages.
        index: of the step in the plan, from 0.
        role: step, verify, rollback or approval.
        step: its key.
        host: that it is for; empty for none.
        status: where it is.
        tries: how often a worker has begun with it.
        domain: where its message went, or goes; empty without one.
        worker: that has it.
        message: what the worker said last.
        percent: how far it is, as the worker says.
        data: what the worker returned.
        created_at: when it was put into the outbox.
        sent_at: when the broker had it.
        started_at: when a worker began.
        ended_at: when it was over.
    """

    number: int
    id: str
    index: int
    role: str
    step: str
    host: str
    status: AttemptStatus
    tries: int
    domain: str
    worker: str
    message: str
    percent: float | None
    data: Any
    created_at: datetime
    sent_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None


class Line(msgspec.Struct, frozen=True):
    """A line of output, as the worker wrote it: it may hold control characters.

    Args:
        no: its number within the deployment, from 1.
        attempt: that it comes from; 0 is reworker itself.
        at: when.
        text: without the end of the line.
    """

    no: int
    attempt: int
    at: datetime
    text: str


def deployment_of(view: DeploymentView, *, has_state: bool = False) -> Deployment:
    """Return a deployment as it is shown; `has_state` adds the machine's snapshot."""
    row, state = view.row, view.state
    return Deployment(
        id=row.id,
        group=row.group,
        name=row.name,
        environment=row.environment,
        status=state.status,
        is_over=view.is_over,
        stage=state.stage,
        reason=state.reason,
        actor=row.actor,
        playbook_id=row.playbook_id,
        playbook_version=row.playbook_version,
        is_task=row.is_task,
        resumes=row.resumes,
        steps=row.step_count,
        completed=state.completed_count,
        skipped=state.skipped_count,
        failed=state.failed_count,
        last_seq=row.last_seq,
        created_at=row.created_at,
        started_at=state.started_at,
        updated_at=row.updated_at,
        ended_at=state.ended_at,
        failure=_failure(view),
        questions=tuple(_question(one) for one in state.attempts if one.is_for_people),
        state=msgspec.to_builtins(state) if has_state else None,
    )


def _failure(view: DeploymentView) -> Where | None:
    found = view.state.failure
    return Where(found.step, found.host, found.attempt, found.reason) if found else None


def _question(attempt: OpenAttempt) -> Question:
    kind = "approval" if attempt.role is Role.APPROVAL else "decision"
    return Question(attempt.number, kind, attempt.reason, attempt.approved_by)


def event_of(view: EventView) -> Event:
    """Return an event as it is shown."""
    return Event(view.seq, view.kind, view.at, view.actor, view.data, view.ignored)


def attempt_of(view: AttemptView) -> Attempt:
    """Return an attempt as it is shown."""
    row = view.row
    return Attempt(
        number=row.number,
        id=row.id,
        index=row.step_index,
        role=row.role,
        step=row.step,
        host=row.host,
        status=AttemptStatus(row.status),
        tries=row.tries,
        domain=row.domain,
        worker=row.worker,
        message=row.message,
        percent=row.percent,
        data=view.data,
        created_at=row.created_at,
        sent_at=row.sent_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
    )


def line_of(line: LogLine) -> Line:
    """Return a line of output as it is shown."""
    return Line(line.no, line.attempt, line.at, line.text)
