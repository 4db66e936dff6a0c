"""What each part of the system declares on the broker."""

from __future__ import annotations

from collections.abc import Iterable

from reworker.bus.contract import BindingSpec, ExchangeSpec, QueueSpec, TopologySpec
from reworker.topology import names

#: every queue of ours dead-letters into one place that the operator watches.
DEAD_LETTER = {"x-dead-letter-exchange": names.DEAD_EXCHANGE}

_COMMON_EXCHANGES = (
    ExchangeSpec(names.EXCHANGE),
    ExchangeSpec(names.CONTROL_EXCHANGE),
    ExchangeSpec(names.DEAD_EXCHANGE, kind="fanout"),
)
_DEAD_QUEUE = QueueSpec(names.DEAD_QUEUE)
_DEAD_BINDING = BindingSpec(names.DEAD_EXCHANGE, names.DEAD_QUEUE, "")


def worker_topology(queue: str, routing_keys: Iterable[str], exchange: str = names.EXCHANGE) -> TopologySpec:
    """Return what one worker type declares: its queue, bound with each key, and the dead letters."""
    return TopologySpec(
        exchanges=_exchanges(exchange),
        queues=(_DEAD_QUEUE, QueueSpec(queue, arguments=DEAD_LETTER)),
        bindings=(_DEAD_BINDING, *(BindingSpec(exchange, queue, key) for key in routing_keys)),
    )


def core_topology(exchange: str = names.EXCHANGE, job_queue: str = names.JOB_QUEUE) -> TopologySpec:
    """Return what the core declares: replies, output and job requests, and the dead letters."""
    own = (names.REPLY_QUEUE, names.OUTPUT_QUEUE, job_queue)
    return TopologySpec(
        exchanges=_exchanges(exchange),
        queues=(_DEAD_QUEUE, *(QueueSpec(name, arguments=DEAD_LETTER) for name in own)),
        bindings=(
            _DEAD_BINDING,
            BindingSpec(exchange, names.OUTPUT_QUEUE, names.OUTPUT_KEY),
            BindingSpec(exchange, job_queue, names.JOB_KEY),
        ),
    )


def _exchanges(exchange: str) -> tuple[ExchangeSpec, ...]:
    return (ExchangeSpec(exchange), *(one for one in _COMMON_EXCHANGES if one.name != exchange))
