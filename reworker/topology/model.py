"""What each part of the system declares on the broker."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from reworker.bus.contract import BindingSpec, ExchangeSpec, QueueSpec, TopologySpec
from reworker.topology import names

#: every queue of ours dead-letters into one place that the operator watches.
DEAD_LETTER: dict[str, Any] = {"x-dead-letter-exchange": names.DEAD_EXCHANGE}

#: seconds a message waits for its next try, each a queue of its own: where all have one time to live, the
#: head is always the first to go; else short waits would stand behind long ones.
RETRY_DELAYS_S = (1, 2, 3, 5, 10, 20, 30, 60, 120, 300, 900, 3600)
#: milliseconds after which an unused queue of that kind goes away, on top of its delay.
RETRY_IDLE_MS = 3_600_000

_COMMON_EXCHANGES = (
    ExchangeSpec(names.EXCHANGE),
    ExchangeSpec(names.CONTROL_EXCHANGE),
    ExchangeSpec(names.DEAD_EXCHANGE, kind="fanout"),
)
#: classic whatever the virtual host's default is: a quorum queue of RabbitMQ 4.0 to 4.2 counts each look at a
#: letter, and throws it away after some 20. Brokers take one that was declared without a type for the same.
_DEAD_QUEUE = QueueSpec(names.DEAD_QUEUE, arguments={"x-queue-type": "classic"})
_DEAD_BINDING = BindingSpec(names.DEAD_EXCHANGE, names.DEAD_QUEUE, "")


#: types of queues that can be asked for; the broker has a default of its own.
QUEUE_TYPES = ("classic", "quorum")


def worker_topology(
    queue: str, routing_keys: Iterable[str], exchange: str = names.EXCHANGE, *, queue_type: str = ""
) -> TopologySpec:
    """Return what one worker type declares: its queue, bound with each key, and the dead letters.

    Args:
        queue: full name of its queue.
        routing_keys: keys it is bound with.
        exchange: topic exchange of steps, output and notifications.
        queue_type: see `queue_arguments`.
    """
    return TopologySpec(
        exchanges=_exchanges(exchange),
        queues=(_DEAD_QUEUE, QueueSpec(queue, arguments=queue_arguments(queue_type))),
        bindings=(_DEAD_BINDING, *(BindingSpec(exchange, queue, key) for key in routing_keys)),
    )


def shared_topology(exchange: str = names.EXCHANGE) -> TopologySpec:
    """Return what all declare, whatever queue of their own they have: the exchanges and the dead letters."""
    return TopologySpec(exchanges=_exchanges(exchange), queues=(_DEAD_QUEUE,), bindings=(_DEAD_BINDING,))


def core_topology(
    exchange: str = names.EXCHANGE, job_queue: str = names.JOB_QUEUE, *, queue_type: str = ""
) -> TopologySpec:
    """Return what the core declares: replies, output and job requests, and the dead letters.

    Args:
        exchange: topic exchange of steps, output and notifications.
        job_queue: queue of job requests.
        queue_type: of its own queues, see `queue_arguments`. The one of dead letters is classic in any case,
            because workers declare it too, and all have to agree.
    """
    own = (names.REPLY_QUEUE, names.OUTPUT_QUEUE, job_queue)
    arguments = queue_arguments(queue_type)
    return TopologySpec(
        exchanges=_exchanges(exchange),
        queues=(_DEAD_QUEUE, *(QueueSpec(name, arguments=arguments) for name in own)),
        bindings=(
            _DEAD_BINDING,
            BindingSpec(exchange, names.OUTPUT_QUEUE, names.OUTPUT_KEY),
            BindingSpec(exchange, job_queue, names.JOB_KEY),
        ),
    )


def retry_queue(queue: str, delay_s: int, queue_type: str = "", *, is_lasting: bool = False) -> QueueSpec:
    """Return a queue in which messages wait, to go on to `queue` after a delay.

    Args:
        queue: where they go.
        delay_s: one of `RETRY_DELAYS_S`.
        queue_type: see `queue_arguments`.
        is_lasting: it stays when nobody uses it: for workers that may not declare it again.
    """
    arguments: dict[str, Any] = {
        "x-message-ttl": delay_s * 1000,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": queue,
    }
    if not is_lasting:
        arguments["x-expires"] = delay_s * 1000 + RETRY_IDLE_MS
    if queue_type:
        arguments["x-queue-type"] = queue_type
    return QueueSpec(names.retry_queue(queue, delay_s), arguments=arguments)


def queue_arguments(queue_type: str = "") -> dict[str, Any]:
    """Return the arguments of a queue of ours.

    Args:
        queue_type: classic or quorum; empty is the broker's default.
    """
    return DEAD_LETTER | ({"x-queue-type": queue_type} if queue_type else {})


def _exchanges(exchange: str) -> tuple[ExchangeSpec, ...]:
    return (ExchangeSpec(exchange), *(one for one in _COMMON_EXCHANGES if one.name != exchange))
