"""Many workers as one daemon: `WorkerHost`."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable

from reworker.clock import Clock
from reworker.errors import ConfigError
from reworker.host.crew import Entry, MqSource, WorkerLike, crews_of
from reworker.host.processes import ProcessHost
from reworker.jobs.sources import Given, ini_path, strange_sections, strange_variables
from reworker.worker import Worker

logger = logging.getLogger("reworker.host")


class WorkerHost(ProcessHost):
    """Runs workers of several types, each in processes and threads of its own, until told to stop.

    Duties: check the settings of all; start a process for each type, or as many as it has `processes`; start
    again what ends; drain all at a stop. See `ProcessHost` for threads and the end of life.

    Args:
        workers: worker objects, classes, or names of plugins; an `Entry` says more of one.
        mq_config: message bus of the classes and names: see `Worker`; None is the variable ``REWORKER_MQ``.
        ini: file worker.ini; empty is looked for.
        health: where health and metrics of all are told; empty is nowhere.
        clock: for pauses and drains.
        prepare: called in each process with its first worker; for the log.

    Raises:
        ConfigError: there is no such worker, or a setting of one is wrong.
    """

    def __init__(
        self,
        workers: Iterable[WorkerLike | Entry],
        mq_config: MqSource = None,
        *,
        ini: str = "",
        health: str = "",
        clock: Clock | None = None,
        prepare: Callable[[Worker], object] = lambda _worker: None,
    ) -> None:
        entries = [one if isinstance(one, Entry) else Entry(one, given=Given(ini)) for one in workers]
        if not entries:
            raise ConfigError("a host without workers has nothing to do", key="workers")
        crews = crews_of(entries, mq_config, prepare)
        types = [one for crew in crews.values() for one in crew.types]
        for ini in {ini_path(one.given, os.environ) for one in entries}:
            for text in strange_sections(ini, types):
                logger.warning(text)
        for text in strange_variables(os.environ):
            logger.warning(text)
        groups = {name: crew.group() for name, crew in crews.items()}
        super().__init__(groups, health=health, clock=clock)
