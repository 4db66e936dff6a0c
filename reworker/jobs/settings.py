"""Properties of a worker: the table of them, and how they are read from layers of sources."""

from __future__ import annotations

import json
import logging
import re
from typing import Annotated, Any, get_type_hints

import msgspec

from reworker.bus.contract import DeclareMode, TopologySpec
from reworker.jobs.retry import check_kind
from reworker.layers import Kind, Layered, flag, number_above, one_of, text, whole, words
from reworker.ledger import MAX_AGE_S, MAX_COUNT, Ledger, open_ledger
from reworker.topology import names
from reworker.topology.model import QUEUE_TYPES, shared_topology, worker_topology

LEVELS = ("DEBUG", "INFO", "WARN", "WARNING", "ERROR", "FATAL", "CRITICAL")
#: what a part of a queue's name may be: a binding with a wildcard would take the steps of others.
_NAME = re.compile(r"[^\s*#]{1,200}")
#: bytes of a name that AMQP can carry.
USER_LIMIT_BYTES = 255
#: what a playbook can say, so that no worker waits where no step is ever sent.
_DOMAIN = re.compile(r"[A-Za-z0-9_-]{1,100}")
#: of code packages; and what stands in playbooks for no domain at all.
_NO_DOMAINS = ("code", "NO_DOMAIN")
_ADDRESS = re.compile(r"(\S+:)?[0-9]{1,5}")


def _level(value: Any) -> int:
    word = str(value).upper()
    if word not in LEVELS:
        raise ValueError
    return logging.getLevelNamesMapping()[word]


def _name(value: Any) -> str:
    word: str = text().parse(value)
    if not _NAME.fullmatch(word):
        raise ValueError
    return word


def _domain(value: Any) -> str:
    word: str = text().parse(value)
    if word and (not _DOMAIN.fullmatch(word) or word in _NO_DOMAINS):
        raise ValueError
    return word


def or_nothing(kind: Kind) -> Kind:
    """Return a kind that an empty text, too, sets back to nothing."""
    return Kind(f"{kind.allowed}, or nothing", lambda value: None if value == "" else kind.parse(value))


QUEUE_NAME = Kind("a name of at most 200 characters without spaces, * and #", _name)
DOMAIN = Kind(f"1 to 100 letters, digits, _ or -, and not {' or '.join(_NO_DOMAINS)}; or nothing", _domain)
LEVEL = Kind(f"one of {', '.join(LEVELS)}", _level)


def _patterns(value: Any) -> tuple[str, ...]:
    found = json.loads(value) if isinstance(value, str) else value
    if not isinstance(found, list | tuple) or not all(isinstance(one, str) and one for one in found):
        raise TypeError
    try:
        return tuple(re.compile(one).pattern for one in found)
    except re.error as error:
        raise ValueError from error


def _address(value: Any) -> str:
    word = text().parse(value)
    if word and not _ADDRESS.fullmatch(word):
        raise ValueError
    return str(word)


def _users(value: Any) -> tuple[str, ...]:
    found: tuple[str, ...] = words().parse(value)
    if any(len(one.encode()) > USER_LIMIT_BYTES for one in found):
        raise ValueError
    return found


def _errors(value: Any) -> tuple[str, ...]:
    found: tuple[str, ...] = words().parse(value)
    for one in found:
        check_kind(one)
    return found


USERS = Kind("a list of names of users of the broker", _users, has_null=False)
ERRORS = Kind("a list of built-in errors or names such as package.module.Class", _errors)
PATTERNS = Kind("a list of regular expressions (in a variable as JSON)", _patterns)
ADDRESS = Kind("PORT or HOST:PORT, or nothing", _address)
QUEUE_TYPE = Kind(f"{' or '.join(QUEUE_TYPES)}, or nothing", one_of("", *QUEUE_TYPES).parse)
DECLARE = Kind(f"one of {', '.join(one.value for one in DeclareMode)}", DeclareMode)


class Property(msgspec.Struct, frozen=True):
    """How one property is read.

    Args:
        kind: its values.
        name: as people write it; empty is the name of its field.
        aliases: other names of it, in variables and in worker.ini.
    """

    kind: Kind
    name: str = ""
    aliases: tuple[str, ...] = ()


