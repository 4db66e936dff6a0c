"""The broker: queues, workers, and dead letters to look at, send back and throw away."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from reworker.core.bus_look import QueueLook, WorkerLook
from reworker.core.principal import Scope
from reworker.core.roll_call import Heard
from reworker.errors import Unroutable
from reworker.messages import Pong
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
)
