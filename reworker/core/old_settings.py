"""The settings file of the Release Engine of 2014, in upper case; see docs/release-engine.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from reworker.config import MqSettings, mq_settings
from reworker.core.rule_reader import near
from reworker.core.rules import OLD_KEYS, old_rules_of
from reworker.errors import ConfigError
from reworker.fsm.rules import Rules

#: what stands for our keys of the same meaning.
_SCALARS = {"LOGFILE": "log_file", "LOGLEVEL": "log_level", "RELEASE_LOG_DIR": "release_log_dir"}
KEYS = (*_SCALARS, "MQ", "DB", "TRIGGERS", *OLD_KEYS.values())
#: keys of MQ, and what they are called in our MQ file. The core said NAME, its REST server USER.
_MQ = {
    "SERVER": "server",
    "NAME": "user",
    "USER": "user",
    "PASSWORD": "password",
    "VHOST": "vhost",
    "PORT": "port",
    "SSL": "ssl",
}
_MQ_NAMES = {"EXCHANGE": "exchange", "QUEUE": "job_queue"}
#: how a file spells our names.
SPELLINGS = {
    **{ours: old for old, ours in _SCALARS.items()},
    **{ours: f"MQ.{old}" for old, ours in _MQ_NAMES.items()},
}
#: the standard library still knows this name.
_LEVELS = {"WARN": "WARNING", "FATAL": "CRITICAL"}


class OldSettings(msgspec.Struct, frozen=True):
    """What an old file says.

    Args:
        values: under the names of `CoreSettings`.
        mq: where the bus is; None when it does not say so.
        notes: what its owner should know, for the log.
        spellings: names of `values` that the file writes otherwise, for errors.
    """

    values: dict[str, Any]
    rules: Rules
    mq: MqSettings | None
    notes: tuple[str, ...]
    spellings: Mapping[str, str] = {}


def is_old(values: Mapping[str, Any]) -> bool:
    """Tell whether the keys of a settings file are those of 2014."""
    return any(key.isupper() for key in values)


def old_settings(values: Mapping[str, Any], path: str) -> OldSettings:
    """Return what an old file says.

    Raises:
        ConfigError: an unknown key or a wrong value; names the file and the place in it.
    """
    for key in values:
        if key not in KEYS:
            raise ConfigError(f"unknown setting{near(key, KEYS)}", key=key, path=path)
    own = {ours: values[key] for key, ours in _SCALARS.items() if values.get(key) is not None}
    if isinstance(own.get("log_level"), str):
        level = own["log_level"].upper()
        own["log_level"] = _LEVELS.get(level, level)
    given = values.get("MQ")
    mq = _mq(given, path) if given is not None else None
    if isinstance(given, Mapping):
        own |= {ours: given[key] for key, ours in _MQ_NAMES.items() if given.get(key) is not None}
    notes = ("DB is ignored: deployments are kept in the database that --db names",) if "DB" in values else ()
    return OldSettings(own, old_rules_of(values, path), mq, notes, SPELLINGS)


def _mq(given: Any, path: str) -> MqSettings:
    if not isinstance(given, Mapping):
        # not what was found: it may be a URL with a password
        raise ConfigError(f"expected a mapping, found {type(given).__name__}", key="MQ", path=path)
    known = (*_MQ, *_MQ_NAMES)
    for key in given:
        if key not in known:
            raise ConfigError(f"unknown setting{near(str(key), known)}", key=f"MQ.{key}", path=path)
    if "NAME" in given and given.get("USER", given["NAME"]) != given["NAME"]:
        raise ConfigError("NAME and USER are the same, and differ here; leave one out", key="MQ", path=path)
    ours = {_MQ[key]: value for key, value in given.items() if key in _MQ and value is not None}
    for key in ("server", "user", "password", "vhost"):
        if key in ours and not isinstance(ours[key], str):
            raise ConfigError("expected a text; quote it", key=f"MQ.{_spelled(key, given)}", path=path)
    try:
        return mq_settings(ours)
    except ConfigError as error:
        key = f"MQ.{_spelled(error.key, given)}" if error.key else "MQ"
        raise ConfigError(error.reason, key=key, path=path) from error


def _spelled(key: str, given: Mapping[str, Any]) -> str:
    return next((old for old, ours in _MQ.items() if ours == key and old in given), key.upper())
