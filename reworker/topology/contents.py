"""What a topology file says, read and written out."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from reworker.bus.contract import DeclareMode, TopologySpec
from reworker.topology import names

#: queues that are ours by their name; `prune` looks at them.
SCOPE = (f"{names.WORKER_PREFIX}*",)


class WorkerEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One worker type of a file.

    Args:
        user: login name of its processes.
        suffix: names its control keys.
        queue: full name of its queue.
        routing_keys: keys that the queue is bound with.
        exchange: where it publishes output and notifications.
        declare: what its processes do at their start.
        queues_key: of a worker of many queues, the routing key that matches the names of all of them; it has
            no queue of its own then, and others make those.
    """

    user: str
    suffix: str
    queue: str
    routing_keys: tuple[str, ...]
    exchange: str
    declare: DeclareMode
    queues_key: str = ""


class CoreEntry(msgspec.Struct, frozen=True, kw_only=True):
    """The core: its login name, its exchange, and its queue of job requests."""

    user: str
    exchange: str
    job_queue: str


class ClientEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A program that requests jobs and does nothing else: its login name, and where it publishes them."""

    user: str
    exchange: str


class GatewayEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A server that hands steps to workers that poll: its login name, its exchange, and what is polled.

    Args:
        types: task types that may be polled, in any domain or none; nothing is all of them.
    """

    user: str
    exchange: str
    types: tuple[str, ...] = ()


class TopologyFile(msgspec.Struct, frozen=True, kw_only=True):
    """What a file says.

    Args:
        path: of the file.
        wanted: everything that has to be on the broker, worker types and the core written out.
        lines: (kind, name) -> line in the file, for exchanges and queues.
        scope: patterns of queue names that are ours, with ``*`` and ``?``.
        workers: worker types.
        cores: the core, if the file has it.
        clients: programs that request jobs.
        gateways: servers that are polled.
    """

    path: str
    wanted: TopologySpec
    lines: Mapping[tuple[str, str], int]
    scope: tuple[str, ...] = SCOPE
    workers: tuple[WorkerEntry, ...] = ()
    cores: tuple[CoreEntry, ...] = ()
    clients: tuple[ClientEntry, ...] = ()
    gateways: tuple[GatewayEntry, ...] = ()
