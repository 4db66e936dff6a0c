"""Which steps come next: stages, sequences, hosts and their order; and where a failure leads.

A deployment goes through its stages. In each, sequences begin when those they need have ended, their hosts in
batches, on each host one step after the other. After a failure what is under way may end, then the steps
that took effect are taken back in reverse, then the post-deploy actions are done.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import chain
from typing import Any

from reworker.fsm import ranges
from reworker.fsm.commands import TimerKind
from reworker.fsm.deployment import MAX_TRACKS, Attempt, Deployment, Failure, SequenceState, Track
from reworker.fsm.expectation import is_contained
from reworker.fsm.plan import Plan, PlannedStep, Role
from reworker.fsm.playbook import Approval, SequenceKind, When
from reworker.fsm.states import AttemptStatus, DeploymentStatus, Stage, Trigger
from reworker.fsm.turn import REASON_CHARACTERS, Turn

_KINDS = {
    Stage.CHECKS: SequenceKind.CHECK,
    Stage.EXECUTION: SequenceKind.EXECUTION,
    Stage.ACTIONS: SequenceKind.ACTION,
}
_GOING = (DeploymentStatus.RUNNING, DeploymentStatus.ROLLING_BACK, DeploymentStatus.PAUSED)


def go_on(turn: Turn) -> None:
    """Dispatch all that may be, go to the next stage when one is over, and say what is waited for."""
    _answer(turn)
    if turn.deployment.rollback_end >= 0:
        turn.move(Trigger.ROLL_BACK)
    while turn.deployment.status in _GOING and _advance(turn):
        pass
    if _needs_people(turn.deployment):
        turn.move(Trigger.DOUBT)


def look_up(turn: Turn) -> None:
    """Stop waiting for people when a worker's answer has ended the doubt."""
    if not _needs_people(turn.deployment):
        _answer(turn)


def _answer(turn: Turn) -> None:
    is_back = turn.deployment.rollback_end >= 0
    if turn.move(Trigger.ANSWER_IN_ROLLBACK if is_back else Trigger.ANSWER):
        turn.change(reason="")


def _needs_people(now: Deployment) -> bool:
    """Tell whether nothing moves before a person acts."""
    return bool(now.attempts) and all(one.is_for_people for one in now.attempts)


def begin_stage(turn: Turn, stage: Stage) -> None:
    """Enter a stage: its sequences that need no other begin."""
    kind = _KINDS.get(stage)
    states = tuple(
        SequenceState(index=index)
        for index, sequence in enumerate(turn.plan.sequences)
        if sequence.kind is kind and not turn.plan.needs[index]
    )
    turn.change(stage=stage, tracks=(), sequences=states)


def _advance(turn: Turn) -> bool:
    """Do one round; return whether there may be more to do."""
    if turn.is_winding_down():
        return _wind_down(turn)
    if turn.deployment.stage is Stage.ROLLBACK:
        return _roll_back(turn)
    _start_tracks(turn, Role.STEP)
    if turn.is_winding_down():
        return True
    if any(_open_hosts(turn, state) for state in turn.deployment.sequences):
        return True
    if turn.deployment.sequences:
        return False
    return _end_stage(turn)


def _end_stage(turn: Turn) -> bool:
    now = turn.deployment
    if now.stage is Stage.CHECKS:
        begin_stage(turn, Stage.EXECUTION)
    elif now.stage is Stage.EXECUTION:
        begin_stage(turn, Stage.ACTIONS)
    elif now.status is not DeploymentStatus.PAUSED or now.rollback_end < 0:
        _finish(turn)
    else:
        return False
    return True


def _finish(turn: Turn) -> None:
    now = turn.deployment
    reason = now.failure.reason if now.failure else ""
    if now.rollback_failure:
        both = f"{reason}; rollback: {now.rollback_failure}"[:REASON_CHARACTERS]
        turn.finish(Trigger.ROLLBACK_FAILED, both)
    elif now.rollback_end >= 0:
        turn.finish(Trigger.ROLLBACK_DONE, reason)
    else:
        turn.finish(Trigger.STEP_FAILED if now.failure else Trigger.PLAN_DONE, reason)


def _wind_down(turn: Turn) -> bool:
    """Begin nothing new; wait for what is under way, but for no person."""
    for attempt in turn.deployment.attempts:
        if attempt.status is AttemptStatus.WAITING:
            turn.drop(attempt, "the deployment has failed")
        elif attempt.status is AttemptStatus.UNKNOWN:
            leave_in_doubt(turn, attempt)
    if turn.deployment.attempts:
        return False
    if turn.plan.has_rollback:
        turn.change(stage=Stage.ROLLBACK, tracks=(), sequences=())
    else:
        begin_stage(turn, Stage.ACTIONS)
    return True


def leave_in_doubt(turn: Turn, attempt: Attempt) -> None:
    """End an attempt whose effect nobody knows: its step counts as failed, and is taken back if it can be."""
    doubt(turn, attempt)
    turn.close(attempt.number, AttemptStatus.FAILED)


