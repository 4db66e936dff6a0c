"""What `execution` asks of a worker, answered for one that is elsewhere."""

from __future__ import annotations

import threading
from logging import Logger
from typing import Any

from reworker.jobs.attempt import Attempt
from reworker.jobs.station import ROOM_COUNT
from reworker.output import Output


class Performer:
    """Stands for all workers of a type.

    Args:
        logger: of the gateway.
    """

    reports_status = True
    confirms_start = False
    dynamic: tuple[str, ...] = ()

    def __init__(self, logger: Logger) -> None:
        self.app_logger = logger

    def _perform_attempt(self, attempt: Attempt, output: Output) -> None:
        """Nothing is performed here."""
        raise AssertionError("a step is performed by whoever has polled it")

    def _is_idempotent_step(self, subcommand: Any) -> bool:
        """Only the message itself can say so."""
        return False


class Room(threading.BoundedSemaphore):
    """Room for lines of output that are on their way; whoever finds none does not wait for it."""

    def __init__(self) -> None:
        super().__init__(ROOM_COUNT)

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        """Take a place, if there is one."""
        return super().acquire(blocking=False)
