"""What people can do with a deployment, and what will happen when they do: said before it is done. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from reworker.core.places import place_of
from reworker.core.plan_words import failure_words
from reworker.core.principal import Principal, Scope
from reworker.core.resumption import Resumption
from reworker.core.service import DeploymentView
from reworker.fsm import ranges
from reworker.fsm.deployment import Attempt, Deployment
from reworker.fsm.events import Decision
from reworker.fsm.plan import Plan, Role
from reworker.fsm.states import (
    DEPLOYMENT_TRANSITIONS,
    AttemptStatus,
    DeploymentStatus,
    Trigger,
)
from reworker.web.pages.deployment_head import place
from reworker.web.pages.deployment_matrix import title_of

#: steps that a preview names one by one.
STEP_COUNT = 12


class Action(msgspec.Struct, frozen=True):
    """Something that people can do: `tone` is danger, primary or empty; one of `scopes` is enough for it."""

    name: str
    label: str
    scopes: tuple[Scope, ...]
    question: str
    tone: str = ""
    key: str = ""
    needs_reason: bool = False


ACTIONS = {
    one.name: one
    for one in (
        Action("resume", "Resume", (Scope.RUN,), "Resume this deployment?", "primary"),
        Action("retry", "Retry", (Scope.RUN,), "Go on with this deployment?", "primary", "r"),
        Action("again", "Run again", (Scope.RUN,), "Run all of it again?"),
        Action("pause", "Pause", (Scope.RUN, Scope.CANCEL), "Pause this deployment?"),
        Action("cancel", "Cancel", (Scope.CANCEL,), "Cancel this deployment?", "danger"),
        Action("approve", "Approve", (Scope.APPROVE,), "Approve?", "primary"),
        Action("refuse", "Refuse", (Scope.APPROVE,), "Refuse?", "danger"),
        Action(
            "decide", "Decide", (Scope.APPROVE,), "What became of this step?", "primary", needs_reason=True
        ),
    )
}
#: decision -> its words, and what it leads to.
DECISIONS: dict[Decision, tuple[str, str]] = {
    Decision.RETRY: (
        "It was not done: do it again",
        "The step is sent again. If it did take effect, it runs twice.",
    ),
    Decision.COMPLETE: (
        "It was done: go on",
        "The step counts as completed, and its host goes on with the next.",
    ),
    Decision.SKIP: ("Go on without it", "The step counts as skipped, and its host goes on with the next."),
    Decision.FAIL: ("It failed", "The step counts as failed, with all that follows from that."),
}
_REQUESTS = {"pause": Trigger.PAUSE, "resume": Trigger.RESUME, "cancel": Trigger.CANCEL}


class Offer(msgspec.Struct, frozen=True):
    """An action that makes sense now; `refusal` says why this person may not do it."""

    action: Action
    refusal: str = ""


def offers(view: DeploymentView, plan: Plan, who: Principal) -> list[Offer]:
    """Return what can be done with a deployment as a whole."""
    return [Offer(one, refusal(one, plan, who)) for one in ACTIONS.values() if is_possible(one, view)]


def is_possible(action: Action, view: DeploymentView) -> bool:
    """Tell whether a deployment can be asked for this as a whole."""
    if action.name == "retry":
        return is_resumable(view)
    if action.name == "again":
        return view.is_over
    trigger = _REQUESTS.get(action.name)
    return trigger is not None and (view.state.status, trigger) in DEPLOYMENT_TRANSITIONS


def is_resumable(view: DeploymentView) -> bool:
    """Tell whether another deployment can go on where this one has ended."""
    state = view.state
    is_whole = state.status is DeploymentStatus.COMPLETED and not state.failed_count and not state.left_out
    return view.is_over and not is_whole


def refusal(action: Action, plan: Plan, who: Principal) -> str:
    """Return why a person may not do this here; empty when they may."""
    where = place_of(plan)
    refusals = [who.refusal(one, where) for one in action.scopes]
    return "" if "" in refusals else refusals[0]


def preview(action: Action, view: DeploymentView, plan: Plan, attempt: Attempt | None = None) -> list[str]:
    """Return what will happen, in sentences; `attempt` is the one that an answer is about."""
    state = view.state
    if action.name == "cancel":
        return list(_cancel(view, plan))
    if action.name == "pause":
        return list(_pause(state, plan))
    if action.name == "again":
        return [
            f"A new deployment of the same text with the same values: {steps_words(view.row.step_count)}, "
            "whatever was done before.",
            "What the operator adds is that of today.",
        ]
    if action.name == "resume":
        left = view.row.step_count - state.completed_count - state.failed_count - state.skipped_count
        return [f"What is left goes on: {steps_words(left)}."]
    if attempt is not None and action.name == "approve":
        return list(_approve(attempt, plan))
    if attempt is not None and action.name == "refuse":
        step = plan.step(attempt.step_index)
        back = _back(plan, state, attempt.step_index)
        return [f"The approval{place(step.host)} counts as failed: {failure_words(plan, step, back)}."]
    return []


def _cancel(view: DeploymentView, plan: Plan) -> Iterator[str]:
    state = view.state
    live = [one for one in state.attempts if one.status.is_live]
    if state.status is DeploymentStatus.QUEUED:
        yield "It has not begun: nothing was done, nothing has to be stopped."
    elif live:
        names = _named(live, plan)
        yield f"{steps_words(len(live), 'under way')} told to stop: {names}. The end waits for their answers."
    left = view.row.step_count - state.completed_count - state.failed_count - state.skipped_count
    if left - len(live) > 0:
        yield f"{steps_words(left - len(live))} will not be done."
    if state.completed_count:
        stay = "stays" if state.completed_count == 1 else "stay"
        yield f"{steps_words(state.completed_count)} {stay} done: a cancel takes nothing back."
    if plan.locks and state.fence:
        yield f"Its locks are given up once it has ended: {_listed(plan.locks)}."


def _pause(state: Deployment, plan: Plan) -> Iterator[str]:
    live = [one for one in state.attempts if one.status.is_live]
    if live:
        how = "goes on to its" if len(live) == 1 else "go on to their"
        yield f"{steps_words(len(live))} under way {how} end: {_named(live, plan)}."
    yield "Nothing new is sent until somebody resumes it."
    if plan.locks and state.fence:
        yield f"It keeps its locks meanwhile: {_listed(plan.locks)}."


def _approve(attempt: Attempt, plan: Plan) -> Iterator[str]:
    step = plan.step(attempt.step_index)
    assert step.approval is not None, "it is an approval"
    missing = step.approval.of - len(attempt.approved_by) - 1
    if missing > 0:
        yield f"{missing} more {'person has' if missing == 1 else 'people have'} to approve after you."
        return
    size = len(plan.sequences[step.sequence_index].steps)
    _, _, offset = plan.place(attempt.step_index)
    following = range(attempt.step_index + 1, attempt.step_index + size - offset)
    if following:
        keys = [plan.step(index).key for index in following[:STEP_COUNT]]
        yield f"{step.host or 'It'} goes on with: {_listed(tuple(keys), len(following))}."
    else:
        yield f"This is the last step{place(step.host)}."


def _back(plan: Plan, state: Deployment, index: int) -> list[str]:
    """Return what would be taken back if a step failed, the last first."""
    done = (one for start, end in reversed(state.completed) for one in range(end - 1, start - 1, -1))
    found: list[str] = []
    for one in done:
        number, host_index, offset = plan.place(one)
        sequence = plan.sequences[number]
        rollback = sequence.steps[offset].rollback
        if rollback is not None and one < index:
            found.append(f"{rollback.key}{place(sequence.hosts[host_index])}")
        if len(found) > STEP_COUNT:
            return [*found[:STEP_COUNT], "and more"]
    return found


def _named(attempts: list[Attempt], plan: Plan) -> str:
    names = []
    for one in attempts[:STEP_COUNT]:
        step = plan.step(one.step_index, one.role)
        names.append(f"{step.key}{place(step.host)}")
    return _listed(tuple(names), len(attempts))


def _listed(names: tuple[str, ...], count: int = 0) -> str:
    shown = names[:STEP_COUNT]
    more = max(count, len(names)) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more > 0 else "")


def steps_words(count: int, what: str = "") -> str:
    """Return ``1 step``, or ``3 steps under way are``."""
    words = f"{count:,} step" if count == 1 else f"{count:,} steps"
    return f"{words} {what} {'is' if count == 1 else 'are'}" if what else words


class Ahead(msgspec.Struct, frozen=True):
    """What a deployment that continues another one would do.

    Args:
        count: of steps.
        passed_count: steps that it passes over, because they were done.
        sequences: (title, hosts, steps) of those with something to do.
        first: the first steps, as ``number. key on host``.
    """

    count: int
    passed_count: int
    sequences: tuple[tuple[str, int, int], ...]
    first: tuple[str, ...]


def ahead(plan: Plan, found: Resumption) -> Ahead:
    """Return what is left to be done of a plan."""
    passed = ranges.of(
        index for some in (found.done, found.left_out) for one in some for index in range(*one)
    )
    left = ranges.without(((0, plan.step_count),), passed)
    indexes = [index for start, end in left for index in range(start, end)]
    sequences: dict[int, list[int]] = {}
    for index in indexes:
        sequences.setdefault(plan.place(index)[0], []).append(index)
    sums = tuple(
        (title_of(plan, number), len({plan.place(one)[1] for one in some}), len(some))
        for number, some in sequences.items()
    )
    first = (plan.step(index) for index in indexes[:STEP_COUNT])
    texts = tuple(f"{step.index + 1}. {step.key}{place(step.host)}" for step in first)
    return Ahead(len(indexes), ranges.count(found.done), sums, texts)


def asked_attempt(state: Deployment, number: int, action: Action) -> Attempt | None:
    """Return the attempt that an answer is about; 0 is the first one that waits for such an answer."""
    waiting = [one for one in state.attempts if one.is_for_people and _is_answer(one, action)]
    return next((one for one in waiting if number in (0, one.number)), None)


def _is_answer(attempt: Attempt, action: Action) -> bool:
    is_doubt = attempt.status is AttemptStatus.UNKNOWN
    return is_doubt if action.name == "decide" else attempt.role is Role.APPROVAL and not is_doubt
