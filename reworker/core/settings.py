"""Settings of a core, from a file and the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from reworker.config import Layered, environment_layer, load_mapping
from reworker.errors import ConfigError
from reworker.topology import names

PREFIX = "REWORKER_CORE_"
#: names a file beside the database.
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,60}")


class CoreSettings(msgspec.Struct, frozen=True):
    """How one core works; where its database and its broker are is said elsewhere.

    Args:
        name: of this core, the same after a restart; at most one of a name runs on a database.
        exchange: topic exchange for steps, output and notifications.
        job_queue: queue of job requests.
        batch_count: events in one transaction at most.
        prefetch: replies taken from the broker and not yet stored.
        window: publishes without a confirm at most.
        lease_s: seconds after which a publish that nobody finished is taken up again.
        log_limit_bytes: output kept per deployment; more is counted and dropped.
    """

    name: str = "core"
    exchange: str = names.EXCHANGE
    job_queue: str = names.JOB_QUEUE
    batch_count: int = 50
    prefetch: int = 500
    window: int = 500
    lease_s: float = 15.0
    log_limit_bytes: int = 64 << 20


def core_settings(
    source: str | Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None
) -> CoreSettings:
    """Return the settings from a JSON or YAML file or a mapping; variables ``REWORKER_CORE_<NAME>`` win.

    Raises:
        ConfigError: unreadable, an unknown key, or a wrong value; names key and origin.
    """
    origin = source if isinstance(source, str) else "constructor"
    values = load_mapping(source) if isinstance(source, str) else dict(source or {})
    fields = CoreSettings.__struct_fields__
    for key in values:
        if key not in fields:
            raise ConfigError(f"unknown setting; known: {', '.join(fields)}", key=key, path=origin)
    variables = environment_layer(
        os.environ if environ is None else environ, PREFIX, {name.upper(): name for name in fields}
    )
    layered = Layered((origin, values), ("environment", variables))
    found = {name: _value(layered, name, default) for name, default in _defaults().items()}
    if not _NAME.fullmatch(found["name"]):
        raise ConfigError("expected up to 60 of the characters a-z A-Z 0-9 _ . -", key="name", path=origin)
    return CoreSettings(**found)


def _defaults() -> dict[str, Any]:
    return msgspec.structs.asdict(CoreSettings())


def _value(layered: Layered, name: str, default: Any) -> Any:
    if isinstance(default, int):
        return layered.integer(name, default, least=1)
    if isinstance(default, float):
        return layered.number(name, default)
    value, origin = layered.find(name, default)
    if not isinstance(value, str) or not value:
        raise ConfigError(f"expected a text, found {value!r}", key=name, path=origin)
    return value
