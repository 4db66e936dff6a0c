"""The least rights on RabbitMQ of everybody a topology file names: workers, the core, clients.

Source: RabbitMQ's table of the rights that each AMQP method asks for. The default exchange is ``amq.default``
there. A passive declare asks for none, from RabbitMQ 4.3 on for any one of the three.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from reworker.bus.contract import DeclareMode
from reworker.errors import ConfigError
from reworker.topology import names
from reworker.topology.code_queues import CODE_PATTERN, CODES_KEY
from reworker.topology.contents import ClientEntry, CoreEntry, GatewayEntry, TopologyFile, WorkerEntry

DEFAULT_EXCHANGE = re.escape("amq.default")
#: ids in the names of control queues.
_ID = "[0-9a-f]{24}"
#: what is said of a core.
CORE_WORDS = "the core"
#: keys of notifications.
_NOTICES = f"{re.escape(names.NOTIFY_PREFIX)}.+"
#: matches no name.
NOTHING = "^$"


class TopicRights(msgspec.Struct, frozen=True):
    """Routing keys that a user may publish and bind with on one topic exchange, as regular expressions."""

    exchange: str
    write: str
    read: str


class Rights(msgspec.Struct, frozen=True):
    """What one user may do, as regular expressions on names.

    Args:
        user: login name.
        about: who it is, for people.
        configure: what may be declared and deleted.
        write: where may be published, and what may be bound.
        read: what may be consumed, and which exchanges be bound to.
        topics: narrows topic exchanges by routing key.
    """

    user: str
    about: str
    configure: str
    write: str
    read: str
    topics: tuple[TopicRights, ...] = ()


def rights_of(file: TopologyFile) -> tuple[Rights, ...]:
    """Return the rights of everybody in a file; several worker types may share a user.

    Raises:
        ConfigError: two of core, workers, clients and gateways share one: a user has one set of rights, and
            those of the core are not narrowed by routing keys.
    """
    workers: dict[str, list[WorkerEntry]] = {}
    for worker in file.workers:
        workers.setdefault(worker.user, []).append(worker)
    others: tuple[CoreEntry | ClientEntry | GatewayEntry, ...]
    others = (*file.cores, *file.clients, *file.gateways)
    users = [*workers, *(one.user for one in others)]
    for user in users:
        if users.count(user) > 1:
            who = "core, workers, clients and gateways"
            reason = f"two of {who} have the user {user!r}: give each a user of its own"
            raise ConfigError(reason, key="user", path=file.path)
    has_codes = any(one.queues_key == CODES_KEY for one in file.workers)
    has_domains = bool(file.gateways) or any(_is_in_domain(one) for one in file.workers)
    return (
        *(_of_core(one, has_codes=has_codes, has_domains=has_domains) for one in file.cores),
        *(_of_workers(user, entries) for user, entries in workers.items()),
        *(_of_client(one) for one in file.clients),
        *(_of_gateway(one) for one in file.gateways),
    )


def _of_core(core: CoreEntry, *, has_codes: bool, has_domains: bool) -> Rights:
    """It declares its exchanges and queues, publishes steps, cancels and answers, and reads its queues.

    One queue more is its own for the messages by which it sees that the broker delivers. Where there are
    workers of codes, it makes a queue for each code; that it dead-letters asks to read it, too. Where there
    are workers in domains, it looks at queues of workers; the right to write is the one that allows least.
    """
    codes = [CODE_PATTERN] if has_codes else []
    looked = [f"{re.escape(one)}.+" for one in (names.WORKER_PREFIX, names.POLLED_PREFIX) if has_domains]
    canary = f"{re.escape(names.control_queue(names.CORE, ''))}{_ID}"
    exchanges = (core.exchange, names.CONTROL_EXCHANGE, names.DEAD_EXCHANGE)
    own = (names.REPLY_QUEUE, names.OUTPUT_QUEUE, core.job_queue)
    declared = [re.escape(one) for one in (*exchanges, *own, names.DEAD_QUEUE)]
    bound_to = [re.escape(one) for one in (core.exchange, names.DEAD_EXCHANGE)]
    return Rights(
        user=core.user,
        about=CORE_WORDS,
        configure=_pattern([*declared, canary, *codes]),
        write=_pattern([*declared, DEFAULT_EXCHANGE, *codes, *looked]),
        read=_pattern([*map(re.escape, own), *bound_to, canary, *codes]),
    )


def _of_workers(user: str, workers: list[WorkerEntry]) -> Rights:
    exchanges = dict.fromkeys(one.exchange for one in workers)
    queues = ", ".join(dict.fromkeys(one.queues_key or one.queue for one in workers))
    return Rights(
        user=user,
        about=f"worker on {queues}; declare: {', '.join(sorted({one.declare.value for one in workers}))}",
        configure=_pattern(part for one in workers for part in _configured(one)),
        write=_pattern(part for one in workers for part in _written(one)),
        read=_pattern(part for one in workers for part in _read(one)),
        topics=(
            *(
                _topic(exchange, [one for one in workers if one.exchange == exchange])
                for exchange in exchanges
            ),
            TopicRights(
                names.CONTROL_EXCHANGE,
                NOTHING,
                _pattern(["ping", *(part for one in workers for part in _control_keys(one))]),
            ),
        ),
    )


def _is_in_domain(worker: WorkerEntry) -> bool:
    return not worker.queues_key and "." in worker.queue.removeprefix(names.WORKER_PREFIX)


def _is_declaring(worker: WorkerEntry) -> bool:
    return worker.declare is DeclareMode.DECLARE


def _control(worker: WorkerEntry) -> str:
    """Each process has a queue for cancels: declared, bound and read by itself."""
    return f"{re.escape(names.control_queue(worker.suffix, ''))}{_ID}"


def _waiting(worker: WorkerEntry) -> str:
    """A retry makes a queue to wait in; that it dead-letters into the worker's own asks to read it, too."""
    return f"{_queues(worker)}\\.retry\\.[0-9]+s"


