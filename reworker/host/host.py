"""Many workers as one daemon: `WorkerHost`."""

from __future__ import annotations

import gc
import logging
import os
import random
import signal
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Self

from reworker.clock import Clock, SystemClock
from reworker.errors import ConfigError
from reworker.host.children import Children
from reworker.host.crew import Entry, MqSource, WorkerLike, crews_of
from reworker.host.slot import Slot
from reworker.host.supervisor import Supervisor, Work, names_of
from reworker.host.vigil import watched
from reworker.jobs.sources import Given

logger = logging.getLogger("reworker.host")


class WorkerHost:
    """Runs workers of several types, each in processes and threads of its own, until told to stop.

    Duties: check the settings of all; start a process for each type, or as many as it has `processes`; start
    again what ends; drain all at a stop.
    Threads: belongs to one, the main thread with signals; `request_stop` to any.
    End of life: after `run` it cannot be started again.

    Args:
        workers: worker objects, classes, or names of plugins; an `Entry` says more of one.
        mq_config: message bus of the classes and names: see `Worker`; None is the variable ``REWORKER_MQ``.
        ini: file worker.ini; empty is looked for.
        health: where health and metrics of all are told; empty is nowhere.
        counts: `processes` and `instances` of every type, over its settings.

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
        **counts: int | None,
    ) -> None:
        entries = [one if isinstance(one, Entry) else Entry(one, given=Given(ini)) for one in workers]
        if not entries:
            raise ConfigError("a host without workers has nothing to do", key="workers")
        self.crews = crews_of(entries, mq_config, **counts)
        self._is_started, self._watching = False, ExitStack()
        self._health, self._clock = health, clock or SystemClock()
        self._children = Children(self._clock)
        self._supervisor = Supervisor(
            self._slots(), self._children, self._clock, may_pass_on=self._may_pass_on
        )

    def _slots(self) -> dict[Slot, Work]:
        found: dict[Slot, Work] = {}
        for name, crew in self.crews.items():
            for one in names_of(name, crew.processes):
                found[Slot(one, crew.settings.drain_s, random.random)] = crew.work
        return found

    def start_processes(self) -> None:
        """Start them, once; `run`, or the end of a ``with`` block, watches over them.

        Raises:
            ConfigError: nobody can listen at the address of `health`; nothing was started.
        """
        if self._is_started:
            return
        self._watching.enter_context(watched(self._children.report, self._health, environ=os.environ))
        self._is_started = True
        count = sum(one.processes for one in self.crews.values())
        logger.info("starting %d processes for %s", count, ", ".join(self.crews))
        gc.collect()
        gc.freeze()  # what is here now stays, and is shared with the processes as long as nobody touches it
        self._supervisor.start()

    def run(self) -> int:
        """Run until told to stop; return the exit code, see `Supervisor.run`."""
        with self._watching:
            self.start_processes()
            code = self._supervisor.run()
        logger.info("stopped")
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Run until told to stop, if they were started; an error in the block stops them."""
        if self._is_started:
            if kind is not None:
                self.request_stop()
            self.run()

    def request_stop(self) -> None:
        """Make `run` drain and return; at once when called again. Any thread, also in a signal handler."""
        self._supervisor.request_stop()

    def _may_pass_on(self, number: signal.Signals) -> bool:
        """Keep a SIGHUP when the settings are wrong: a process that started later would fail."""
        if number is signal.SIGHUP:
            for name, crew in self.crews.items():
                try:
                    crew.check()
                except Exception as error:  # noqa: BLE001  a plugin's constructor may raise anything
                    logger.error("the settings were not read again, the old ones stay: %s: %s", name, error)
                    return False
        return True
