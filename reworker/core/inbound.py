"""What reaches the core, as items that a transaction takes in: replies and the results of publishing.

An item becomes events of a `Batch`; after the COMMIT it is settled, and when it alone fails it is set aside.
"""

from __future__ import annotations

import hashlib
import logging
import queue
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

from reworker import messages
from reworker.bus.contract import Delivery, Outcome, Published, Verdict
from reworker.bus.received import correlation_of
from reworker.core.batch import Applied, Batch, Request
from reworker.core.counters import Counters
from reworker.core.dead_letters import DeadLetters
from reworker.core.publisher import Publisher
from reworker.core.tasks import results
from reworker.errors import MessageError, UndecodableMessage
from reworker.fsm.events import (
    DispatchConfirmed,
    DispatchUnknown,
    DispatchUnroutable,
    Event,
    ReplyCancelled,
    ReplyCompleted,
    ReplyFailed,
    ReplyRunning,
    ReplyStarted,
    ReplyUnknown,
)
from reworker.ids import attempt_id, parse_attempt_id
from reworker.logs import escaped
from reworker.storage.contract import OutboxRow
from reworker.topology import names

logger = logging.getLogger(__name__)

#: seconds that a confirm, or `started`, waits for company: most often the next reply is close behind, and
#: one transaction does for all.
LINGER_S = 0.01
#: seconds before a message that did not reach the broker is tried again.
REPUBLISH_S = 1.0
#: seconds between two tries to send the result of a task to a queue that is not there, and how long it is
#: tried: whoever is to take it may have been started late, or never.
RESULT_AGAIN_S, RESULT_KEPT = 60.0, timedelta(days=1)
#: replies that nothing follows from.
_UNHURRIED = (ReplyStarted, ReplyRunning)
#: characters of a message id that are kept; AMQP allows 255 bytes, which escaping may make more of.
ID_CHARACTERS = 255
#: characters of a worker's name that are kept.
WORKER_CHARACTERS = 200


class Item(Protocol):
    """Something to take in; its methods are called in this order, by the core's thread."""

    def prepare(self, now: datetime) -> bool:
        """Decode it; False when it was refused and there is nothing to do."""
        ...

    @property
    def request(self) -> Request | None:
        """The event it brings, if it does."""
        ...

    @property
    def can_wait(self) -> bool:
        """Whether nothing follows from it in a hurry, so that it may wait for company."""
        ...

    def apply(self, batch: Batch) -> None:
        """Put it into the transaction."""
        ...

    def settle(self) -> None:
        """Finish after the COMMIT."""
        ...

    def set_aside(self, error: Exception) -> None:
        """Finish after it alone could not be stored, through no fault of the database."""
        ...


class ReplyItem:
    """A worker's reply."""

    def __init__(self, delivery: Delivery, dead: DeadLetters, counters: Counters) -> None:
        self._delivery, self._dead, self._counters = delivery, dead, counters
        self.request: Request | None = None
        self._applied = Applied.CHANGED

    def prepare(self, now: datetime) -> bool:
        """Decode it; one that cannot be used goes to the dead letters."""
        self._counters.add("replies")
        try:
            self.request = self.request or reply_request(self._delivery, now)
        except MessageError as error:
            self._dead.refuse(self._delivery, str(error))
            return False
        return True

    @property
    def can_wait(self) -> bool:
        """Tell whether nothing follows from it in a hurry."""
        return self.request is not None and isinstance(self.request.event, _UNHURRIED)

    def apply(self, batch: Batch) -> None:
        """Fold its event."""
        if self.request is not None:
            self._applied = batch.apply(self.request).applied

    def settle(self) -> None:
        """Acknowledge it, or move it to the dead letters when nobody asked for it."""
        if self._applied is Applied.UNKNOWN:
            self._dead.refuse(self._delivery, "no such attempt: it is not of this core's database")
            return
        if self._applied is not Applied.CHANGED:
            self._counters.add(f"replies_{self._applied.value}")
        self._delivery.settle(Verdict.ACK)

    def set_aside(self, error: Exception) -> None:
        """Move it to the dead letters."""
        self._dead.refuse(self._delivery, f"it could not be stored: {error}")


