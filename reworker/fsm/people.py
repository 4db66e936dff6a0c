"""What people say about an attempt: consent to go on, and decisions where nobody knows the outcome."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from reworker.fsm import flow, hosts
from reworker.fsm.attempts import complete, fail
from reworker.fsm.deployment import Attempt
from reworker.fsm.events import Approved, Decided, Decision
from reworker.fsm.plan import Role
from reworker.fsm.states import AttemptStatus
from reworker.fsm.turn import Turn, event_text


def approve(turn: Turn, event: Approved) -> str:
    """Take in a person's consent; return why it is ignored, or an empty text."""
    attempt = turn.deployment.attempt(event.attempt)
    approval = turn.step_of(attempt).approval if attempt else None
    if attempt is None or approval is None:
        return f"attempt {event.attempt} waits for no approval"
    if event.actor in attempt.approved_by:
        return f"{event.actor or 'this person'} has approved it already"
    if approval.is_not_self and event.actor == turn.deployment.actor:
        return f"it must be approved by another person than {event.actor or 'the one'} who started it"
    people = (*attempt.approved_by, event.actor)
    missing = approval.of - len(people)
    text = f"approved by {', '.join(one or 'a person' for one in people)}"
    if missing > 0:
        turn.put(replace(attempt, approved_by=people))
        turn.record(attempt, AttemptStatus.WAITING, message=f"{text}; {missing} more needed")
        return ""
    turn.record(attempt, AttemptStatus.COMPLETED, message=text)
    complete(turn, turn.stop_timers(attempt), event)
    flow.go_on(turn)
    return ""


def decide(turn: Turn, event: Decided) -> str:
    """Carry out a person's decision; return why it is ignored, or an empty text."""
    attempt = turn.deployment.attempt(event.attempt)
    if attempt is None or attempt.status is not AttemptStatus.UNKNOWN:
        return f"attempt {event.attempt} waits for no decision"
    if event.decision not in _DECISIONS:
        return f"{event.decision!r} is no decision: {', '.join(Decision)}"
    turn.call_back(attempt, event_text(event) or f"decided: {event.decision}")
    _DECISIONS[event.decision](turn, attempt, event)
    flow.go_on(turn)
    return ""


def _retry(turn: Turn, attempt: Attempt, event: Decided) -> None:
    """Do the step again, be it itself or its verification that is in doubt."""
    track = hosts.track_of(turn, attempt)
    role = Role.STEP if track.role is Role.VERIFY else track.role
    turn.close(attempt)
    turn.move_track(track, replace(track, role=role, is_doubtful=True))


def _skip(turn: Turn, attempt: Attempt, event: Decided) -> None:
    """Go on without the step; it may have taken effect, so that a rollback still takes it back."""
    turn.close(attempt)
    if attempt.role is Role.ROLLBACK:
        turn.change(tracks=())
        return
    turn.doubt(attempt.step_index)
    turn.change(skipped_count=turn.deployment.skipped_count + 1)
    hosts.pass_on(turn, hosts.track_of(turn, attempt))


def _give_up(turn: Turn, attempt: Attempt, event: Decided) -> None:
    fail(turn, attempt, event_text(event) or f"decided by {event.actor or 'a person'}", is_doubtful=True)


def _accept(turn: Turn, attempt: Attempt, event: Decided) -> None:
    turn.record(attempt, AttemptStatus.COMPLETED, event, message=event_text(event))
    complete(turn, attempt, event)


_DECISIONS: dict[Decision, Callable[[Turn, Attempt, Decided], None]] = {
    Decision.RETRY: _retry,
    Decision.SKIP: _skip,
    Decision.FAIL: _give_up,
    Decision.COMPLETE: _accept,
}
