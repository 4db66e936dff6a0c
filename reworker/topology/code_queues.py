"""The queues of code packages, one each; made by the core before the first task, deleted after the last."""

from __future__ import annotations

import re

from reworker.bus.contract import BindingSpec, Bus, ExchangeSpec, QueueSpec, TopologySpec
from reworker.topology import names

#: highest priority of a message in these queues; the broker gives out the highest first.
MOST_PRIORITY = 2
#: how the queues of codes begin, and what a worker of all of them listens to.
CODE_PREFIX, CODES_KEY = f"{names.WORKER_PREFIX}code.", f"{names.WORKER_PREFIX}code.#"
#: first word of the commands of codes, and name of their workers.
CODE_COMMAND = "code"
#: their names, as a regular expression.
CODE_PATTERN = f"{re.escape(CODE_PREFIX)}[0-9a-f]{{24}}"
_NAME = re.compile(rf"{CODE_PATTERN}(\.retry\.[0-9]+s)?")


def code_queue(code_id: str) -> str:
    """Return the queue of a code."""
    return f"{CODE_PREFIX}{code_id}"


def is_code_queue(name: str) -> bool:
    """Tell whether this is the queue of a code, or one in which its messages wait for another try."""
    return _NAME.fullmatch(name) is not None


def code_topology(code_id: str, exchange: str = names.EXCHANGE) -> TopologySpec:
    """Return what a code needs on the broker: its queue, where the broker sorts by priority."""
    queue = code_queue(code_id)
    # Quorum queues, which may be the broker's default, sort by priority in a way of their own, or not at all.
    arguments = {
        "x-queue-type": "classic",
        "x-max-priority": MOST_PRIORITY,
        "x-dead-letter-exchange": names.DEAD_EXCHANGE,
    }
    return TopologySpec(
        exchanges=(ExchangeSpec(exchange),),
        queues=(QueueSpec(queue, arguments=arguments),),
        bindings=(BindingSpec(exchange, queue, queue),),
    )


def delete_code_queue(bus: Bus, code_id: str) -> bool:
    """Delete the queue of a code that is no more, and declare it no more; waits for the broker.

    Ask when no task of the code is active: a message that a worker has taken is not in its queue, and would
    have none to come back to.

    Returns:
        whether it is gone; False while it holds messages.

    Raises:
        BusError: the broker is away, or refuses it.
    """
    return bus.delete(code_queue(code_id))
