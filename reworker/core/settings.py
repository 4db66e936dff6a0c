"""Settings of a core, from a file, in our keys or those of 2014, and the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec

from reworker.bus.contract import TopologySpec
from reworker.config import MqSettings, load_mapping
from reworker.core import rules as rules_file
from reworker.core.old_settings import OldSettings, is_old, old_settings
from reworker.core.rule_reader import near
from reworker.errors import ConfigError
from reworker.fsm.rules import Rules
from reworker.layers import Layered, environment_layer, text, words
from reworker.topology import names
from reworker.topology.model import QUEUE_TYPES, core_topology

PREFIX = "REWORKER_CORE_"
#: names a file beside the database.
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,60}")
NAME_CHARACTERS = 60


class CoreSettings(msgspec.Struct, frozen=True):
    """How one core works; where its database and its broker are is said elsewhere.

    Args:
        name: of this core, the same after a restart; at most one of a name runs on a database. On a server
            the command `core` takes that of its machine instead of the default.
        exchange: topic exchange for steps, output and notifications.
        job_queue: queue of job requests.
        accept_jobs_from: users of the broker whose job requests count; empty is everybody's.
        queue_type: of the core's own queues, classic or quorum; empty is the broker's default.
        batch_count: events in one transaction at most.
        prefetch: replies taken from the broker and not yet stored.
        window: publishes without a confirm at most.
        lease_s: seconds after which a publish that nobody finished is taken up again.
        keep_days: days for which deployments are kept after their end; 0 is for ever.
        keep_audit_days: days for which the audit is kept; 0 is for ever.
        log_limit_bytes: output kept per deployment; more is counted and dropped.
        release_log_dir: folder for a log file of each deployment; empty is none.
        log_file: the core's own log, in the line format of 2014, beside standard error; empty is none.
        log_level: lowest level written to `log_file`.
        log_format: form of the log on standard error: text or json.
        health: where health and metrics are told, PORT or HOST:PORT; empty is nowhere.
        rules: what is added to every playbook from now on; None leaves it to what the database holds.
    """

    name: str = "core"
    exchange: str = names.EXCHANGE
    job_queue: str = names.JOB_QUEUE
    accept_jobs_from: tuple[str, ...] = ()
    queue_type: str = ""
    batch_count: int = 200
    prefetch: int = 500
    window: int = 500
    lease_s: float = 15.0
    log_limit_bytes: int = 64 << 20
    keep_days: int = 0
    keep_audit_days: int = 0
    release_log_dir: str = ""
    log_file: str = ""
    log_level: str = "INFO"
    log_format: str = "text"
    health: str = ""
    rules: Rules | None = None

    def topology(self) -> TopologySpec:
        """Return what a core of these settings declares."""
        return core_topology(self.exchange, self.job_queue, queue_type=self.queue_type)


class CoreFile(msgspec.Struct, frozen=True):
    """What a settings file says; a file of 2014 may also say where the bus is."""

    settings: CoreSettings
    mq: MqSettings | None = None
    notes: tuple[str, ...] = ()


_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
#: read in another way than by the type of their default.
_SPECIAL = ("health", "accept_jobs_from")
_SCALARS = tuple(name for name in CoreSettings.__struct_fields__ if name != "rules")
#: all keys of a file; a variable can stand in for one that holds no rules.
KEYS = (*_SCALARS, *rules_file.KEYS)


def core_name(text: str) -> str:
    """Return a name for a core, as near to the text as can be."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", text)[:NAME_CHARACTERS] or CoreSettings().name


def core_settings(
    source: str | Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None
) -> CoreSettings:
    """Return the settings from a JSON or YAML file or a mapping; see `core_file`."""
    return core_file(source, environ).settings


def core_file(
    source: str | Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    triggers: str | None = None,
) -> CoreFile:
    """Return what a JSON or YAML file or a mapping says; variables ``REWORKER_CORE_<NAME>`` win.

    Args:
        source: file or mapping; None is no file.
        environ: where variables are looked up; None is the process's environment.
        triggers: a file of triggers, instead of those of `source`.

    Raises:
        ConfigError: unreadable, an unknown key, or a wrong value; names key and origin.
    """
    origin = source if isinstance(source, str) else "constructor"
    values = load_mapping(source) if isinstance(source, str) else dict(source or {})
    found = old_settings(values, origin) if is_old(values) else _own(values, origin)
    rules = None if source is None else found.rules
    if triggers:
        rules = replace(found.rules, triggers=rules_file.triggers_in(triggers))
    try:
        scalars = _scalars(found.values, origin, os.environ if environ is None else environ)
    except ConfigError as error:
        if error.path != origin or error.key not in found.spellings:
            raise
        raise ConfigError(error.reason, key=found.spellings[error.key], path=origin) from error
    return CoreFile(CoreSettings(**scalars, rules=rules), found.mq, found.notes)


def _own(values: dict[str, Any], origin: str) -> OldSettings:
    for key in values:
        if key not in KEYS:
            raise ConfigError(f"unknown setting{near(key, KEYS)}", key=key, path=origin)
    scalars = {key: value for key, value in values.items() if key in _SCALARS}
    return OldSettings(scalars, rules_file.rules_of(values, origin), None, ())


def _scalars(values: Mapping[str, Any], origin: str, environ: Mapping[str, str]) -> dict[str, Any]:
    variables = environment_layer(environ, PREFIX, {name.upper(): name for name in _SCALARS})
    layered = Layered((origin, values), ("environment", variables))
    defaults = msgspec.structs.asdict(CoreSettings())
    found = {name: _value(layered, name, defaults[name]) for name in _SCALARS if name not in _SPECIAL}
    found["accept_jobs_from"] = layered.read("accept_jobs_from", (), words())
    found["queue_type"] = layered.choice("queue_type", "", ("", *QUEUE_TYPES))
    found["log_level"] = layered.choice("log_level", "INFO", _LEVELS)
    found["log_format"] = layered.choice("log_format", "text", ("text", "json"))
    found["health"] = layered.read("health", "", text())
    if not _NAME.fullmatch(found["name"]):
        raise ConfigError("expected up to 60 of the characters a-z A-Z 0-9 _ . -", key="name", path=origin)
    return found


def _value(layered: Layered, name: str, default: Any) -> Any:
    if isinstance(default, int):
        return layered.integer(name, default, least=min(default, 1))
    if isinstance(default, float):
        return layered.number(name, default)
    value, origin = layered.find(name, default)
    if not isinstance(value, str) or (default and not value):
        raise ConfigError(f"expected a text, found {value!r}", key=name, path=origin)
    return value