def _queues(worker: WorkerEntry) -> str:
    """What it takes messages from: its queue, or all that its key matches."""
    if not worker.queues_key:
        return re.escape(worker.queue)
    return re.escape(worker.queues_key).replace(r"\*", "[^.]+").replace(r"\#", ".+")


def _own_queue(worker: WorkerEntry) -> tuple[str, ...]:
    return () if worker.queues_key else (worker.queue,)


def _configured(worker: WorkerEntry) -> Iterator[str]:
    yield _control(worker)
    if _is_declaring(worker):
        yield _waiting(worker)
        for name in (*_own_queue(worker), worker.exchange, names.CONTROL_EXCHANGE, names.DEAD_EXCHANGE):
            yield re.escape(name)
        yield re.escape(names.DEAD_QUEUE)


def _written(worker: WorkerEntry) -> Iterator[str]:
    # Replies, and what waits for another try, go to the default exchange; output and notifications to its
    # own; refused messages to that of dead letters. To bind a queue asks to write to it.
    yield from (
        DEFAULT_EXCHANGE,
        re.escape(worker.exchange),
        re.escape(names.DEAD_EXCHANGE),
        _control(worker),
    )
    if _is_declaring(worker):
        yield from map(re.escape, (*_own_queue(worker), names.DEAD_QUEUE))
    if worker.declare is DeclareMode.VERIFY:
        yield _waiting(worker)  # to look whether it is there; this is the right that allows least besides


def _read(worker: WorkerEntry) -> Iterator[str]:
    yield from (_queues(worker), re.escape(names.CONTROL_EXCHANGE), _control(worker))
    if worker.queues_key:
        yield re.escape(worker.exchange)  # to hear for which of them a message has come
    if _is_declaring(worker):
        yield _waiting(worker)
        yield from map(re.escape, (worker.exchange, names.DEAD_EXCHANGE))


def _topic(exchange: str, workers: list[WorkerEntry]) -> TopicRights:
    bound = [re.escape(key) for one in workers for key in _bound_keys(one)]
    return TopicRights(
        exchange,
        _pattern([re.escape(names.OUTPUT_KEY), _NOTICES]),
        _pattern(bound),
    )


def _bound_keys(worker: WorkerEntry) -> tuple[str, ...]:
    if worker.queues_key:
        return (worker.queues_key,)
    return worker.routing_keys if _is_declaring(worker) else ()


def _control_keys(worker: WorkerEntry) -> Iterator[str]:
    many = worker.queues_key.removeprefix(names.WORKER_PREFIX)
    own = (worker.suffix, *names.commands_of(worker.suffix), many, many.removesuffix(".#"))
    for command in dict.fromkeys(filter(None, own)):
        yield f"[a-z]+\\.{re.escape(command)}"


