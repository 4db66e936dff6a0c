"""``reworker config``: what settings hold, and where each value comes from."""

from __future__ import annotations

import enum
import json
import logging
import os
from collections.abc import Iterator
from typing import Any

import click

from reworker.cli.options import optional_mq_option, output_option
from reworker.config import MQ_VARIABLE, mq_settings
from reworker.errors import ConfigError
from reworker.host.crew import Entry
from reworker.host.listing import HostFile, load_host_file
from reworker.host.plugins import load_worker
from reworker.jobs.settings import PROPERTIES, TABLE
from reworker.jobs.sources import given_by_host, types_of
from reworker.layers import did_you_mean
from reworker.logs import escaped, masked
from reworker.worker import Worker

#: name of a setting, its value, where that comes from.
Row = tuple[str, Any, str]


@click.group()
def config() -> None:
    """Look at settings."""


@config.command()
@click.argument("worker", metavar="TYPE")
@click.option("-w", "--worker-config", type=click.Path(dir_okay=False), help="The worker's own settings.")
@click.option("-c", "--config", "host_file", type=click.Path(dir_okay=False), help="The list of a host.")
@optional_mq_option
@output_option
def show(worker: str, worker_config: str | None, host_file: str | None, mq: str | None, output: str) -> None:
    """Show each property of a worker type, and where its value comes from; secrets are masked.

    TYPE is a plugin's name or module:Class; with -c, the name, type or queue of an entry in that list.
    """
    found = load_host_file(host_file) if host_file else None
    entry = Entry(worker, worker_config) if found is None else _entry_of(found, worker, str(host_file))
    rows = [*_mq_rows(mq, found, str(host_file)), *_rows_of(_made(entry))]
    if output == "json":
        table = {name: {"value": value, "from": origin} for name, value, origin in rows}
        click.echo(json.dumps(table, indent=2, default=str))
        return
    widths = [max(len(_text(row[column])) for row in rows) for column in (0, 1)]
    for name, value, origin in rows:
        click.echo(escaped(f"{name:{widths[0]}}  {_text(value):{widths[1]}}  {origin}"))


def _entry_of(found: HostFile, name: str, path: str) -> Entry:
    """Return the one entry of a list that a name means.

    Raises:
        ConfigError: none, or several.
    """
    named = [(entry, {str(entry.worker), *_types(entry)}) for entry in found.entries]
    meant = [entry for entry, names in named if name in names]
    if len(meant) == 1:
        return meant[0]
    if meant:
        raise ConfigError(f"{len(meant)} entries are called so: say the queue of one", key=name, path=path)
    known = sorted(set().union(*(names for _, names in named)))
    hint = did_you_mean(name, known) or f"; there are {', '.join(known)}"
    raise ConfigError(f"no such entry{hint}", key=name, path=path)


def _types(entry: Entry) -> tuple[str, ...]:
    return types_of(load_worker(str(entry.worker)).__name__, entry.given.entry[1].get("queue"))


def _made(entry: Entry) -> Worker:
    with given_by_host(entry.given):
        return load_worker(str(entry.worker))({}, config_file=entry.config_file)


def _mq_rows(mq: str | None, found: HostFile | None, path: str) -> Iterator[Row]:
    listed = found.mq if found is not None else ""
    source = mq or listed
    if source:
        is_variable = mq is not None and os.environ.get(MQ_VARIABLE) == mq
        origin = path if mq is None else MQ_VARIABLE if is_variable else "--mq"
        yield "mq", mq_settings(source, os.environ).masked_url(), origin


def _rows_of(worker: Worker) -> Iterator[Row]:
    """Yield the properties, then the worker's own settings."""
    settings, layers = worker._settings, worker._layers
    fields = {one.name: field for field, one in TABLE.items()}
    for name in PROPERTIES:
        value = settings.suffix if name == "queue" else getattr(settings, fields[name])
        _, origin = layers.find(name)
        yield name, _plain(name, value), origin
    for key, value in worker._config.items():
        if key not in PROPERTIES:
            yield key, masked(key, value), layers.find(key)[1]


def _plain(name: str, value: Any) -> Any:
    if name == "OUTPUT_LEVEL":
        return logging.getLevelName(value)
    if isinstance(value, enum.Enum):
        return value.value
    return masked(name, list(value) if isinstance(value, tuple) else value)


def _text(value: Any) -> str:
    if value is None or value == "":
        return "-"
    return value if isinstance(value, str) else json.dumps(value, default=str)
