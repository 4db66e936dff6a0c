"""The broker: queues, workers, and dead letters to look at, send back and throw away."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from reworker.core.bus_look import QueueLook, WorkerLook
from reworker.core.letter_box import Return
from reworker.core.letter_desk import SHOWN_BYTES
from reworker.core.letter_pages import letters_page
from reworker.core.principal import Scope
from reworker.core.roll_call import Heard
from reworker.errors import Unroutable
from reworker.messages import Pong
from reworker.topology.letters import Filter, Letter
from reworker.web.api_v1.deployments import Time
from reworker.web.bodies import json_of
from reworker.web.desk import REASON_CHARACTERS, BusDesk
from reworker.web.errors import HttpProblem
from reworker.web.operations import Call, Operation

#: dead letters of a page, when nobody says how many and at most.
PAGE_COUNT, MOST_COUNT = 50, 1000
#: characters of the name of a queue. Source: AMQP 0-9-1, short string.
QUEUE_CHARACTERS = 255

Reason = Annotated[
    str, Meta(min_length=1, max_length=REASON_CHARACTERS, description="Why; it is kept in the audit.")
]


class Queues(msgspec.Struct, frozen=True):
    """The queues that matter, as they were some seconds ago at most.

    Args:
        state: looking is before the broker's first answer, away is that it does not answer.
        broker: its address.
        at: when it last answered.
        away_since: when it first did not.
        reason: why it does not.
        source: where the figures come from; over AMQP alone some are not known.
        items: worker queues first, then by name.
    """

    state: Literal["looking", "up", "away"]
    broker: str
    at: datetime | None
    away_since: datetime | None
    reason: str
    source: str
    items: tuple[QueueLook, ...]


class Workers(msgspec.Struct, frozen=True):
    """The processes of workers that answer, and those that the database knows besides; see `Queues`.

    Args:
        versions: of reworker that they run; more than one is worth a thought.
    """

    state: Literal["looking", "up", "away"]
    broker: str
    at: datetime | None
    away_since: datetime | None
    reason: str
    versions: tuple[str, ...]
    items: tuple[WorkerLook, ...]


class LetterQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which dead letters, and how many.

    Args:
        queue: they were refused from.
        reason: text that their reason contains, in any case.
        before: they were refused before.
        after: they were refused after.
        cursor: `next` of the page before.
    """

    queue: Annotated[str, Meta(max_length=QUEUE_CHARACTERS)] = ""
    reason: Annotated[str, Meta(max_length=REASON_CHARACTERS)] = ""
    before: Time | None = None
    after: Time | None = None
    limit: Annotated[int, Meta(ge=1, le=MOST_COUNT)] = PAGE_COUNT
    cursor: Annotated[str, Meta(max_length=60)] = ""


class Letters(msgspec.Struct, frozen=True):
    """Dead letters, the oldest first.

    Args:
        items: of this page.
        next: cursor of the next page; null at the end.
        looked_at: letters that were looked at.
        ready: letters that are there.
    """

    items: list[Letter]
    next: str | None
    looked_at: int
    ready: int


class BodyQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How much of the body.

    Args:
        body_bytes: what is longer is cut.
    """

    body_bytes: Annotated[int, Meta(ge=1, le=SHOWN_BYTES)] = SHOWN_BYTES


class FullLetter(msgspec.Struct, frozen=True):
    """A dead letter with what it says.

    Args:
        letter: what it says about itself.
        properties: its AMQP properties, headers too.
        body: as text; a long one is cut.
        is_editable: it can be sent back with another body.
    """

    letter: Letter
    properties: dict[str, Any]
    body: str
    is_editable: bool


class Redrive(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a dead letter is to be sent back.

    Args:
        body: JSON in place of its own, as text; null leaves that.
        queue: straight there; empty is where it came from.
        force: send back a step, too, though its core has its answer.
    """

    reason: Reason
    body: str | None = None
    queue: Annotated[str, Meta(max_length=QUEUE_CHARACTERS)] = ""
    force: bool = False


