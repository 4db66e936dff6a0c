"""What each part of the system declares on the broker."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from reworker.bus.contract import BindingSpec, ExchangeSpec, QueueSpec, TopologySpec
from reworker.topology import names

#: every queue of ours dead-letters into one place that the operator watches.
DEAD_LETTER: dict[str, Any] = {"x-dead-letter-exchange": names.DEAD_EXCHANGE}

_COMMON_EXCHANGES = (
    ExchangeSpec(names.EXCHANGE),
    ExchangeSpec(names.CONTROL_EXCHANGE),
    ExchangeSpec(names.DEAD_EXCHANGE, kind="fanout"),
)
_DEAD_QUEUE = QueueSpec(names.DEAD_QUEUE)
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


def core_topology(
    exchange: str = names.EXCHANGE, job_queue: str = names.JOB_QUEUE, *, queue_type: str = ""
) -> TopologySpec:
    """Return what the core declares: replies, output and job requests, and the dead letters.

    Args:
        exchange: topic exchange of steps, output and notifications.
        job_queue: queue of job requests.
        queue_type: of its own queues, see `queue_arguments`. The one of dead letters keeps the broker's
            default, because workers declare it too, and all have to agree.
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


def queue_arguments(queue_type: str = "") -> dict[str, Any]:
    """Return the arguments of a queue of ours.

    Args:
        queue_type: classic or quorum; empty is the broker's default.
    """
    return DEAD_LETTER | ({"x-queue-type": queue_type} if queue_type else {})


def _exchanges(exchange: str) -> tuple[ExchangeSpec, ...]:
    return (ExchangeSpec(exchange), *(one for one in _COMMON_EXCHANGES if one.name != exchange))
