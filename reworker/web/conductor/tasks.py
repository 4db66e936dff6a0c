"""Poll and update: what each task costs at least, so all of it stays on the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from reworker.core.principal import Principal
from reworker.gateway.contract import (
    Offer,
    Poll,
    Standing,
    TaskType,
    Update,
    Updated,
)
from reworker.web.conductor.authority import require_worker
from reworker.web.conductor.definitions import require_queue
from reworker.web.conductor.documents import TaskDocument, task_document
from reworker.web.conductor.exchange import TEXT, Answer, BodyTooLarge, Exchange
from reworker.web.conductor.parts import Parts
from reworker.web.conductor.results import (
    Heartbeat,
    oversized_result,
    parsed_result,
    patient_json,
    result_of,
)
from reworker.web.errors import RETRY_AFTER_S, HttpProblem

#: tasks that one poll may ask for; more are not refused, but not given.
BATCH_COUNT = 100
#: milliseconds that a client may want to wait. Source: Conductor, whose words the answer has.
LONGEST_POLL_MS = 5000
#: characters of the name of a worker that are kept.
WORKER_CHARACTERS = 200
_NOTHING = Answer(204)

_encode = msgspec.json.Encoder().encode


async def poll_one(parts: Parts, exchange: Exchange, who: Principal) -> Answer:
    """Answer with a task, or 204."""
    poll = await _polled(parts, exchange, who, 1)
    return _found(parts, poll) if poll is not None and poll.offers else _NOTHING


async def poll_batch(parts: Parts, exchange: Exchange, who: Principal) -> Answer:
    """Answer with a list of tasks, which may be empty."""
    if _number(exchange, "timeout", 100) > LONGEST_POLL_MS:
        raise HttpProblem(400, "invalid-value", "Long Poll Timeout value cannot be more than 5 seconds")
    count = min(max(_number(exchange, "count", 1), 1), BATCH_COUNT)
    poll = await _polled(parts, exchange, who, count)
    if poll is None or not poll.offers:
        return Answer(body=b"[]")
    return _found(parts, poll, is_batch=True)


async def _polled(parts: Parts, exchange: Exchange, who: Principal, count: int) -> Poll | None:
    """Return what was found; None when the client has gone, or everything ends."""
    require_worker(who)
    parts.book.look()
    kind = TaskType(exchange.path["type"], exchange.query("domain"))
    require_queue(kind, "address of the poll")
    worker_id = exchange.query("workerid")[:WORKER_CHARACTERS]
    done, on_done = told_to_loop()
    poll = parts.gateway.poll(
        kind, worker_id, on_done, count=count, hold_s=parts.settings.hold_s, owner=who.token_id
    )
    parts.waiting.add(done)
    try:
        if await exchange.waited(done) and not done.cancelled():
            return poll
    except asyncio.CancelledError:
        poll.cancel()
        raise
    finally:
        parts.waiting.discard(done)
    poll.cancel()
    return None


def told_to_loop() -> tuple[asyncio.Future[Any], Callable[[Any], None]]:
    """Return a result to wait for, and what another thread calls when it is there."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def resolve(result: Any) -> None:
        if not done.done():
            done.set_result(result)

    def on_done(result: Any) -> None:
        loop.call_soon_threadsafe(resolve, result)

    return done, on_done


async def update(parts: Parts, exchange: Exchange, who: Principal) -> Answer:
    """Take a result; the answer is the id of the task."""
    require_worker(who)
    said = await _said(parts, exchange)
    if isinstance(said, Heartbeat):
        parts.gateway.extend(said.task_id)
    else:
        await _updated(parts, said)
    return Answer(body=said.task_id.encode("utf-8", "replace"), media_type=TEXT)


async def update_with_next(parts: Parts, exchange: Exchange, who: Principal) -> Answer:
    """Take a result; the answer is the next task of the type, or 204."""
    require_worker(who)
    said = await _said(parts, exchange, takes_next=True)
    if isinstance(said, Heartbeat):
        parts.gateway.extend(said.task_id)
        return _NOTHING
    poll = (await _updated(parts, said)).next_poll
    return _found(parts, poll) if poll is not None and poll.offers else _NOTHING


async def _said(parts: Parts, exchange: Exchange, *, takes_next: bool = False) -> Update | Heartbeat:
    """Return what a worker says; of what is too large, that its task failed: refused, it would come again.

    Raises:
        HttpProblem: it cannot be read, or is too large and not about a task that somebody has here.
    """
    try:
        return parsed_result(await exchange.body(), takes_next=takes_next)
    except BodyTooLarge as error:
        await exchange.read_on(error)
        end = b"" if error.has_more else error.end
        found = oversized_result(error.beginning, end, error.detail)
        if found is None or parts.gateway.find(found.task_id) is None:
            raise
        return found


async def update_by_name(parts: Parts, exchange: Exchange, who: Principal) -> Answer:
    """Take the outputs of a task that is named by its workflow and its name within that."""
    require_worker(who)
    task_id = parts.recent.find(exchange.path["workflow"], exchange.path["reference"])
    body = await exchange.body()
    found: dict[str, Any] = {"status": exchange.path["status"]}
    found["outputData"] = patient_json(body) if body.strip() else None
    worker_id = exchange.query("workerid")[:WORKER_CHARACTERS]
    await _updated(parts, Update(task_id, result_of(found), worker_id))
    return Answer(body=task_id.encode("utf-8", "replace"), media_type=TEXT)


async def _updated(parts: Parts, said: Update) -> Updated:
    """Return how an update was taken.

    Raises:
        HttpProblem: 503 nobody could be told; the worker should say it again.
    """
    done, on_done = told_to_loop()
    parts.gateway.update(said, on_done)
    updated: Updated = await done
    if updated.standing is Standing.UNSENT:
        reason = "the broker could not be told of the result in time; say it again"
        raise HttpProblem(503, "broker-away", reason, headers={"Retry-After": str(RETRY_AFTER_S)})
    return updated


def _found(parts: Parts, poll: Poll, *, is_batch: bool = False) -> Answer:
    """Return the answer with what was found, which goes back when it cannot be told."""
    try:
        documents = [_document(parts, one) for one in poll.offers]
        return Answer(body=_encode(documents if is_batch else documents[0]), poll=poll)
    except BaseException:
        poll.cancel()
        raise


def _document(parts: Parts, offer: Offer) -> TaskDocument:
    parts.recent.note(offer)
    return task_document(offer, parts.book.template(offer.type.name))


def _number(exchange: Exchange, name: str, default: int) -> int:
    """Return a whole number of the address.

    Raises:
        HttpProblem: 400 it is none.
    """
    text = exchange.query(name) or str(default)
    try:
        return int(text[:20])
    except ValueError as error:
        raise HttpProblem(400, "invalid-value", f"{name} is a whole number, found {text[:60]!a}") from error
