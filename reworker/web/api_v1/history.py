"""What a deployment was to do and what happened: plan, events, attempts, output, messages, and its proof."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from reworker.core import history
from reworker.core.places import SEEING
from reworker.core.principal import Scope
from reworker.core.step_messages import StepMessage, step_message
from reworker.core.tasks.filtering import shown
from reworker.fsm.plan import Plan
from reworker.fsm.plan_json import plan_to_json
from reworker.web.api_v1.paging import MOST_COUNT, Limit
from reworker.web.api_v1.serving import core_of, deployment_id
from reworker.web.api_v1.shapes import Attempt, Event, Line, attempt_of, event_of, line_of
from reworker.web.operations import Call, NoQuery, Operation

#: the largest number that a row can have.
_LAST = 2**31 - 1
Number = Annotated[int, Meta(ge=0, le=_LAST)]


class EventQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which events.

    Args:
        after_seq: those after this number.
    """

    after_seq: Number = 0
    limit: Limit = MOST_COUNT


class AttemptQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which attempts.

    Args:
        after_number: those after this number.
    """

    after_number: Number = 0
    limit: Limit = MOST_COUNT


class LogQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which lines of output.

    Args:
        after_no: those after this number.
        tail: the last so many lines instead; 0 is not wanted.
    """

    after_no: Number = 0
    limit: Limit = MOST_COUNT
    tail: Annotated[int, Meta(ge=0, le=MOST_COUNT)] = 0


class Events(msgspec.Struct, frozen=True):
    """Events in order.

    Args:
        items: the events.
        next: ask for those after this number.
    """

    items: list[Event]
    next: int


class Attempts(msgspec.Struct, frozen=True):
    """Attempts in order, as they are now.

    Args:
        items: the attempts.
        next: ask for those after this number.
    """

    items: list[Attempt]
    next: int


class Lines(msgspec.Struct, frozen=True):
    """Lines of output in order.

    Args:
        items: the lines.
        next: ask for those after this number.
    """

    items: list[Line]
    next: int


class Messages(msgspec.Struct, frozen=True):
    """Messages of attempts, in order.

    Args:
        items: the messages; an approval, or a step that was passed over, has none.
        next: ask for those of attempts after this number.
    """

    items: list[StepMessage]
    next: int


class Proof(msgspec.Struct, frozen=True):
    """Whether a history is whole: no event was changed, added or taken away.

    Args:
        id: of the deployment.
        is_whole: nothing is wrong.
        problems: what is wrong, in words.
    """

    id: str
    is_whole: bool
    problems: list[str]


def _plan(call: Call) -> dict[str, Any]:
    return shown_plan(core_of(call).plan(deployment_id(call)))


def shown_plan(plan: Plan) -> dict[str, Any]:
    """Return a plan as it is shown: with a mask in the place of what is called like a secret."""
    found = plan_to_json(plan)
    for sequence in found["sequences"]:
        for step in sequence["steps"]:
            _mask_values(step)
    return {**found, **_masked(found, "dynamic")}


def _mask_values(step: dict[str, Any]) -> None:
    """Put a mask in the place of what is called like a secret, in a step and what belongs to it."""
    step.update(_masked(step, "parameters"))
    for name in ("verify", "rollback"):
        if name in step:
            _mask_values(step[name])


def _masked(value: dict[str, Any], name: str) -> dict[str, Any]:
    return {name: shown(value[name])} if name in value else {}


def _events(call: Call) -> Events:
    own_id, query, core = deployment_id(call), call.query, core_of(call)
    core.deployment(own_id)
    items = [event_of(one) for one in core.events(own_id, after_seq=query.after_seq, limit=query.limit)]
    return Events(items, items[-1].seq if items else query.after_seq)


def _attempts(call: Call) -> Attempts:
    own_id, query, core = deployment_id(call), call.query, core_of(call)
    core.deployment(own_id)
    found = core.attempts(own_id, after_number=query.after_number, limit=query.limit)
    items = [attempt_of(one) for one in found]
    return Attempts(items, items[-1].number if items else query.after_number)


def _log(call: Call) -> Lines:
    own_id, query, core = deployment_id(call), call.query, core_of(call)
    core.deployment(own_id)
    if query.tail:
        found = core.log_lines(own_id, limit=query.tail, is_tail=True)
    else:
        found = core.log_lines(own_id, after_no=query.after_no, limit=query.limit)
    items = [line_of(one) for one in found]
    return Lines(items, items[-1].no if items else query.after_no)


def _messages(call: Call) -> Messages:
    own_id, query, core = deployment_id(call), call.query, core_of(call)
    view, plan = core.deployment(own_id), core.plan(own_id)
    rows = [one.row for one in core.attempts(own_id, after_number=query.after_number, limit=query.limit)]
    found = [step_message(plan, view.state.fence, row) for row in rows]
    items = [one for one in found if one is not None]
    return Messages(items, rows[-1].number if rows else query.after_number)


def _verify(call: Call) -> Proof:
    own_id = deployment_id(call)
    core_of(call).deployment(own_id)
    found = history.problems(call.site.service.reader, own_id)
    return Proof(own_id, not found, found)


def _read(
    name: str,
    do: Callable[[Call], Any],
    summary: str,
    answer: Any,
    query: type[msgspec.Struct] = NoQuery,
) -> Operation:
    return Operation(
        method="GET",
        path=f"/deployments/{{deployment_id}}/{name}",
        do=do,
        scope=Scope.READ,
        also=SEEING,
        summary=summary,
        tag="history",
        answer=answer,
        query=query,
        errors=(404,),
    )


OPERATIONS = (
    _read("plan", _plan, "Get the plan, as it was frozen at the start", dict[str, Any]),
    _read("events", _events, "List what happened", Events, EventQuery),
    _read("attempts", _attempts, "List attempts", Attempts, AttemptQuery),
    _read("log", _log, "List lines of output", Lines, LogQuery),
    _read("messages", _messages, "List the messages that steps were sent as", Messages, AttemptQuery),
    _read("verify", _verify, "Prove the history", Proof),
)
