"""The workers of a host: each type checked before anything is started, and what its processes do."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from reworker.bus.parameters import connection_parameters
from reworker.config import MqSettings, mq_mapping, mq_settings
from reworker.errors import BusError, CannotConnect, ConfigError
from reworker.host.making import made
from reworker.host.plugins import load_worker
from reworker.host.probes import PoolProbe
from reworker.host.processes import Group
from reworker.host.serving import serve, show_crashes
from reworker.host.vigil import watched
from reworker.host.wire import teller_to
from reworker.jobs.settings import WorkerSettings
from reworker.jobs.sources import Given, given_by_host, types_of
from reworker.logs import escaped
from reworker.pool.pool import WorkerPool, open_bus
from reworker.worker import Worker

#: exit codes of a process that ends by an error, as of every command of ours.
CONFIG_EXIT_CODE, BUS_EXIT_CODE, CONNECT_EXIT_CODE = 2, 1, 3

#: what a host can run: a worker object, a class, a name as `load_worker` takes it.
WorkerLike = Worker | type[Worker] | str
MqSource = Mapping[str, Any] | str | MqSettings | None


@dataclass(frozen=True)
class Entry:
    """One worker type as it was asked for.

    Args:
        worker: object, class or name.
        config_file: the worker's own settings.
        given: what it is told beside them.
        place: where that stands, for errors.
    """

    worker: WorkerLike
    config_file: str | None = None
    given: Given = Given()  # noqa: RUF009  it is frozen
    place: str = ""


class Crew:
    """One worker type of a host.

    Args:
        make: returns a fresh worker.
        read_mq: reads the settings of the message bus.
        given: see `Entry`.
        first: the worker of each process that is not to be made; it is as it was when the host started.
        prepare: called in each process with its first worker.
        place: where it was asked for, for errors.
    """

    def __init__(
        self,
        make: Callable[[], Worker],
        read_mq: Callable[[], MqSettings],
        given: Given,
        *,
        first: Worker | None = None,
        prepare: Callable[[Worker], object],
        place: str = "",
    ) -> None:
        self._make, self._read_mq, self._given = make, read_mq, given
        self._first, self._prepare, self._place = first, prepare, place
        self._settings = self.check()

    @property
    def name(self) -> str:
        """What it is called."""
        return self._settings.short_name

    def group(self) -> Group:
        """Return its processes."""
        return Group(self.work, self._settings.processes, self._settings.drain_s, self.check)

    def check(self) -> WorkerSettings:
        """Return the settings as they are now.

        Raises:
            ConfigError: something in them, or in those of the message bus, is wrong.
        """
        connection_parameters(self._read_mq(), "reworker host")
        with given_by_host(self._given):
            worker = made(self._make, self._place)
        self.types = types_of(type(worker).__name__, worker._layers.get("queue"))
        return worker._settings

    def work(self, report_to: int) -> int:
        """Run one process of it until that is told to stop; return the exit code.

        Args:
            report_to: file descriptor of the pipe for reports.
        """
        show_crashes()
        try:
            with given_by_host(self._given):
                return self._run(report_to)
        except (ConfigError, BusError) as error:
            os.write(2, escaped(f"reworker: {self.name}: {error}").encode() + b"\n")
            if isinstance(error, ConfigError):
                return CONFIG_EXIT_CODE
            return CONNECT_EXIT_CODE if isinstance(error, CannotConnect) else BUS_EXIT_CODE

    def _run(self, report_to: int) -> int:
        first = self._first or self._make()
        self._prepare(first)
        if first is not self._first:
            first._read_mq = self._read_mq
        workers = [first, *(first._made_again() for _ in range(first._settings.instances - 1))]
        bus = open_bus(self._read_mq(), first._queue, first._settings.suffix)
        pool = WorkerPool(bus, workers, read_mq=self._read_mq)
        with watched(PoolProbe(pool), "", environ={}, tellers=[teller_to(report_to)]):
            return serve(first, pool, is_alone=len(workers) == 1)


def crew_of(entry: Entry, mq: MqSource, prepare: Callable[[Worker], object]) -> Crew:
    """Return the crew of an entry, checked.

    Args:
        entry: what was asked for.
        mq: settings of the message bus, as `Worker` takes them; a worker object brings its own.
        prepare: see `Crew`.

    Raises:
        ConfigError: no such worker, or something in its settings is wrong; names the place.
    """
    worker = _loaded(entry)
    if isinstance(worker, Worker):
        read_mq = worker._mq_settings
        return Crew(worker._made_again, read_mq, entry.given, first=worker, prepare=prepare)
    mapping = mq_mapping(mq, os.environ) if mq is None or isinstance(mq, str) else mq
    make = partial(worker, mapping, config_file=entry.config_file)
    return Crew(make, partial(_mq_read_from, mq), entry.given, prepare=prepare, place=entry.place)


def crews_of(entries: Sequence[Entry], mq: MqSource, prepare: Callable[[Worker], object]) -> dict[str, Crew]:
    """Return the crews of some entries by name; see `crew_of`."""
    found: dict[str, Crew] = {}
    for entry in entries:
        crew = crew_of(entry, mq, prepare)
        name, number = crew.name, 1
        while name in found:
            number += 1
            name = f"{crew.name}-{number}"
        found[name] = crew
    return found


def _loaded(entry: Entry) -> Worker | type[Worker]:
    if not isinstance(entry.worker, str):
        return entry.worker
    try:
        return load_worker(entry.worker)
    except ConfigError as error:
        raise ConfigError(error.reason, key=error.key, path=entry.place) from error


def _mq_read_from(source: MqSource) -> MqSettings:
    return source if isinstance(source, MqSettings) else mq_settings(source, os.environ)
