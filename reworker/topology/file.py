"""The topology as a file: ``{exchanges: [...], queues: [...], bindings: [...]}`` in YAML or JSON."""

from __future__ import annotations

import difflib
from typing import Any

import msgspec

from reworker.bus.contract import TopologySpec
from reworker.config import load_mapping
from reworker.errors import ConfigError

KINDS = ("direct", "topic", "fanout", "headers")


def load_topology(path: str) -> TopologySpec:
    """Return the topology in a file.

    Raises:
        ConfigError: unreadable, an unknown key, a wrong type, or a binding of a queue that is not listed.
    """
    values = load_mapping(path)
    _refuse_unknown_keys(values, path)
    try:
        topology = msgspec.convert(values, TopologySpec)
    except msgspec.ValidationError as error:
        raise ConfigError(f"not a topology: {error}", path=path) from error
    for exchange in topology.exchanges:
        if exchange.kind not in KINDS:
            raise ConfigError(
                f"kind {exchange.kind!r} is none of {', '.join(KINDS)}", key=exchange.name, path=path
            )
    return topology


def _refuse_unknown_keys(values: dict[str, Any], path: str) -> None:
    known = TopologySpec.__struct_fields__
    for key in values.keys() - set(known):
        near = difflib.get_close_matches(key, known, 1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; known keys: {', '.join(known)}"
        raise ConfigError(f"unknown key{hint}", key=key, path=path)
    for section in known:
        entries = values.get(section)
        for entry in entries if isinstance(entries, list) else ():
            _refuse_unknown_fields(section, entry, path)


def _refuse_unknown_fields(section: str, entry: Any, path: str) -> None:
    known = {
        "exchanges": ("name", "kind", "durable"),
        "queues": ("name", "durable", "exclusive", "auto_delete", "arguments"),
        "bindings": ("exchange", "queue", "routing_key"),
    }[section]
    for key in entry if isinstance(entry, dict) else ():
        if key not in known:
            raise ConfigError(f"unknown key {key!r}; known keys: {', '.join(known)}", key=section, path=path)
