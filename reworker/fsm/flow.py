"""The way of a deployment: its stages, and where a failure leads.

After a failure what is under way may end, then the steps that took effect are taken back in reverse, then
the post-deploy actions are done. Which host does what within a stage is in `hosts`.
"""

from __future__ import annotations

from itertools import chain

from reworker.fsm import hosts, ranges
from reworker.fsm.deployment import Attempt, Deployment, Track
from reworker.fsm.plan import Plan, Role
from reworker.fsm.playbook import SequenceKind
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
    look_up(turn)


def look_up(turn: Turn) -> None:
    """Say whether the deployment waits for people, and why."""
    now = turn.deployment
    if now.status not in (*_GOING, DeploymentStatus.WAITING):
        return
    asking = [attempt for attempt in now.attempts if attempt.is_for_people]
    if asking and len(asking) == len(now.attempts):
        turn.move(Trigger.ASK)
    else:
        _answer(turn)
    reason = asking[0].reason if asking else ""
    if reason != turn.deployment.reason:
        turn.change(reason=reason)


def _answer(turn: Turn) -> None:
    is_back = turn.deployment.rollback_end >= 0
    turn.move(Trigger.ANSWER_IN_ROLLBACK if is_back else Trigger.ANSWER)


def begin_stage(turn: Turn, stage: Stage) -> None:
    """Enter a stage: its sequences that need no other may begin."""
    kind = _KINDS.get(stage)
    ready = ranges.of(
        index
        for index, sequence in enumerate(turn.plan.sequences)
        if sequence.kind is kind and not turn.plan.needs[index]
    )
    turn.change(stage=stage, tracks=(), sequences=(), ready=ready)


def _advance(turn: Turn) -> bool:
    """Do one round; return whether there may be more to do."""
    if turn.is_winding_down():
        return _wind_down(turn)
    if turn.deployment.stage is Stage.ROLLBACK:
        return _roll_back(turn)
    return hosts.advance(turn) or _end_stage(turn)


def _end_stage(turn: Turn) -> bool:
    """Go to the next stage if this one is over; return whether it is."""
    now = turn.deployment
    if now.sequences or now.ready or now.attempts:
        return False
    if now.stage is Stage.CHECKS:
        begin_stage(turn, Stage.EXECUTION)
    elif now.stage is Stage.EXECUTION:
        turn.stop_own_timers()
        begin_stage(turn, Stage.ACTIONS)
    elif now.status is DeploymentStatus.PAUSED and now.rollback_end >= 0:
        return False
    else:
        _finish(turn)
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
    turn.stop_own_timers()
    for attempt in turn.deployment.attempts:
        if attempt.status is AttemptStatus.WAITING:
            turn.drop(attempt, "the deployment has failed")
        elif attempt.status is AttemptStatus.UNKNOWN:
            turn.call_back(attempt, "the deployment has failed")
            hosts.fail(turn, attempt, attempt.reason, is_doubtful=True)
    if turn.deployment.attempts:
        return False
    for track in turn.deployment.tracks:
        hosts.abandon(turn, track)
    # Before the execution nothing was done, except by a deployment that this one continues.
    can_roll_back = turn.plan.has_rollback and turn.deployment.stage is Stage.EXECUTION
    begin_stage(turn, Stage.ROLLBACK if can_roll_back else Stage.ACTIONS)
    return True


def _roll_back(turn: Turn) -> bool:
    """Take back what took effect, the last first, one at a time."""
    if turn.deployment.tracks:
        hosts.dispatch(turn)
        return False
    index = None if turn.deployment.rollback_failure else _last_effect(turn.plan, turn.deployment)
    if index is None:
        begin_stage(turn, Stage.ACTIONS)
        return True
    if turn.deployment.status is DeploymentStatus.PAUSED:
        return False
    turn.change(rollback_end=index, tracks=(Track(index=index, role=Role.ROLLBACK),))
    turn.move(Trigger.ROLL_BACK)
    return True


def _last_effect(plan: Plan, now: Deployment) -> int | None:
    """Return the last step before `rollback_end` that took effect, or may have, and can be taken back."""
    limit = now.rollback_end if now.rollback_end >= 0 else plan.step_count
    for start, end in sorted(chain(now.completed, now.doubtful), reverse=True):
        for index in range(min(end, limit) - 1, start - 1, -1):
            number, _, offset = plan.place(index)
            if plan.sequences[number].steps[offset].rollback is not None:
                return index
    return None


def fail_rollback(turn: Turn, attempt: Attempt, reason: str) -> None:
    """End the rollback: a step could not be taken back."""
    step = turn.step_of(attempt)
    turn.close(attempt, AttemptStatus.FAILED)
    turn.notify_step(step, "failed", reason)
    turn.change(rollback_failure=f"{step.key} on {step.host}: {reason}"[:REASON_CHARACTERS], tracks=())