class PublishedItem:
    """The result of publishing an outbox row."""

    def __init__(self, row: OutboxRow, result: Published, publisher: Publisher, counters: Counters) -> None:
        self.row, self.result = row, result
        self._publisher, self._counters = publisher, counters
        self.request: Request | None = None
        self._now: datetime | None = None

    def prepare(self, now: datetime) -> bool:
        """Find out what the result means."""
        self._now = now
        event = _event_of(self.row, self.result, now)
        if event is not None and self.row.deployment_id is not None:
            self.request = Request(self.row.deployment_id, event, is_kept=False)
        return True

    @property
    def can_wait(self) -> bool:
        """Tell whether nothing follows from it in a hurry."""
        return self.result.outcome is Outcome.CONFIRMED

    @property
    def retry_at(self) -> datetime | None:
        """Return when the row is to be published again, or None when it is done with."""
        if self.result.outcome is Outcome.CONFIRMED or self.request is not None or self._now is None:
            return None
        if self.result.outcome is not Outcome.RETURNED:
            return self._now + timedelta(seconds=REPUBLISH_S)
        if self.row.kind != results.KIND or self._now - self.row.created_at > RESULT_KEPT:
            return None
        return self._now + timedelta(seconds=RESULT_AGAIN_S)

    def apply(self, batch: Batch) -> None:
        """Remove the row and fold its event, or release it for another try."""
        if self.request is not None:
            batch.apply(self.request)
        if self.retry_at is not None:
            batch.changes.outbox_released.append((self.row.id, self.retry_at))
        else:
            batch.changes.outbox_removed.append(self.row.id)

    def settle(self) -> None:
        """Count it, and have the row published again if it has to be."""
        outcome = self.result.outcome
        self._publisher.finished(self.row)
        if self.retry_at is not None:
            self._publisher.poll_soon((self.retry_at - self._now).total_seconds() if self._now else 0.0)
        self._counters.add(f"published_{outcome.name.lower()}")
        if outcome is Outcome.RETURNED:
            again = "; it is kept and tried again" if self.retry_at is not None else ""
            logger.warning(
                "no queue takes %s %s (%s)%s", self.row.kind, self.row.id, self.row.routing_key, again
            )

    def set_aside(self, error: Exception) -> None:
        """Leave the row to its lease."""
        self._publisher.finished(self.row)
        self._counters.add("set_aside")
        logger.error("result of publishing %s could not be stored", self.row.id, exc_info=error)


class Intake:
    """The queue of items on their way to the core's thread; `put` from any thread."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Item | None] = queue.SimpleQueue()

    def put(self, item: Item) -> None:
        """Add an item; returns at once."""
        self._queue.put(item)

    def wake(self) -> None:
        """Let a waiting `take` return."""
        self._queue.put(None)

    def is_empty(self) -> bool:
        """Tell whether nothing waits."""
        return self._queue.empty()

    def take(self, limit: int, wait_s: float, prepare: Callable[[Item], bool]) -> list[Item]:
        """Return what is there and `prepare` lets pass.

        Args:
            limit: items at most.
            wait_s: how long to wait for the first; items that can wait get `LINGER_S` for company.
            prepare: called with each item as it is taken.
        """
        items: list[Item] = []
        timeout_s, is_patient = wait_s, wait_s > 0
        while len(items) < limit:
            try:
                item = self._queue.get(timeout_s > 0, timeout_s or None)
            except queue.Empty:
                break
            if item is not None and prepare(item):
                items.append(item)
                is_patient = is_patient and item.can_wait
            timeout_s = LINGER_S if is_patient and items else 0.0
        return items


def reply_request(delivery: Delivery, now: datetime) -> Request:
    """Return the event that a reply brings.

    A status that we do not know is the worker's failure, as it was in 2014, with words that say so.

    Raises:
        MessageError: too large, no JSON object, or without an attempt's id.
    """
    body, properties = delivery.body, delivery.properties
    if len(body) > messages.REPLY_LIMIT_BYTES:
        raise UndecodableMessage(f"reply has {len(body)} bytes, the limit is {messages.REPLY_LIMIT_BYTES}")
    own = parse_attempt_id(correlation_of(properties))
    if own is None:
        raise UndecodableMessage("reply has no attempt's id as its correlation id", body)
    deployment_id, number = own
    try:
        reply = messages.decode_reply(body, properties.content_encoding)
    except UndecodableMessage:
        raise
    except MessageError as error:
        reply = messages.ReceivedReply(status="failed", message=str(error))
    return Request(
        deployment_id,
        _REPLIES[reply.status](reply, number, now),
        dedup_key=_dedup_key(properties.message_id, attempt_id(*own), reply.status, body),
        actor=_worker_of(delivery),
        is_suspect=delivery.redelivered,
    )


def _dedup_key(message_id: str | None, attempt: str, status: str, body: bytes) -> str | None:
    """Return the reply's identity; the digest tells apart other content under a message id used twice."""
    if message_id:
        return f"{storable_id(message_id)}|{hashlib.blake2b(body, digest_size=8).hexdigest()}"
    return None if status == "running" else f"{attempt}|{status}"


