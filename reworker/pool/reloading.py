"""Reading the settings again: fresh worker objects take over between jobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import msgspec

from reworker.config import MqSettings
from reworker.jobs.settings import WorkerSettings
from reworker.jobs.station import Station
from reworker.logs import Redactor
from reworker.pool.instance import Instance

#: what a start has used up; another value waits for a restart.
FIXED = (
    "suffix",
    "queue",
    "routing_keys",
    "queues_key",
    "domain",
    "exchange",
    "declare",
    "queue_type",
    "instances",
    "processes",
    "polling_interval_ms",
    "accept_from",
    "paused",
    "capture_stdout",
    "connect_timeout_s",
    "ledger",
    "ledger_max_age_s",
    "ledger_max_count",
    "health",
    "log_format",
)


@runtime_checkable
class Renewable(Protocol):
    """A bus that can be told where the broker is from now on."""

    def renew(self, settings: MqSettings) -> None:
        """Use these settings for the next connection."""
        ...


class News:
    """Everything that was read again; nothing is changed yet.

    Args:
        instances: of the pool.
        settings: that they have.
        read_mq: reads the settings of the message bus; None leaves those.

    Raises:
        Exception: whatever the constructor of the worker class raises, above all ConfigError.
    """

    def __init__(
        self,
        instances: Sequence[Instance],
        settings: WorkerSettings,
        read_mq: Callable[[], MqSettings] | None = None,
    ) -> None:
        self._fresh: list[tuple[Instance, Any]] = [(one, one.worker._made_again()) for one in instances]
        self.mq = read_mq() if read_mq is not None else None
        read: WorkerSettings = self._fresh[0][1]._settings
        kept = {name: getattr(settings, name) for name in FIXED}
        self.settings = msgspec.structs.replace(read, **kept)
        self.waiting = [name for name in changed_fields(settings, read) if name in FIXED and name != "suffix"]
        self.changed = changed_fields(settings, self.settings)

    def apply(self) -> None:
        """Have each instance take over its fresh worker object and the settings before its next job."""
        redact = redactor_of(self.settings)
        for instance, worker in self._fresh:
            instance.between_jobs(_takeover(instance, worker, self.settings, redact))


def redactor_of(settings: WorkerSettings) -> Redactor | None:
    """Return what takes secrets out of lines of output; None when nothing is to be taken out."""
    return Redactor(patterns=settings.redactions) if settings.redactions else None


def changed_fields(old: WorkerSettings, new: WorkerSettings) -> list[str]:
    """Return the names of the settings that differ."""
    return [name for name in old.__struct_fields__ if getattr(old, name) != getattr(new, name)]


def _takeover(
    instance: Instance, worker: Any, settings: WorkerSettings, redact: Redactor | None
) -> Callable[[], None]:
    station: Station = instance.station

    def take_over() -> None:
        station.settings, station.redact = settings, redact
        old, instance.worker = instance.worker, worker
        worker._take_over_from(old, station)
        old.close()

    return take_over
