"""What a gateway is told, and the settings of a worker that each of its task types stands for."""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

from reworker.bus.contract import DeclareMode
from reworker.errors import ConfigError
from reworker.gateway.contract import LateResult, TaskType
from reworker.jobs.returning import DELAYS_S
from reworker.jobs.settings import DOMAIN, QUEUE_NAME, WorkerSettings
from reworker.layers import Kind
from reworker.topology import names
from reworker.topology.code_queues import CODE_PREFIX

#: bytes of the name of a queue. Source: AMQP 0-9-1, short strings.
NAME_LIMIT_BYTES = 255
#: task types whose queue is remembered: each poll asks for it.
KNOWN_COUNT = 4096
#: a queue of this form holds messages that wait for another try: who polled it would take them too early.
_RETRY_QUEUE = re.compile(r".*\.retry\.[0-9]+s(\..*)?")


class GatewaySettings(msgspec.Struct, frozen=True):
    """How a gateway leases steps.

    Args:
        exchange: topic exchange of steps and output.
        declare: what the first poll of a type does with its queue.
        queue_type: classic or quorum; empty is the broker's default.
        accept_from: users whose steps are handed out; nothing is everybody's.
        late_result: what becomes of a result whose lease is over.
        response_timeout_s: silence after which a lease is over, for types that say nothing.
        least_response_timeout_s: no type gets less: clients extend their leases only now and then.
        unsent_after_s: seconds after which a worker is told that the broker has not got its result yet.
        idle_close_s: seconds without a poll after which a type is forgotten, if nothing of it is leased.
        max_types: task types that may be polled at once.
        max_types_each: of these, by one token: whoever has it leaves some to others.
        make_way_s: seconds without a poll after which a type makes way for another one when there is no room.
        ledger: file of finished attempts and of leases, so that a restart loses none; empty is memory.
    """

    exchange: str = names.EXCHANGE
    declare: DeclareMode = DeclareMode.DECLARE
    queue_type: str = ""
    accept_from: tuple[str, ...] = ()
    late_result: LateResult = LateResult.DROP
    response_timeout_s: float = 600.0
    least_response_timeout_s: float = 10.0
    unsent_after_s: float = 8.0
    idle_close_s: float = 600.0
    max_types: int = 1_000
    max_types_each: int = 500
    make_way_s: float = 60.0
    ledger: str = ""


def lane_settings(settings: GatewaySettings, kind: TaskType) -> WorkerSettings:
    """Return the settings of the worker that a task type stands for.

    Raises:
        ConfigError: the type or the domain cannot be the name of a queue.
    """
    queue = queue_of(kind)
    return WorkerSettings(
        suffix=kind.name,
        queue=queue,
        routing_keys=(queue,),  # named like the key
        domain=kind.domain,
        exchange=settings.exchange,
        declare=settings.declare,
        queue_type=settings.queue_type,
        accept_from=settings.accept_from,
        on_redelivery="run",  # of level 1: whoever has lost its worker is polled again
        ledger=settings.ledger,
    )


@lru_cache(KNOWN_COUNT)
def queue_of(kind: TaskType) -> str:
    """Return the queue of a task type.

    Raises:
        ConfigError: the type or the domain cannot be the name of a queue.
    """
    queue = names.worker_queue(_checked("task type", kind.name, QUEUE_NAME), kind.domain)
    if kind.domain:
        _checked("domain", kind.domain, QUEUE_NAME)
    if _RETRY_QUEUE.fullmatch(queue):
        raise ConfigError(f"{queue:.80} is kept for messages that wait for another try")
    if queue.startswith(CODE_PREFIX):
        raise ConfigError(f"{queue:.80} is kept for tasks of code packages, which have workers of their own")
    longest = max(names.polled_queue(queue), names.retry_queue(queue, DELAYS_S[-1]), key=len)
    if len(longest.encode()) > NAME_LIMIT_BYTES:
        room = NAME_LIMIT_BYTES - len(longest.encode()) + len(queue.encode())
        raise ConfigError(f"{queue:.80}... is longer than the {room} bytes that the name of a queue may have")
    if kind.domain:
        _checked("domain", kind.domain, DOMAIN)  # last: the reasons above say more
    return queue


def _checked(what: str, name: str, kind: Kind) -> str:
    try:
        kind.parse(name)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{what}: expected {kind.allowed}, found {name!r:.80}") from error
    if not name.isprintable() or not name.strip("."):
        raise ConfigError(f"{what}: expected a name of printable characters, found {name!r:.80}")
    return name
