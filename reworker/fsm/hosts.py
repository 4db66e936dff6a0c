"""Hosts at work: which begin, which step each comes to next, what a failure on one means for its sequence.

A host's way through a sequence is a track. Hosts begin in batches, the next when all of one have ended.
"""

from __future__ import annotations

from reworker.fsm import conditions, ranges
from reworker.fsm.changing import changed
from reworker.fsm.commands import TimerKind
from reworker.fsm.deployment import MAX_TRACKS, Attempt, Failure, SequenceState, Track
from reworker.fsm.plan import PlannedStep, Role
from reworker.fsm.playbook import Approval
from reworker.fsm.states import AttemptStatus, DeploymentStatus, Stage
from reworker.fsm.turn import REASON_CHARACTERS, Turn


def advance(turn: Turn) -> bool:
    """Dispatch what is ready, and let further hosts begin; return whether there may be more to do."""
    dispatch(turn)
    return turn.is_winding_down() or _open(turn)


def dispatch(turn: Turn) -> None:
    """Dispatch what is ready on every host, unless the deployment is paused."""
    now = turn.deployment
    if now.status is DeploymentStatus.PAUSED:
        return
    busy = {attempt.step_index for attempt in now.attempts}
    for attempt in now.attempts:
        if attempt.status is AttemptStatus.WAITING and not attempt.timers and not attempt.is_for_people:
            turn.dispatch(attempt, track_of(turn, attempt))
    for track in now.tracks:
        if track.index not in busy and not turn.is_winding_down():
            _start(turn, track)


def track_of(turn: Turn, attempt: Attempt) -> Track:
    """Return the track an attempt belongs to; a new one when it has left its track behind."""
    return turn.deployment.track(attempt.step_index) or Track(index=attempt.step_index, tries=1)


def _start(turn: Turn, track: Track) -> None:
    """Begin a track's step, passing over those whose condition does not hold."""
    current: Track | None = track
    while current is not None:
        step = turn.step(current.index, current.role)
        if step.when is None or current.tries or conditions.holds(turn, step, step.when):
            _attempt(turn, current, step)
            return
        turn.skip(current, conditions.text_of(step.when))
        current = pass_on(turn, current)


def _attempt(turn: Turn, track: Track, step: PlannedStep) -> None:
    if track.role is Role.VERIFY:
        turn.open(track, track.role)
        return
    tried = changed(track, tries=track.tries + 1)
    turn.move_track(track, tried)
    if step.approval is not None:
        _ask(turn, tried, step, step.approval)
    elif step.delay_s and tried.tries == 1:
        wait(turn, tried, step.delay_s)
    else:
        turn.open(tried, track.role)


def _ask(turn: Turn, track: Track, step: PlannedStep, approval: Approval) -> None:
    """Wait for people's consent; where nobody can be asked, that is a failure."""
    text = f"approval: {approval.text}"[:REASON_CHARACTERS]
    attempt = turn.open(track, Role.APPROVAL, status=AttemptStatus.WAITING, reason=text)
    if turn.deployment.is_unattended:
        reason = "it needs an approval, and the deployment is unattended"
        turn.record(attempt, AttemptStatus.FAILED, message=reason)
        fail(turn, attempt, reason, is_doubtful=False)
        return
    turn.notify_step(step, "started", text)
    if approval.expires_s is not None:
        turn.start_timer(attempt, TimerKind.APPROVAL, approval.expires_s)


def wait(turn: Turn, track: Track, delay_s: float) -> None:
    """Open the next attempt of a track, to be dispatched after a delay."""
    attempt = turn.open(track, track.role, status=AttemptStatus.WAITING)
    turn.start_timer(attempt, TimerKind.DELAY, delay_s)


def pass_on(turn: Turn, track: Track) -> Track | None:
    """Send a track to the host's next step that is to be done; None when there is none, which ends it."""
    number, _, offset = turn.plan.place(track.index)
    left = range(track.index + 1, track.index - offset + len(turn.plan.sequences[number].steps))
    index = _first_open(turn, left)
    if index is None:
        _leave(turn, track)
        return None
    after = Track(index=index)
    turn.move_track(track, after)
    return after


def _leave(turn: Turn, track: Track) -> None:
    """End a host's way through a sequence."""
    number, host_index, _ = turn.plan.place(track.index)
    turn.move_track(track, None)
    conditions.forget(turn, number, host_index)


def _first_open(turn: Turn, indexes: range) -> int | None:
    """Return the first of these steps that is neither done nor to be left out, or None."""
    done, left_out = turn.deployment.completed, turn.deployment.left_out
    for index in indexes:
        if not ranges.contains(done, index) and not ranges.contains(left_out, index):
            return index
    return None


def _open(turn: Turn) -> bool:
    """Let further hosts and sequences begin; return whether anything changed."""
    now = turn.deployment
    busy = [turn.plan.place(track.index)[0] for track in now.tracks]
    changes = [_open_hosts(turn, state, busy.count(state.index)) for state in now.sequences]
    return any(changes) or _open_sequences(turn)


