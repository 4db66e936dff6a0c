"""What became of a deployment that has ended, read from the database for the one that continues it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import msgspec

from reworker.core import codec
from reworker.core.resumption import Past
from reworker.errors import DeploymentNotFound, NotResumable
from reworker.fsm import ranges
from reworker.fsm.deployment import Deployment
from reworker.fsm.events import Decision
from reworker.fsm.plan import Plan, Role
from reworker.fsm.states import AttemptStatus, DeploymentStatus
from reworker.storage.contract import AttemptRow, DeploymentRow, EventRow, Reader

Row = TypeVar("Row", AttemptRow, EventRow)

#: rows read at once.
PAGE_COUNT = 1000

#: an attempt that ended so did not do its step; one that was cancelled counts when it had begun.
_FAILED = (
    AttemptStatus.FAILED,
    AttemptStatus.TIMED_OUT,
    AttemptStatus.UNROUTABLE,
    AttemptStatus.UNKNOWN,
)


def past_of(reader: Reader, row: DeploymentRow, *, has_start: bool) -> Past:
    """Return what became of a deployment.

    Args:
        reader: of the database.
        row: its row.
        has_start: a person says where to begin.

    Raises:
        NotResumable: it has not ended, or was partly taken back and nobody says where to begin.
    """
    state = codec.decode_snapshot(row.snapshot)
    _require_resumable(row, state, has_start=has_start)
    plan = codec.decode_plan(reader.plan(row.id))
    attempts = [one for one in _attempts(reader, row.id) if one.role != Role.ROLLBACK]
    skipped = frozenset(_skipped(reader, row.id, attempts))
    failed = {one.host for one in attempts if _is_failure(one, state) and one.step_index not in skipped} - {
        ""
    }
    if state.rollback_end >= 0:
        return Past(plan, left_out=state.left_out, failed_hosts=frozenset(failed))
    return Past(
        plan,
        completed=state.completed,
        left_out=state.left_out,
        skipped=skipped,
        failed_hosts=frozenset(failed),
        outcomes=_outcomes(reader, row, plan, attempts),
    )


def _require_resumable(row: DeploymentRow, state: Deployment, *, has_start: bool) -> None:
    if not state.status.is_terminal:
        reason = f"deployment {row.id} is {state.status}, so it is not over: follow it with `reworker watch`"
        raise NotResumable(f"{reason}, or end it with `reworker cancel` first")
    if state.status is DeploymentStatus.COMPLETED and not state.failed_count and not state.left_out:
        raise NotResumable(f"deployment {row.id} is completed: start the playbook anew with `reworker run`")
    is_partly_back = state.rollback_end >= 0 and state.status is not DeploymentStatus.ROLLED_BACK
    if is_partly_back and not has_start:
        reason = f"deployment {row.id} was taken back in part only ({state.status})"
        raise NotResumable(f"{reason}: look at its hosts, then say with --from STEP where to begin")


def _is_failure(attempt: AttemptRow, state: Deployment) -> bool:
    if ranges.contains(state.completed, attempt.step_index):
        return False
    is_cut = attempt.status == AttemptStatus.CANCELLED and attempt.started_at is not None
    return attempt.status in _FAILED or is_cut


def _skipped(reader: Reader, deployment_id: str, attempts: list[AttemptRow]) -> Iterator[int]:
    """Yield the steps that were passed over, by their `when` or because a person said so."""
    yield from (one.step_index for one in attempts if one.status == AttemptStatus.SKIPPED)
    doubts = {one.number: one.step_index for one in attempts if one.status == AttemptStatus.UNKNOWN}
    for event in _events(reader, deployment_id) if doubts else ():
        said = msgspec.json.decode(event.data) if event.kind == "Decided" and not event.ignored else {}
        if said.get("decision") == Decision.SKIP and said["attempt"] in doubts:
            yield doubts[said["attempt"]]


def _outcomes(
    reader: Reader, row: DeploymentRow, plan: Plan, attempts: list[AttemptRow]
) -> dict[tuple[str, str], Any]:
    """Return what the steps with an id returned, here and in the deployments that this one continues."""
    found = _outcomes_of(plan, attempts)
    parent = row.resumes
    while parent is not None and _has_ids(plan):
        try:
            before = reader.deployment(parent)
            plan = codec.decode_plan(reader.plan(parent))
        except DeploymentNotFound:  # it was pruned: what it knew is gone
            break
        found = _outcomes_of(plan, _attempts(reader, parent)) | found
        parent = before.resumes
    return found


def _has_ids(plan: Plan) -> bool:
    return any(step.id for sequence in plan.sequences for step in sequence.steps)


def _outcomes_of(plan: Plan, attempts: Iterator[AttemptRow] | list[AttemptRow]) -> dict[tuple[str, str], Any]:
    found: dict[tuple[str, str], Any] = {}
    for one in attempts:
        number, _, offset = plan.place(one.step_index)
        name = plan.sequences[number].steps[offset].id
        if name and one.status == AttemptStatus.COMPLETED and one.role != Role.ROLLBACK:
            found[name, one.host] = msgspec.json.decode(one.data) if one.role == Role.STEP else None
    return found


def _attempts(reader: Reader, deployment_id: str) -> Iterator[AttemptRow]:
    return _pages(
        lambda last: reader.attempts(deployment_id, after_number=last, limit=PAGE_COUNT),
        lambda row: row.number,
    )


def _events(reader: Reader, deployment_id: str) -> Iterator[EventRow]:
    return _pages(
        lambda last: reader.events(deployment_id, after_seq=last, limit=PAGE_COUNT), lambda row: row.seq
    )


def _pages(read: Callable[[int], list[Row]], number: Callable[[Row], int]) -> Iterator[Row]:
    last = 0
    while page := read(last):
        yield from page
        last = number(page[-1])
