"""Properties of a worker: read from constructor, file and environment, the last one wins key by key."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import msgspec

from reworker.bus.contract import DeclareMode, TopologySpec
from reworker.config import Layered
from reworker.errors import ConfigError
from reworker.topology import names
from reworker.topology.model import worker_topology

#: seconds a running job may take to end after SIGTERM.
DRAIN_S = 300.0
#: seconds to look for the broker at start before giving up.
CONNECT_TIMEOUT_S = 30.0
#: deliveries an instance of short steps takes ahead, at most.
PREFETCH = 16
LEVELS = ("DEBUG", "INFO", "WARN", "WARNING", "ERROR", "FATAL", "CRITICAL")

#: names of all properties; ``OUTPUT_LEVEL`` is written as in 2014.
PROPERTIES = (
    "ack",
    "connect_timeout_s",
    "declare",
    "domain",
    "drain_s",
    "exchange",
    "instances",
    "ledger",
    "on_redelivery",
    "OUTPUT_LEVEL",
    "prefetch",
    "queue",
    "routing_keys",
    "timeout_s",
)
_VARIABLES = {name.upper(): name for name in PROPERTIES}
_TUTORIAL_VARIABLES = {name.lower(): name for name in PROPERTIES}


class WorkerSettings(msgspec.Struct, frozen=True):
    """What one worker type is told.

    Args:
        suffix: names the worker's control keys, and its queue unless that is set.
        queue: full name of the queue.
        routing_keys: keys the queue is bound with.
        exchange: topic exchange of steps, output and notifications.
        declare: what a start does with the topology.
        is_ack_early: acknowledge when the plugin says so, as in 2014, instead of when all is done.
        is_run_on_redelivery: run a redelivered level 1 step again instead of failing it.
        instances: threads, each with a worker object of its own.
        prefetch: most deliveries an instance takes ahead; 1 is one at a time.
        drain_s: seconds a running job may take to end at a stop.
        timeout_s: longest a job may run, seconds; None is without limit.
        connect_timeout_s: seconds to look for the broker at start.
        output_level: number of the lowest level that is sent as output.
        ledger: file of finished attempts; empty keeps them in memory.
    """

    suffix: str
    queue: str
    routing_keys: tuple[str, ...]
    exchange: str = names.EXCHANGE
    declare: DeclareMode = DeclareMode.DECLARE
    is_ack_early: bool = False
    is_run_on_redelivery: bool = False
    instances: int = 1
    prefetch: int = PREFETCH
    drain_s: float = DRAIN_S
    timeout_s: float | None = None
    connect_timeout_s: float = CONNECT_TIMEOUT_S
    output_level: int = logging.DEBUG
    ledger: str = ""

    def topology(self) -> TopologySpec:
        """Return what a worker of these settings declares."""
        return worker_topology(self.queue, self.routing_keys, self.exchange)


def layers_of(
    type_name: str,
    constructor: Mapping[str, Any],
    file: tuple[str, Mapping[str, Any]],
    environ: Mapping[str, str],
) -> Layered:
    """Return the sources of a worker's properties, weakest first.

    Args:
        type_name: lower case, without an ending ``worker``; for ``REWORKER_<TYPE>_<PROP>``.
        constructor: properties given in code.
        file: (path, content) of the worker's own configuration.
        environ: usually ``os.environ``.
    """
    prefixes = (
        ("conductor_worker_", _TUTORIAL_VARIABLES),
        ("REWORKER_", _VARIABLES),
        (f"conductor_worker_{type_name}_", _TUTORIAL_VARIABLES),
        (f"REWORKER_{type_name.upper()}_", _VARIABLES),
    )
    variables = [
        (prefix + key, {name: environ[prefix + key]})
        for prefix, known in prefixes
        for key, name in known.items()
        if prefix + key in environ
    ]
    return Layered(("constructor", constructor), file, *variables)


def worker_settings(
    class_name: str, layers: Layered, *, routing_keys: tuple[str, ...] = (), output_level: str = "DEBUG"
) -> WorkerSettings:
    """Return the settings of a worker class.

    Args:
        class_name: its lower case is the default suffix of the queue.
        layers: see `layers_of`.
        routing_keys: the class's own keys; empty is ``worker.<command>`` of its names.
        output_level: the class's own default.

    Raises:
        ConfigError: a value is wrong; names the property and where it came from.
    """
    suffix = str(layers.get("queue") or class_name.lower())
    domain = str(layers.get("domain") or "")
    commands = names.commands_of(suffix)
    own_keys = tuple(names.step_key(f"{domain}.{one}" if domain else one) for one in commands)
    return WorkerSettings(
        suffix=suffix,
        queue=names.worker_queue(suffix, domain),
        routing_keys=_words(layers, "routing_keys", routing_keys or own_keys),
        exchange=str(layers.get("exchange") or names.EXCHANGE),
        declare=DeclareMode(layers.choice("declare", "declare", ("declare", "verify", "off"))),
        is_ack_early=layers.choice("ack", "late", ("late", "early")) == "early",
        is_run_on_redelivery=layers.choice("on_redelivery", "fail", ("fail", "run")) == "run",
        instances=layers.integer("instances", 1, least=1),
        prefetch=layers.integer("prefetch", PREFETCH, least=1),
        drain_s=layers.number("drain_s", DRAIN_S) or DRAIN_S,
        timeout_s=layers.number("timeout_s", None),
        connect_timeout_s=layers.number("connect_timeout_s", CONNECT_TIMEOUT_S) or CONNECT_TIMEOUT_S,
        output_level=_level(layers, output_level),
        ledger=str(layers.get("ledger") or ""),
    )


def _level(layers: Layered, default: str) -> int:
    value, origin = layers.find("OUTPUT_LEVEL", default)
    level = str(value).upper()
    if level not in LEVELS:
        raise ConfigError(
            f"expected one of {', '.join(LEVELS)}, found {value!r}", key="OUTPUT_LEVEL", path=origin
        )
    return logging.getLevelNamesMapping()[level]


def _words(layers: Layered, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
    value, origin = layers.find(key, default)
    words = value.replace(",", " ").split() if isinstance(value, str) else value
    if not isinstance(words, list | tuple) or not all(isinstance(word, str) and word for word in words):
        raise ConfigError(f"expected a list of texts, found {value!r}", key=key, path=origin)
    return tuple(words)
