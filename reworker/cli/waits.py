"""What a deployment waits for, and what to type next, in lines for people."""

from __future__ import annotations

import os
from collections.abc import Iterator

from reworker.cli.options import DEFAULT_DB
from reworker.core.service import DeploymentView
from reworker.fsm.deployment import Attempt
from reworker.fsm.plan import Plan, Role
from reworker.fsm.states import AttemptStatus, DeploymentStatus
from reworker.logs import escaped

#: attempts that are told of one by one.
SHOWN_COUNT = 5


def db_words(db: str) -> str:
    """Return the option that names a database, with a space before it; empty for the one meant without it.

    It has no password: what is printed ends up in the logs of CI systems.
    """
    if db.startswith("http"):
        return "" if db == os.environ.get("REWORKER_SERVER") else f" --server {db}"
    if db == (os.environ.get("REWORKER_DB") or DEFAULT_DB):
        return ""
    # not above: who asks a server of ours needs no database library
    from reworker.storage.server_url import is_server, masked_url

    return f" --db {masked_url(db) if is_server(db) else db}"


def waits(view: DeploymentView, plan: Plan, db: str) -> list[str]:
    """Return lines that say what a deployment waits for, each with the command that ends the wait."""
    return [escaped(line) for line in _waits(view, plan, db_words(db))]


def _waits(view: DeploymentView, plan: Plan, option: str) -> Iterator[str]:
    state, own_id = view.state, view.row.id
    if state.status is DeploymentStatus.QUEUED and state.reason:
        yield f"it {state.reason}; to withdraw it: reworker cancel {own_id}{option}"
    if state.status is DeploymentStatus.PAUSED:
        yield f"it is paused; to go on: reworker resume {own_id}{option}"
    if state.status is DeploymentStatus.CANCELLING:
        yield from (_last_word(attempt, plan) for attempt in state.attempts[:SHOWN_COUNT])
    asking = [attempt for attempt in state.attempts if attempt.is_for_people]
    for attempt in asking[:SHOWN_COUNT]:
        yield from _question(attempt, plan, own_id, option)
    if len(asking) > SHOWN_COUNT:
        yield f"{len(asking) - SHOWN_COUNT} more wait for people: reworker show {own_id}{option}"
    if view.is_over:
        yield from _way_on(view, option)


def _last_word(attempt: Attempt, plan: Plan) -> str:
    step = plan.step(attempt.step_index, attempt.role)
    what = f"{step.key}{place(step.host)}"
    if attempt.status is AttemptStatus.SENT:
        limit = f"{step.queue_timeout_s:g} s after it was sent"
        return f"{what} lies in a queue: the cancel ends when a worker refuses it, at the latest {limit}"
    return f"{what}: its worker was told to stop"


def _question(attempt: Attempt, plan: Plan, own_id: str, option: str) -> Iterator[str]:
    step = plan.step(attempt.step_index, attempt.role)
    where, number = place(step.host), attempt.number
    if attempt.status is AttemptStatus.UNKNOWN:
        what = {Role.VERIFY: "verify ", Role.ROLLBACK: "rollback "}.get(attempt.role, "")
        reason = f": {attempt.reason}" if attempt.reason else ""
        yield f"attempt {number} waits for a decision: {what}{step.key}{where}{reason}"
        yield f"decide: reworker decide {own_id} {number} retry|skip|fail|complete --reason WHY{option}"
    elif step.approval is not None:
        approval = step.approval
        given = f", approved by {', '.join(attempt.approved_by)}" if attempt.approved_by else ""
        needed = f" ({approval.of} people{given})" if approval.of > 1 else ""
        other = "; not by who started it" if approval.is_not_self else ""
        yield f"attempt {number} waits for an approval{where}: {approval.text}{needed}{other}"
        yield f"approve: reworker approve {own_id} {number}{option}"
        yield f"refuse: reworker refuse {own_id} {number}{option}"


def place(host: str) -> str:
    """Return ``on <host>`` with a space before it; empty without a host."""
    return f" on {host}" if host else ""


def counted(count: int, noun: str) -> str:
    """Return a number with its noun: ``1 step``, ``2 steps``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _way_on(view: DeploymentView, option: str) -> Iterator[str]:
    """Yield how to go on with a deployment that did not do everything."""
    state, own_id = view.state, view.row.id
    is_whole = state.completed_count + state.skipped_count >= view.row.step_count and not state.failure
    if state.status is DeploymentStatus.COMPLETED:
        if not is_whole and state.failed_count:
            yield f"to go on where it failed: reworker resume {own_id} --hosts failed{option}"
        return
    start = " --from STEP" if state.rollback_failure else ""
    yield f"to go on: reworker resume {own_id}{start}{option}"