def doubt(turn: Turn, attempt: Attempt) -> None:
    """Remember that an attempt's step may have taken effect."""
    now = turn.deployment
    if attempt.role is not Role.ROLLBACK and turn.plan.has_rollback:
        turn.change(doubtful=(*now.doubtful, attempt.step_index))


def _roll_back(turn: Turn) -> bool:
    """Take back what took effect, the last first, one at a time."""
    now = turn.deployment
    if now.tracks and not now.rollback_failure:
        _start_tracks(turn, Role.ROLLBACK)
        return False
    index = None if now.rollback_failure else _last_effect(turn)
    if index is None:
        begin_stage(turn, Stage.ACTIONS)
        return True
    if now.status is DeploymentStatus.PAUSED:
        return False
    turn.change(rollback_end=index, tracks=(Track(index=index),))
    turn.move(Trigger.ROLL_BACK)
    return True


def _last_effect(turn: Turn) -> int | None:
    """Return the last step before `rollback_end` that took effect, or may have, and can be taken back."""
    now, plan = turn.deployment, turn.plan
    limit = now.rollback_end if now.rollback_end >= 0 else plan.step_count
    doubtful = ((index, index + 1) for index in sorted(now.doubtful, reverse=True))
    for start, end in sorted(chain(now.completed, doubtful), reverse=True):
        for index in range(min(end, limit) - 1, start - 1, -1):
            if _rollback_of(plan, index):
                return index
    return None


def _rollback_of(plan: Plan, index: int) -> bool:
    number, _, offset = plan.place(index)
    return plan.sequences[number].steps[offset].rollback is not None


def _start_tracks(turn: Turn, role: Role) -> None:
    """Dispatch what is ready on every host, unless the deployment is paused."""
    now = turn.deployment
    if now.status is DeploymentStatus.PAUSED:
        return
    busy = {attempt.step_index for attempt in now.attempts}
    for attempt in now.attempts:
        if attempt.status is AttemptStatus.WAITING and not attempt.timers and not attempt.is_for_people:
            turn.dispatch(attempt)
    for track in now.tracks:
        if track.index not in busy and not turn.is_winding_down():
            _start(turn, track, role)


def _start(turn: Turn, track: Track, role: Role) -> None:
    """Dispatch a track's step, passing over those whose condition does not hold."""
    current: Track | None = track
    while current is not None:
        step = turn.step(current.index, role)
        if step.when is None or current.tries or role is not Role.STEP or _holds(turn, step, step.when):
            _attempt(turn, current, step, role)
            return
        turn.skip(current, condition_text(step.when))
        current = pass_on(turn, current)


def _attempt(turn: Turn, track: Track, step: PlannedStep, role: Role) -> None:
    tried = replace(track, tries=track.tries + 1)
    turn.move_track(track, tried)
    if step.approval is not None:
        _ask(turn, tried, step.approval)
    elif step.delay_s and tried.tries == 1:
        wait(turn, tried, role, step.delay_s)
    else:
        turn.open(tried, role)


def _ask(turn: Turn, track: Track, approval: Approval) -> None:
    """Wait for people's consent; where nobody can be asked, that is a failure."""
    attempt = turn.open(track, Role.APPROVAL, status=AttemptStatus.WAITING)
    if turn.deployment.is_unattended:
        reason = "it needs an approval, and the deployment is unattended"
        turn.record(attempt, AttemptStatus.FAILED, message=reason)
        fail(turn, attempt, reason)
    else:
        turn.change(reason=f"approval: {approval.text}"[:REASON_CHARACTERS])
        if approval.expires_s is not None:
            turn.start_timer(attempt, TimerKind.APPROVAL, approval.expires_s)


def wait(turn: Turn, track: Track, role: Role, delay_s: float) -> None:
    """Open the next attempt of a track after a delay."""
    attempt = turn.open(track, role, status=AttemptStatus.WAITING)
    turn.start_timer(attempt, TimerKind.DELAY, delay_s)


def pass_on(turn: Turn, track: Track) -> Track | None:
    """Send a track to the host's next step that is to be done; None when there is none, which ends it."""
    number, host_index, offset = turn.plan.place(track.index)
    left = range(track.index + 1, track.index - offset + len(turn.plan.sequences[number].steps))
    index = _first_open(turn.deployment, left)
    after = None if index is None else Track(index=index)
    turn.move_track(track, after)
    if after is None and turn.deployment.facts:
        mark = f"@{host_index}"
        is_own = (f"{number}.", mark)
        facts = tuple(
            one for one in turn.deployment.facts if not (one.startswith(is_own[0]) and one.endswith(mark))
        )
        turn.change(facts=facts)
    return after


def _first_open(now: Deployment, indexes: Iterable[int]) -> int | None:
    is_over = ranges.contains
    return next(
        (one for one in indexes if not is_over(now.completed, one) and not is_over(now.left_out, one)), None
    )