class WorkerSettings(msgspec.Struct, frozen=True):
    """What one worker type is told. An annotated field is a property: its line here is all that it needs.

    Beside it, `conf/worker.yaml` and `docs/configuration.md` show each property.

    Args:
        suffix: names the worker's control keys, and its queue: the property `queue`, or the class's name.
        queue: full name of the queue.
        routing_keys: keys the queue is bound with.
        queues_key: routing key of all the queues of a worker of many queues; empty is one queue.
    """

    suffix: str
    queue: str
    routing_keys: Annotated[tuple[str, ...], Property(words())]
    #: stands in the name of the queue and in the routing keys.
    domain: Annotated[str, Property(DOMAIN)] = ""
    #: topic exchange of steps, output and notifications.
    exchange: Annotated[str, Property(text())] = names.EXCHANGE
    #: what a start does with the topology.
    declare: Annotated[DeclareMode, Property(DECLARE)] = DeclareMode.DECLARE
    #: type of the queue; empty is the broker's default.
    queue_type: Annotated[str, Property(QUEUE_TYPE)] = ""
    #: late: when all is done; early: when the plugin says so, as in 2014.
    ack: Annotated[str, Property(one_of("late", "early"))] = "late"
    #: what becomes of a redelivered level 1 step.
    on_redelivery: Annotated[str, Property(one_of("fail", "run"))] = "fail"
    #: threads, each with a worker object of its own.
    instances: Annotated[int, Property(whole(1), aliases=("thread_count",))] = 1
    #: processes with so many threads each.
    processes: Annotated[int, Property(whole(1))] = 1
    #: most deliveries an instance takes ahead; 1 is one at a time.
    prefetch: Annotated[int, Property(whole(1))] = 16
    #: milliseconds between two pulls of an instance; None is pushed.
    polling_interval_ms: Annotated[
        int | None,
        Property(or_nothing(whole(1)), "polling_interval", ("poll_interval", "poll_interval_millis")),
    ] = None
    #: users whose steps and control messages are carried out; nothing is everybody's.
    accept_from: Annotated[tuple[str, ...], Property(USERS)] = ()
    #: take no work until told to.
    paused: Annotated[bool, Property(flag())] = False
    #: seconds a running job may take to end at a stop.
    drain_s: Annotated[float, Property(number_above(0))] = 300.0
    #: longest a job may run, seconds; None is without limit.
    timeout_s: Annotated[float | None, Property(or_nothing(number_above(0)))] = None
    #: seconds after which the process ends when its job still runs; None is 10 s after the job's own limit.
    hard_timeout_s: Annotated[float | None, Property(or_nothing(number_above(0)))] = None
    #: jobs after which the process ends to be replaced; None is without limit.
    max_jobs: Annotated[int | None, Property(or_nothing(whole(1)))] = None
    #: MiB of memory above which the process ends to be replaced; None is without limit.
    max_rss_mib: Annotated[int | None, Property(or_nothing(whole(1)))] = None
    #: what a job prints goes to its output.
    capture_stdout: Annotated[bool, Property(flag())] = False
    #: seconds to look for the broker at start.
    connect_timeout_s: Annotated[float, Property(number_above(0))] = 30.0
    #: number of the lowest level that is sent as output.
    output_level: Annotated[int, Property(LEVEL, "OUTPUT_LEVEL")] = logging.DEBUG
    #: tries of a job that fails, in all; None is what the step says.
    retry_attempts: Annotated[int | None, Property(or_nothing(whole(1)))] = None
    #: shortest pause between two tries, seconds; None is what the step says.
    retry_backoff_s: Annotated[float | None, Property(or_nothing(number_above(0)))] = None
    #: longest pause between two tries, seconds; None is what the step says.
    retry_cap_s: Annotated[float | None, Property(or_nothing(number_above(0)))] = None
    #: errors after which there is another try; nothing is what the step says.
    retry_on: Annotated[tuple[str, ...], Property(ERRORS)] = ()
    #: file of finished attempts; empty keeps them in memory.
    ledger: Annotated[str, Property(text())] = ""
    #: seconds for which the file keeps them.
    ledger_max_age_s: Annotated[float, Property(number_above(0))] = MAX_AGE_S
    #: how many of them the file keeps.
    ledger_max_count: Annotated[int, Property(whole(1))] = MAX_COUNT
    #: where health and metrics are told; empty is nowhere.
    health: Annotated[str, Property(ADDRESS)] = ""
    #: form of the log; empty is as the command says, text.
    log_format: Annotated[str, Property(one_of("", "text", "json"))] = ""
    #: what matches one of them is masked in lines of output and in the log.
    redactions: Annotated[tuple[str, ...], Property(PATTERNS)] = ()
    queues_key: str = ""

    @property
    def short_name(self) -> str:
        """What people call it: the queue without ``worker.``."""
        return self.queue.removeprefix(names.WORKER_PREFIX)

    @property
    def is_ack_early(self) -> bool:
        """Whether the plugin's word acknowledges at once."""
        return self.ack == "early"

    @property
    def is_run_on_redelivery(self) -> bool:
        """Whether a redelivered level 1 step is run again instead of failed."""
        return self.on_redelivery == "run"

    @property
    def polling_interval_s(self) -> float | None:
        """Seconds between two pulls of an instance; None is pushed."""
        return None if self.polling_interval_ms is None else self.polling_interval_ms / 1000

    @property
    def most_ahead(self) -> int:
        """Deliveries an instance may hold: who pulls takes one at a time."""
        return self.prefetch if self.polling_interval_ms is None else 1

    def open_ledger(self) -> Ledger:
        """Return the ledger that these settings name.

        Raises:
            ConfigError: its file cannot be opened.
        """
        return open_ledger(self.ledger, max_age_s=self.ledger_max_age_s, max_count=self.ledger_max_count)

    def topology(self) -> TopologySpec:
        """Return what a worker of these settings declares."""
        if self.queues_key:
            return shared_topology(self.exchange)
        return worker_topology(self.queue, self.routing_keys, self.exchange, queue_type=self.queue_type)


