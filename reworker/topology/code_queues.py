"""The queues of code packages, one each; made by the core before the first task of a code."""

from __future__ import annotations

from reworker.bus.contract import BindingSpec, ExchangeSpec, QueueSpec, TopologySpec
from reworker.topology import names

#: highest priority of a message in these queues; the broker gives out the highest first.
MOST_PRIORITY = 2
#: how the queues of codes begin, and what a worker of all of them listens to.
CODE_PREFIX, CODES_KEY = f"{names.WORKER_PREFIX}code.", f"{names.WORKER_PREFIX}code.#"


def code_queue(code_id: str) -> str:
    """Return the queue of a code."""
    return f"{CODE_PREFIX}{code_id}"


def code_topology(code_id: str, exchange: str = names.EXCHANGE) -> TopologySpec:
    """Return what a code needs on the broker: its queue, where the broker sorts by priority."""
    queue = code_queue(code_id)
    arguments = {"x-max-priority": MOST_PRIORITY, "x-dead-letter-exchange": names.DEAD_EXCHANGE}
    return TopologySpec(
        exchanges=(ExchangeSpec(exchange),),
        queues=(QueueSpec(queue, arguments=arguments),),
        bindings=(BindingSpec(exchange, queue, queue),),
    )
