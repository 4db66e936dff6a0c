"""Groups of processes as one daemon: supervision, health of all, systemd; knows nothing of workers."""

from __future__ import annotations

import gc
import logging
import os
import random
import signal
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Self

from reworker.clock import Clock, SystemClock
from reworker.host.children import Children
from reworker.host.slot import Slot
from reworker.host.supervisor import Supervisor, Work, names_of
from reworker.host.systemd import Announcer
from reworker.host.vigil import watched

logger = logging.getLogger("reworker.host")


@dataclass(frozen=True)
class Group:
    """Processes of one kind.

    Args:
        work: what each does: gets the number of the pipe for its reports, returns its exit code.
        count: how many.
        drain_s: seconds that the running jobs of one may take at a stop.
        check: raises when a process that is started now would find its settings wrong.
    """

    work: Work
    count: int
    drain_s: float
    check: Callable[[], object] = lambda: None


class ProcessHost:
    """Keeps the processes of some groups running until told to stop.

    Threads: belongs to one, the main thread with signals; `request_stop` to any.
    End of life: after `run` it cannot be started again.

    Args:
        groups: by name.
        health: where health and metrics of all are told; empty is nowhere.
        clock: for pauses and drains.
    """

    def __init__(self, groups: Mapping[str, Group], *, health: str = "", clock: Clock | None = None) -> None:
        self.groups = groups
        self._health, self._clock = health, clock or SystemClock()
        self._children = Children(self._clock)
        self._supervisor = Supervisor(
            {slot: group.work for group, slot in self._slots()},
            self._children,
            self._clock,
            may_pass_on=self._may_pass_on,
        )
        self._is_started, self._watching = False, ExitStack()
        self._announcer: Announcer | None = None

    def _slots(self) -> list[tuple[Group, Slot]]:
        return [
            (group, Slot(one, group.drain_s, random.random))
            for name, group in self.groups.items()
            for one in names_of(name, group.count)
        ]

    def start_processes(self) -> None:
        """Start them, once; `run`, or the end of a ``with`` block, watches over them.

        Raises:
            ConfigError: nobody can listen at the address of `health`; nothing was started.
        """
        if self._is_started:
            return
        watch = watched(self._children.report, self._health, environ=os.environ, clock=self._clock)
        self._announcer = self._watching.enter_context(watch)
        self._is_started = True
        count = sum(one.count for one in self.groups.values())
        logger.info("starting %d processes for %s", count, ", ".join(self.groups))
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
        """Keep a SIGHUP when settings are wrong: a process that is started later would fail."""
        if number is not signal.SIGHUP:
            return True
        self._announce_reload(True)
        wrong = [f"{name}: {error}" for name, one in self.groups.items() if (error := _error_of(one.check))]
        for one in wrong:
            logger.error("the settings are not read again, the old ones stay: %s", one)
        self._announce_reload(False)
        return not wrong

    def _announce_reload(self, is_begun: bool) -> None:
        if self._announcer is not None:
            self._announcer.on_reload(is_begun)


def _error_of(check: Callable[[], object]) -> BaseException | None:
    try:
        check()
    except (Exception, SystemExit) as error:  # noqa: BLE001  a plugin's constructor may raise anything
        return error
    return None
