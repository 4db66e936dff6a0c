"""Copies of a delivery: given back to its queue for another worker, or sent to wait for its next try."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from reworker.bus.contract import (
    DeclareMode,
    Delivery,
    Outcome,
    Outgoing,
    Properties,
    Published,
    TopologySpec,
    Verdict,
)
from reworker.errors import TopologyMismatch
from reworker.jobs.settings import WorkerSettings
from reworker.jobs.station import Publisher
from reworker.messages import NOT_AFTER_HEADER
from reworker.topology.model import RETRY_DELAYS_S, retry_queue
from reworker.topology.names import owes_status
from reworker.topology.refusal import SENDER_HEADER, without_brokers

#: seconds a message waits at the broker: rounded up to one of these, each a queue of its own.
DELAYS_S = RETRY_DELAYS_S
#: reply code for a queue that is there with other arguments. Source: AMQP 0-9-1, constants.
PRECONDITION_FAILED = 406
#: header that counts how often a message was given back.
RETURNS_HEADER = "x-returns"
#: header that counts the tries that have ended.
TRIES_HEADER = "x-tries"
#: header that counts those of them that had not failed: the job was not over.
GOING_ON_HEADER = "x-tries-going-on"
#: header that counts how often a worker was lost that had the message; brokers without a count need it.
LOST_HEADER = "x-lost"
#: header in which brokers with quorum queues count deliveries that came back.
DELIVERY_COUNT_HEADER = "x-delivery-count"
#: headers of a message that waits for its next try: why the last one ended, until when the step as a whole
#: may run, and when the next try is due when that is later than the longest wait.
ERROR_HEADER, UNTIL_HEADER, AT_HEADER = "x-retry-error", "x-retry-until", "x-retry-at"
#: header with the first routing key of output or a notification: nobody waits for an answer to it.
KEY_HEADER = "x-routing-key"
#: headers of a message that has been with a worker before: each is a reason to look closer.
PAST_HEADERS = frozenset(
    (RETURNS_HEADER, TRIES_HEADER, LOST_HEADER, KEY_HEADER, ERROR_HEADER, UNTIL_HEADER, AT_HEADER)
)


def has_past(delivery: Delivery) -> bool:
    """Tell whether a message has a header that a worker gave it; most have none, and need no look at each."""
    headers = delivery.properties.headers
    return bool(headers) and not PAST_HEADERS.isdisjoint(headers or ())


def number_in(delivery: Delivery, header: str) -> int:
    """Return the number in a header; 0 when there is none."""
    headers = delivery.properties.headers
    found = headers.get(header) if headers else None
    return found if isinstance(found, int) and not isinstance(found, bool) else 0


def returns_of(delivery: Delivery) -> int:
    """Return how often this message was given back before."""
    return number_in(delivery, RETURNS_HEADER)


def key_of(delivery: Delivery) -> str:
    """Return the routing key that a message had first: one that was given back comes by its queue's name."""
    headers: Mapping[str, Any] = delivery.properties.headers or {}
    key = headers.get(KEY_HEADER)
    return key if isinstance(key, str) and not owes_status(key) else delivery.routing_key


def sender_of(delivery: Delivery, accepted: Collection[str]) -> str | None:
    """Return which of these users sent a message first; None for anybody else.

    Who reads the header `SENDER_HEADER` must know that the message is a copy that a worker of its kind made.
    """
    user = delivery.properties.user_id
    if user not in accepted:
        user = (delivery.properties.headers or {}).get(SENDER_HEADER)
    return user if isinstance(user, str) and user in accepted else None


def return_to_queue(
    bus: Publisher, delivery: Delivery, *, accepted: Collection[str] = (), is_begun: bool = False
) -> None:
    """Give a delivery back, unstarted, or to be done by another; any thread, returns at once.

    A step is published to its queue anew and the old delivery acknowledged when that is confirmed: a plain
    requeue would mark it as redelivered, which means that a worker may have been lost while running it. One
    that has this mark keeps it in another form. Output and notifications keep their place in the queue, but
    not where the broker counts that as a delivery: it would take them out of the queue in the end.

    Args:
        bus: publishes.
        delivery: to give back.
        accepted: users that the worker accepts; see `copy_of`.
        is_begun: it has been begun in time, so that it may go on at any time.
    """
    is_step = owes_status(key_of(delivery))
    if not is_step and not number_in(delivery, DELIVERY_COUNT_HEADER):
        delivery.settle(Verdict.REQUEUE)
        return

    def on_done(result: Published) -> None:
        delivery.settle(Verdict.ACK if result.outcome is Outcome.CONFIRMED else Verdict.REQUEUE)

    changes: dict[str, Any] = {RETURNS_HEADER: returns_of(delivery) + 1}
    if is_begun:
        changes[NOT_AFTER_HEADER] = None
    elif delivery.redelivered and is_step:  # others are so by being put back
        changes[LOST_HEADER] = number_in(delivery, LOST_HEADER) + 1
    bus.publish(copy_of(delivery, delivery.queue, changes, accepted=accepted), on_done)


def rounded_s(delay_s: float) -> int:
    """Return for how long a message really waits: the next of the fixed delays, an hour at most."""
    return next((one for one in DELAYS_S if one >= delay_s), DELAYS_S[-1])


def declare_delay(bus: Publisher, settings: WorkerSettings, queue: str, delay_s: int) -> str:
    """Declare a queue whose messages go to `queue` after a delay, and return its name.

    Args:
        bus: declares; waits for the broker, so not on the I/O thread.
        settings: say whether to declare or only to look, and the type of queues.
        queue: where messages go afterwards.
        delay_s: one of the fixed delays.

    Raises:
        BusError: it cannot be declared.
    """
    wanted = retry_queue(queue, delay_s, settings.queue_type)
    spec = TopologySpec(queues=(wanted,))
    try:
        bus.declare(spec, settings.declare)
    except TopologyMismatch as error:
        if error.reply_code != PRECONDITION_FAILED:
            raise
        # Those of `reworker topology apply` last for ever, those of another queue type let wait as well.
        bus.declare(spec, DeclareMode.VERIFY)
    return wanted.name


def copy_of(
    delivery: Delivery,
    queue: str,
    changes: Mapping[str, Any] | None = None,
    *,
    accepted: Collection[str] = (),
    body: bytes | None = None,
) -> Outgoing:
    """Return the message of a delivery, addressed to a queue.

    It is sent twice, when a connection is lost before its confirm, only if it may be done twice.

    Args:
        delivery: to copy.
        queue: where it goes.
        changes: of its headers; None as a value takes one away.
        accepted: users that the worker accepts: the copy says which of them sent the message first.
        body: instead of its own.
    """
    old, key = delivery.properties, key_of(delivery)
    headers = {**without_brokers(old.headers), **(changes or {})}
    headers[SENDER_HEADER] = sender_of(delivery, accepted)
    if not owes_status(key):
        headers[KEY_HEADER] = key
    properties = Properties(
        content_type="application/json",
        content_encoding=old.content_encoding,
        headers={name: value for name, value in headers.items() if value is not None},
        delivery_mode=2,
        priority=old.priority,
        correlation_id=old.correlation_id,
        reply_to=old.reply_to,
        message_id=old.message_id,
        app_id=old.app_id,
    )
    may_repeat = headers.get("x-idempotent") is True or not owes_status(key)
    return Outgoing("", queue, delivery.body if body is None else body, properties, may_resend=may_repeat)