def _room(turn: Turn) -> int:
    """Return how many more hosts may begin."""
    is_paused = turn.deployment.status is DeploymentStatus.PAUSED
    return 0 if is_paused else MAX_TRACKS - len(turn.deployment.tracks)


def _open_sequences(turn: Turn) -> bool:
    """Let sequences begin that wait for no other any more, but no more than there is room for."""
    now = turn.deployment
    if not now.ready or not _room(turn):
        return False
    start, end = now.ready[0]
    end = min(end, start + _room(turn))
    turn.change(
        ready=ranges.without(now.ready, ((start, end),)),
        sequences=(*now.sequences, *(SequenceState(index=index) for index in range(start, end))),
    )
    return True


def _open_hosts(turn: Turn, state: SequenceState, busy_count: int) -> bool:
    """Let further hosts of a sequence begin, or end it; return whether anything changed."""
    sequence, before = turn.plan.sequences[state.index], state
    size, first = len(sequence.steps), turn.plan.first_index(state.index)
    while state.next_host < len(sequence.hosts):
        if state.next_host == state.batch_end:
            if busy_count:
                break
            batch_end = min(state.next_host + sequence.batch_count, len(sequence.hosts))
            state = changed(state, batch_end=batch_end)
        start = first + state.next_host * size
        index = _first_open(turn, range(start, start + size))
        if index is not None:
            if not _room(turn):
                break
            state = _open_host(turn, state, index)
            busy_count += 1
        state = changed(state, next_host=state.next_host + 1)
    if state.next_host == len(sequence.hosts) and not busy_count:
        _end_sequence(turn, state)
        return True
    if state is before:
        return False
    turn.put_sequence(state)
    return True


def _open_host(turn: Turn, state: SequenceState, index: int) -> SequenceState:
    if not state.is_begun:
        turn.notify_sequence(state.index, "started")
    turn.change(tracks=(*turn.deployment.tracks, Track(index=index)))
    return changed(state, is_begun=True)


def _end_sequence(turn: Turn, state: SequenceState) -> None:
    """End a sequence; those that waited only for it may begin."""
    now, plan = turn.deployment, turn.plan
    ended, ready = ranges.added(now.ended, state.index), now.ready
    for index in plan.dependents[state.index]:
        if all(ranges.contains(ended, needed) for needed in plan.needs[index]):
            ready = ranges.added(ready, index)
    others = tuple(one for one in now.sequences if one.index != state.index)
    turn.change(ended=ended, ready=ready, sequences=others)
    if state.is_begun:
        turn.notify_sequence(state.index, "completed")


def fail(turn: Turn, attempt: Attempt, reason: str, *, is_doubtful: bool) -> None:
    """End the way of a host on which a step failed; one host too many fails the deployment.

    Args:
        turn: the turn.
        attempt: at that step, or at verifying it.
        reason: what is said of it.
        is_doubtful: the step may have taken effect all the same.
    """
    step = turn.step(attempt.step_index)
    turn.close(attempt, AttemptStatus.FAILED)
    turn.notify_step(step, "failed", reason)
    if is_doubtful:
        turn.doubt(step.index)
    _leave(turn, track_of(turn, attempt))
    count = _count_failure(turn, step.sequence_index)
    now = turn.deployment
    is_over = now.is_failing and now.stage is not Stage.ACTIONS
    if not is_over and count > turn.plan.sequences[step.sequence_index].max_failure_count:
        _give_up(turn, attempt, step, reason)


def _count_failure(turn: Turn, number: int) -> int:
    """Count one more host of a sequence that failed; return how many there are."""
    states = [one for one in turn.deployment.sequences if one.index == number]
    for state in states:
        turn.put_sequence(changed(state, failed_host_count=state.failed_host_count + 1))
    return 1 + sum(state.failed_host_count for state in states)


def _give_up(turn: Turn, attempt: Attempt, step: PlannedStep, reason: str) -> None:
    """Fail the deployment; the first failure is the one that is told."""
    failure = Failure(
        step_index=step.index, host=step.host, step=step.key, attempt=attempt.number, reason=reason
    )
    where = f" on {step.host}" if step.host else ""
    turn.notify_sequence(step.sequence_index, "failed", f"{step.key}{where}: {reason}")
    turn.change(failure=turn.deployment.failure or failure)
    if turn.deployment.stage is Stage.ACTIONS:
        turn.change(tracks=(), sequences=(), ready=())


def abandon(turn: Turn, track: Track) -> None:
    """Leave a track on which nothing is under way; a step that was to be tried again has failed."""
    if track.failures or track.is_doubtful:
        turn.change(failed_count=turn.deployment.failed_count + 1)
        turn.notify_step(turn.step(track.index), "failed", "the deployment failed before it was tried again")
    if track.is_doubtful:
        turn.doubt(track.index)
