"""What has happened to a deployment, and what it was to do: events, messages, an attempt, the plan."""

from __future__ import annotations

import msgspec
from starlette.responses import Response

from reworker.core.event_words import event_words, step_name
from reworker.core.principal import Scope
from reworker.core.service import EventView
from reworker.errors import DeploymentNotFound
from reworker.fsm.rules import Rules
from reworker.fsm.rules_json import rules_from_json
from reworker.storage.contract import AttemptRow, EventRow
from reworker.web.errors import HttpProblem
from reworker.web.pages.deployment_look import TABS, Look, look_at
from reworker.web.pages.deployment_messages import Sent, pretty, received, sent_message, worked_s
from reworker.web.pages.deployment_plan import plan_view
from reworker.web.pages.deployment_timeline import PARTS, timeline
from reworker.web.pages.page_routes import page_route
from reworker.web.pages.queries import number_in
from reworker.web.pages.rendering import page
from reworker.web.pages.visits import Visit

#: rows of a page; events about one attempt that are shown.
EVENT_COUNT, MESSAGE_COUNT, ABOUT_COUNT = 100, 50, 200


class EventRowView(msgspec.Struct, frozen=True):
    """An event in the list: `attempt` is the one that it is about, `words` say what happened."""

    event: EventView
    words: str
    attempt: AttemptRow | None
    step: str


class MessageRow(msgspec.Struct, frozen=True):
    """An attempt in the list of messages, with what it was sent as."""

    attempt: AttemptRow
    step: str
    sent: Sent | None


def _events(visit: Visit) -> Response:
    look = look_at(visit)
    before = number_in(visit, "before")
    last = min(before - 1, look.view.row.last_seq) if before else look.view.row.last_seq
    first = max(last - EVENT_COUNT, 0)
    own_id = look.view.row.id
    found = visit.site.service.events(own_id, after_seq=first, limit=max(last - first, 1))
    numbers = {one.data.get("attempt", 0) for one in found} - {0}
    attempts = visit.site.service.reader.attempts_numbered(own_id, numbers) if numbers else []
    by_number = {one.number: one for one in attempts}
    rows = [_event_row(one, by_number.get(one.data.get("attempt", 0))) for one in reversed(found)]
    older = first + 1 if first else 0
    return page(visit, "deployment_events.html", look=look, tabs=TABS, tab="events", rows=rows, older=older)


def _event_row(event: EventView, attempt: AttemptRow | None) -> EventRowView:
    step = step_name(attempt.step, attempt.role) if attempt else ""
    return EventRowView(event, event_words(event, is_step=attempt is not None), attempt, step)


def _messages(visit: Visit) -> Response:
    """List attempts, newest first: all of them, or those at one step, or at the steps of one host."""
    look = look_at(visit)
    step = min(number_in(visit, "step"), look.plan.step_count)
    attempts, older = _listed(visit, look, step)
    fence = look.view.state.fence
    rows = [
        MessageRow(one, step_name(one.step, one.role), sent_message(look.plan, one, fence))
        for one in reversed(attempts)
    ]
    planned = look.plan.step(step - 1) if step else None
    return page(
        visit,
        "deployment_messages.html",
        look=look,
        tabs=TABS,
        tab="messages",
        rows=rows,
        older=older,
        planned=planned,
    )


def _listed(visit: Visit, look: Look, step: int) -> tuple[list[AttemptRow], int]:
    """Return attempts in order, and the number before which older ones are; 0 without."""
    own_id = look.view.row.id
    if step:
        reader = visit.site.service.reader
        return reader.attempts_between(own_id, step - 1, step, limit=MESSAGE_COUNT), 0
    before, count = number_in(visit, "before"), look.view.state.attempt_count
    last = min(before - 1, count) if before else count
    first = max(last - MESSAGE_COUNT, 0)
    found = visit.site.service.attempts(own_id, after_number=first, limit=max(last - first, 1))
    return [one.row for one in found if one.row.number <= last], first + 1 if first else 0


def _attempt(visit: Visit) -> Response:
    look = look_at(visit)
    number = _number(visit.path("number"))
    own_id, reader = look.view.row.id, visit.site.service.reader
    found = reader.attempts_numbered(own_id, [number])
    if not found:
        raise HttpProblem(404, "attempt-not-found", f"deployment {own_id} has no attempt {number}")
    attempt = found[0]
    about = [one for one in map(_about, reader.events_about(own_id, number, limit=ABOUT_COUNT)) if one]
    events = [event for event, _ in about if event.data.get("attempt") == number]
    return page(
        visit,
        "deployment_attempt.html",
        look=look,
        tabs=TABS,
        tab="messages",
        attempt=attempt,
        step=step_name(attempt.step, attempt.role),
        sent=sent_message(look.plan, attempt, look.view.state.fence, events),
        received=received(events, {event.seq: _message_id(key, attempt.id) for event, key in about}),
        data=pretty(msgspec.json.decode(attempt.data)) if attempt.data != b"null" else "",
        worked_s=worked_s(attempt, look.view.row.updated_at),
        timeline=timeline([attempt], look.view.row.updated_at),
        parts=PARTS,
    )


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 9):
        raise DeploymentNotFound(f"attempt {text[:40]}")
    return int(text)


def _about(row: EventRow) -> tuple[EventView, str]:
    data = msgspec.json.decode(row.data)
    return EventView(row.seq, row.kind, row.at, row.actor, data, row.ignored), row.dedup_key or ""


def _message_id(dedup_key: str, attempt_id: str) -> str:
    """Return the message id of a reply; one that had none is known by its attempt."""
    found = dedup_key.rpartition("|")[0]
    return "" if found == attempt_id else found


def _plan(visit: Visit) -> Response:
    look = look_at(visit)
    source = visit.site.service.reader.source(look.view.row.id)
    rules: Rules | None = None
    if source is not None and source.rules:
        rules = rules_from_json(msgspec.json.decode(source.rules))
    return page(
        visit,
        "deployment_plan.html",
        look=look,
        tabs=TABS,
        tab="plan",
        plan=plan_view(look.plan, rules),
        has_text=source is not None and source.text is not None,
    )


_URL = "/deployments/{deployment_id}"

ROUTES = (
    page_route(f"{_URL}/events", _events, needs=Scope.READ),
    page_route(f"{_URL}/messages", _messages, needs=Scope.READ),
    page_route(f"{_URL}/attempts/{{number}}", _attempt, needs=Scope.READ),
    page_route(f"{_URL}/plan", _plan, needs=Scope.READ),
)