def _open_hosts(turn: Turn, state: SequenceState) -> bool:
    """Let further hosts of a sequence begin, or end it; return whether anything changed."""
    sequence, before = turn.plan.sequences[state.index], state
    first = turn.plan.first_index(state.index)
    size = len(sequence.steps)
    end = first + len(sequence.hosts) * size
    busy_count = sum(first <= track.index < end for track in turn.deployment.tracks)
    is_paused = turn.deployment.status is DeploymentStatus.PAUSED
    while True:
        if state.next_host < state.batch_end:
            start = first + state.next_host * size
            index = _first_open(turn.deployment, range(start, start + size))
            if index is not None:
                if is_paused or len(turn.deployment.tracks) >= MAX_TRACKS:
                    break
                state = _open_host(turn, state, index)
                busy_count += 1
            state = replace(state, next_host=state.next_host + 1)
        elif busy_count:
            break
        elif state.next_host < len(sequence.hosts):
            batch_end = min(state.next_host + sequence.batch_count, len(sequence.hosts))
            state = replace(state, batch_end=batch_end)
        else:
            _end_sequence(turn, state)
            return True
    turn.put_sequence(state)
    return state != before


def _open_host(turn: Turn, state: SequenceState, index: int) -> SequenceState:
    if not state.is_begun:
        turn.notify_sequence(state.index, "started")
    turn.change(tracks=(*turn.deployment.tracks, Track(index=index)))
    return replace(state, is_begun=True)


def _end_sequence(turn: Turn, state: SequenceState) -> None:
    """End a sequence; those that waited only for it begin."""
    now, plan = turn.deployment, turn.plan
    ended = ranges.added(now.ended, state.index)
    begun = tuple(
        SequenceState(index=index)
        for index in plan.dependents[state.index]
        if all(ranges.contains(ended, needed) for needed in plan.needs[index])
    )
    others = tuple(one for one in now.sequences if one.index != state.index)
    turn.change(ended=ended, sequences=(*others, *begun))
    if state.is_begun:
        turn.notify_sequence(state.index, "completed")


def fail(turn: Turn, attempt: Attempt, reason: str) -> None:
    """End the way of a host on which a step failed; one host too many fails the deployment."""
    step = turn.step(attempt.step_index, _shown_role(attempt))
    turn.close(attempt.number, AttemptStatus.FAILED)
    turn.notify_step(step, "failed", reason)
    if attempt.role is Role.ROLLBACK:
        turn.change(rollback_failure=f"{step.key} on {step.host}: {reason}"[:REASON_CHARACTERS], tracks=())
        return
    turn.move_track(Track(index=step.index), None)
    now = turn.deployment
    state = next((one for one in now.sequences if one.index == step.sequence_index), None)
    count = 1 + (state.failed_host_count if state else 0)
    if state is not None:
        turn.put_sequence(replace(state, failed_host_count=count))
    if now.is_failing and now.stage is not Stage.ACTIONS:
        return
    if count > turn.plan.sequences[step.sequence_index].max_failure_count:
        _give_up(turn, attempt, step, reason)


def _give_up(turn: Turn, attempt: Attempt, step: PlannedStep, reason: str) -> None:
    failure = Failure(
        step_index=step.index, host=step.host, step=step.key, attempt=attempt.number, reason=reason
    )
    where = f" on {step.host}" if step.host else ""
    turn.notify_sequence(step.sequence_index, "failed", f"{step.key}{where}: {reason}")
    turn.change(failure=turn.deployment.failure or failure)
    if turn.deployment.stage is Stage.ACTIONS:
        turn.change(tracks=(), sequences=())


def _shown_role(attempt: Attempt) -> Role:
    return Role.ROLLBACK if attempt.role is Role.ROLLBACK else Role.STEP


def remember(turn: Turn, step: PlannedStep, data: Any) -> None:
    """Note which conditions hold now that a step has completed."""
    watchers = turn.plan.watchers.get(step.id, ()) if step.id else ()
    if watchers:
        number, host_index, _ = turn.plan.place(step.index)
        new = facts_of(watchers, number, host_index, data)
        turn.change(facts=tuple(dict.fromkeys((*turn.deployment.facts, *new))))


def facts_of(
    watchers: Iterable[tuple[int, int, When]], number: int, host_index: int, data: Any
) -> tuple[str, ...]:
    """Return the conditions that a step's outcome fulfils; see `Deployment.facts`.

    Args:
        watchers: of the step's id; see `Plan.watchers`.
        number: of the sequence the step is in.
        host_index: of its host there.
        data: what it returned.
    """
    return tuple(
        f"{sequence}.{offset}" + (f"@{host_index}" if sequence == number else "")
        for sequence, offset, when in watchers
        if when.data is None or is_contained(when.data, data)
    )


def _holds(turn: Turn, step: PlannedStep, when: When) -> bool:
    number, host_index, offset = turn.plan.place(step.index)
    key = f"{number}.{offset}"
    facts = turn.deployment.facts
    return ((key in facts) or (f"{key}@{host_index}" in facts)) is not when.is_negated


def condition_text(when: When) -> str:
    """Return why a step was left out, in words."""
    wanted = f"{when.step} did" if when.is_negated else f"{when.step} did not"
    return f"left out: {wanted} complete" + (" with the data asked for" if when.data is not None else "")