def storable_id(message_id: str) -> str:
    """Return a message id as the database keeps it: its digest, when escaping makes it too long for that."""
    shown = escaped(message_id)
    if len(shown) <= ID_CHARACTERS:
        return shown
    return hashlib.sha256(message_id.encode("utf-8", "surrogatepass")).hexdigest()


def _worker_of(delivery: Delivery) -> str:
    headers = delivery.properties.headers or {}
    name = headers.get("x-worker") or delivery.properties.app_id or ""
    return escaped(str(name)[:WORKER_CHARACTERS])  # it may be no UTF-8, which no database keeps


def _text(reply: messages.Reply) -> str:
    """Return the words of a reply; workers of 2014 put them into `data`."""
    return reply.message or reply.reason or (reply.data if isinstance(reply.data, str) else "")


_REPLIES: dict[str, Callable[[messages.ReceivedReply, int, datetime], Event]] = {
    "started": lambda reply, number, at: ReplyStarted(at=at, attempt=number),
    "running": lambda reply, number, at: ReplyRunning(
        at=at,
        attempt=number,
        percent=reply.percent,
        message=reply.message or "",
        again_in_s=reply.again_in_s or 0.0,
    ),
    "completed": lambda reply, number, at: ReplyCompleted(
        at=at, attempt=number, message=reply.message or "", data=reply.data, extra=reply.extra
    ),
    "failed": lambda reply, number, at: ReplyFailed(
        at=at, attempt=number, message=_text(reply), data=reply.data, extra=reply.extra
    ),
    "unknown": lambda reply, number, at: ReplyUnknown(
        at=at, attempt=number, reason=_text(reply), unless_started=bool(reply.unless_started)
    ),
    "cancelled": lambda reply, number, at: ReplyCancelled(at=at, attempt=number, reason=_text(reply)),
}


def _event_of(row: OutboxRow, result: Published, at: datetime) -> Event | None:
    """Return what the result of publishing a step means for its attempt; None means: publish it again."""
    if row.attempt is None:
        return None
    if result.outcome is Outcome.CONFIRMED:
        return DispatchConfirmed(at=at, attempt=row.attempt)
    if result.outcome is Outcome.RETURNED:
        domain, _, worker = row.routing_key.removeprefix(names.WORKER_PREFIX).rpartition(".")
        where = f"in the domain {domain!r}" if domain else "here"
        reason = f"no queue is bound to {row.routing_key}: has the worker {worker!r} ever run {where}?"
        return DispatchUnroutable(at=at, attempt=row.attempt, reason=reason)
    if result.is_sent and not row.is_idempotent:
        reason = f"the broker did not confirm the step message: {result.reason or result.outcome.value}"
        return DispatchUnknown(at=at, attempt=row.attempt, reason=reason)
    return None