def _of_client(client: ClientEntry) -> Rights:
    """It publishes `job.create`, and reads answers from a queue whose name the broker makes up."""
    own = re.escape("amq.gen-") + ".+"
    return Rights(
        user=client.user,
        about="requests jobs",
        configure=_pattern([own]),
        write=_pattern([re.escape(client.exchange)]),
        read=_pattern([own]),
        topics=(TopicRights(client.exchange, _pattern([re.escape(names.JOB_KEY)]), NOTHING),),
    )


def _of_gateway(gateway: GatewayEntry) -> Rights:
    """It is a worker of many queues, which it makes and reads, beside a marker for each; but not of codes."""
    prefix, types = re.escape(names.WORKER_PREFIX), "|".join(map(re.escape, gateway.types))
    polled = f"([^.]+\\.)?({types})" if types else "(?!code\\.).+"
    queues, markers = (
        f"{prefix}{polled}(\\.retry\\.[0-9]+s)?",
        f"{re.escape(names.POLLED_PREFIX)}{prefix}{polled}",
    )
    control = f"{re.escape(names.control_queue('gateway', ''))}{_ID}"
    exchange, dead = re.escape(gateway.exchange), re.escape(names.DEAD_EXCHANGE)
    exchanges = (exchange, re.escape(names.CONTROL_EXCHANGE), dead)
    declared = (queues, re.escape(names.DEAD_QUEUE), control)
    topics = (
        TopicRights(
            gateway.exchange,
            _pattern([re.escape(names.OUTPUT_KEY), _NOTICES]),
            _pattern([f"{prefix}{polled}"]),
        ),
        TopicRights(names.CONTROL_EXCHANGE, NOTHING, _pattern(["ping", "[a-z]+\\..+"])),
    )
    return Rights(
        user=gateway.user,
        about=f"gateway for {', '.join(gateway.types) or 'all task types'}",
        configure=_pattern([*exchanges, *declared, markers]),
        write=_pattern([DEFAULT_EXCHANGE, exchange, dead, *declared]),
        read=_pattern([*exchanges, queues, control]),
        topics=topics,
    )


def _pattern(parts: Iterable[str]) -> str:
    """Return a regular expression for one of these, and nothing more."""
    found = list(dict.fromkeys(parts))
    if not found:
        return NOTHING
    return f"^({'|'.join(found)})$" if len(found) > 1 else f"^{found[0]}$"


def commands_of(rights: Iterable[Rights], vhost: str) -> Iterator[str]:
    """Yield the lines of a shell script that gives these rights to users that exist."""
    rights = tuple(rights)
    yield from _about_senders(rights)
    for one in rights:
        yield f"# {one.user}: {one.about}"
        yield _command("set_permissions", vhost, one.user, one.configure, one.write, one.read)
        for topic in one.topics:
            yield _command("set_topic_permissions", vhost, one.user, topic.exchange, topic.write, topic.read)


def _about_senders(rights: tuple[Rights, ...]) -> Iterator[str]:
    """Say what no right can keep a worker from, and what does."""
    cores = [one.user for one in rights if one.about == CORE_WORDS]
    if cores and any(DEFAULT_EXCHANGE in one.write and one.user not in cores for one in rights):
        yield "# Replies go to the default exchange, so workers can put messages into any queue by its name."
        yield f"# Workers with accept_from: [{', '.join(cores)}] do only what these users send;"
        yield "# their messages have to say so, by stamp_user: true in their settings of the message bus."


def _command(verb: str, vhost: str, *words: str) -> str:
    return shlex.join(["rabbitmqctl", verb, "-p", vhost, *words])


def definitions_of(rights: Iterable[Rights], vhost: str) -> dict[str, Any]:
    """Return a definitions file of RabbitMQ: ``{"permissions": [...], "topic_permissions": [...]}``."""
    rights = tuple(rights)
    return {
        "permissions": [
            {
                "user": one.user,
                "vhost": vhost,
                "configure": one.configure,
                "write": one.write,
                "read": one.read,
            }
            for one in rights
        ],
        "topic_permissions": [
            {"user": one.user, "vhost": vhost, **msgspec.structs.asdict(topic)}
            for one in rights
            for topic in one.topics
        ],
    }
