"""A broker's state as plain dicts, for tests and for looking at it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from reworker.broker.connection import Connection
from reworker.broker.queues import Queue
from reworker.broker.vhost import VHost


def describe(vhosts: dict[str, VHost], connections: Iterable[Connection]) -> dict[str, Any]:
    """Return the state of a broker.

    ::

        {"connections": [{"user": str, "channels": int, "unacked": int, "throttled": bool}],
         "vhosts": {name: {"queues": {name: {...}}, "exchanges": {name: type}, "bindings": [{...}]}}}
    """
    return {
        "connections": [_connection(connection) for connection in connections],
        "vhosts": {name: _vhost(vhost) for name, vhost in vhosts.items()},
    }


def _connection(connection: Connection) -> dict[str, Any]:
    channels = connection.channels.values()
    return {
        "user": connection.user,
        "channels": len(channels),
        "unacked": sum(len(channel.ledger.unacked) for channel in channels),
        "throttled": connection.is_throttled,
    }


def _vhost(vhost: VHost) -> dict[str, Any]:
    return {
        "queues": {name: _queue(queue) for name, queue in vhost.queues.items()},
        "exchanges": {name: exchange.kind for name, exchange in vhost.exchanges.items()},
        "bindings": [
            {
                "source": one.source,
                "kind": one.kind,
                "destination": one.destination,
                "routing_key": one.routing_key,
            }
            for exchange in vhost.exchanges.values()
            for one in exchange.bindings
        ],
    }


def _queue(queue: Queue) -> dict[str, Any]:
    return {
        "ready": queue.ready_count,
        "unacked": queue.unacked_count,
        "consumers": [consumer.tag for consumer in queue.turns.consumers],
        "durable": queue.durable,
        "exclusive": queue.owner is not None,
        "auto_delete": queue.auto_delete,
        "arguments": dict(queue.arguments),
    }