def _table() -> dict[str, Property]:
    """Return the properties by field."""
    hints = get_type_hints(WorkerSettings, include_extras=True)
    found = {
        field: one
        for field, hint in hints.items()
        for one in getattr(hint, "__metadata__", ())
        if isinstance(one, Property)
    }
    return {field: msgspec.structs.replace(one, name=one.name or field) for field, one in found.items()}


TABLE = _table()
#: what fields without a line in the table hold, and properties without a field.
QUEUE = Property(QUEUE_NAME, "queue")
#: names of all properties; ``OUTPUT_LEVEL`` is written as in 2014.
PROPERTIES = tuple(sorted((QUEUE.name, *(one.name for one in TABLE.values())), key=str.lower))
#: every name that a property has, as it is looked up: lower case to name.
NAMES = {other.lower(): one.name for one in (QUEUE, *TABLE.values()) for other in (one.name, *one.aliases)}


def worker_settings(
    class_name: str,
    layers: Layered,
    *,
    routing_keys: tuple[str, ...] = (),
    queues_key: str = "",
    output_level: str = "DEBUG",
) -> WorkerSettings:
    """Return the settings of a worker class.

    Args:
        class_name: its lower case is the default suffix of the queue.
        layers: see `jobs.sources`.
        routing_keys: the class's own keys; empty is ``worker.<command>`` of its names.
        queues_key: the class's own; what such a worker takes ahead would pass what is more urgent.
        output_level: the class's own default.

    Raises:
        ConfigError: a value is wrong; names the property and where it came from.
    """
    suffix: str = layers.read("queue", class_name.lower(), QUEUE_NAME)
    domain: str = layers.read("domain", "", DOMAIN)
    defaults = {
        **dict(zip(WorkerSettings.__struct_fields__[-len(_DEFAULTS) :], _DEFAULTS, strict=True)),
        "routing_keys": routing_keys or names.step_keys(suffix, domain),
        "output_level": _level(output_level),
    }
    values = {field: layers.read(one.name, defaults[field], one.kind) for field, one in TABLE.items()}
    if queues_key:
        values["prefetch"] = 1
    queue = names.worker_queue(suffix, domain)
    return WorkerSettings(suffix=suffix, queue=queue, queues_key=queues_key, **values)


_DEFAULTS = WorkerSettings.__struct_defaults__