class Dropping(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Why a dead letter is thrown away."""

    reason: Reason


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Why a worker is told to do something."""

    reason: Reason


class Answers(msgspec.Struct, frozen=True):
    """How the processes of a worker stand, as they say."""

    items: list[Pong]


def desk_of(call: Call) -> BusDesk:
    """Return the desk.

    Raises:
        HttpProblem: 503 this server knows no broker.
    """
    desk = call.site.desk
    if desk is None:
        reason = "this server knows no broker; start it with --mq FILE_OR_URL or REWORKER_MQ"
        raise HttpProblem(503, "no-broker", reason)
    return desk


def _queues(call: Call) -> Queues:
    look = desk_of(call).look(call.who)
    return Queues(
        look.state, look.url, look.at, look.away_since, look.reason, source=look.source, items=look.queues
    )


def _workers(call: Call) -> Workers:
    look = desk_of(call).look(call.who)
    return Workers(
        look.state, look.url, look.at, look.away_since, look.reason, look.versions, items=look.workers
    )


def _letters(call: Call) -> Letters:
    query: LetterQuery = call.query
    found = desk_of(call).letters(call.who)
    wanted = Filter(query.queue, query.reason, query.before, query.after)
    rows, after = letters_page(found.letters, wanted, limit=query.limit, cursor=query.cursor)
    return Letters(rows, after or None, len(found.letters), found.ready)


def _letter(call: Call) -> FullLetter:
    found = desk_of(call).letter(call.who, call.path["letter_id"], call.query.body_bytes)
    return FullLetter(found.letter, found.properties, found.body, found.is_editable)


def _redrive(call: Call) -> None:
    body: Redrive = call.body
    how = Return(call.site.clock.now(), body.queue, body.force, checked_body(body.body))
    desk_of(call).redrive(call.who, call.path["letter_id"], body.reason, how)


def checked_body(text: str | None) -> bytes | None:
    """Return the body that a letter is to be sent back with.

    Raises:
        HttpProblem: 400 it is no JSON, or such that readers could read it in two ways.
    """
    if text is None:
        return None
    raw = text.encode("utf-8")
    json_of(raw)
    return raw


def _drop(call: Call) -> None:
    desk_of(call).drop(call.who, call.path["letter_id"], call.query.reason)


def _quiet(call: Call) -> Answers:
    return _ordered(call, "quiet")


def _resume(call: Call) -> Answers:
    return _ordered(call, "resume")


def _ordered(call: Call, verb: str) -> Answers:
    name = call.path["name"]
    try:
        return _answers(desk_of(call).order(call.who, verb, name, call.body.reason))
    except Unroutable as error:
        raise _nobody(name) from error


def _ping(call: Call) -> Answers:
    name = call.path["name"]
    try:
        return _answers(desk_of(call).ping(call.who, name))
    except Unroutable as error:
        raise _nobody(name) from error


def _nobody(name: str) -> HttpProblem:
    reason = f"no process of a worker {name[:60]!a} listens; `GET /api/v1/workers` shows those that do"
    return HttpProblem(404, "worker-not-found", reason)


def _answers(heard: list[Heard]) -> Answers:
    return Answers([one.pong for one in heard])


_BROKER = (503,)
_LETTER = (404, *_BROKER)
_SEEN = "Needs a token without limits: a dead letter may be of any group."

OPERATIONS = (
    Operation(
        method="GET",
        path="/queues",
        do=_queues,
        scope=Scope.READ,
        summary="List the queues that matter",
        tag="queue",
        answer=Queues,
        errors=_BROKER,
    ),
    Operation(
        method="GET",
        path="/workers",
        do=_workers,
        scope=Scope.READ,
        summary="List the processes of workers",
        tag="worker",
        answer=Workers,
        errors=_BROKER,
    ),
    Operation(
        method="POST",
        path="/workers/{name}/quiet",
        do=_quiet,
        scope=Scope.ADMIN,
        summary="Have a worker take no new steps; what runs goes on",
        tag="worker",
        body=Order,
        answer=Answers,
        errors=_LETTER,
    ),
    Operation(
        method="POST",
        path="/workers/{name}/resume",
        do=_resume,
        scope=Scope.ADMIN,
        summary="Have a worker take new steps again",
        tag="worker",
        body=Order,
        answer=Answers,
        errors=_LETTER,
    ),
    Operation(
        method="POST",
        path="/workers/{name}/ping",
        do=_ping,
        scope=Scope.READ,
        summary="Ask the processes of a worker how they stand now",
        tag="worker",
        answer=Answers,
        errors=_LETTER,
    ),
    Operation(
        method="GET",
        path="/dead-letters",
        do=_letters,
        scope=Scope.READ,
        summary="List dead letters",
        description=_SEEN,
        tag="dead_letter",
        query=LetterQuery,
        answer=Letters,
        errors=_BROKER,
    ),
    Operation(
        method="GET",
        path="/dead-letters/{letter_id}",
        do=_letter,
        scope=Scope.READ,
        summary="Get a dead letter with its properties and body",
        description=_SEEN,
        tag="dead_letter",
        query=BodyQuery,
        answer=FullLetter,
        errors=_LETTER,
    ),
    Operation(
        method="POST",
        path="/dead-letters/{letter_id}/redrive",
        do=_redrive,
        scope=Scope.ADMIN,
        summary="Send a dead letter back to where it came from",
        tag="dead_letter",
        body=Redrive,
        status=204,
        errors=(409, *_LETTER),
    ),
    Operation(
        method="DELETE",
        path="/dead-letters/{letter_id}",
        do=_drop,
        scope=Scope.ADMIN,
        summary="Throw a dead letter away",
        tag="dead_letter",
        query=Dropping,
        status=204,
        errors=_LETTER,
    ),
)
