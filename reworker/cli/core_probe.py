"""What a core says of its health and its figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from reworker.clock import Clock, SystemClock
from reworker.core.core import Core
from reworker.host.health import BusWatch, Report, bus_families
from reworker.host.metrics import Family, Labels, counter, gauge

#: what a core counts: key of its counters, ending of the name, text.
COUNTS = (
    ("events", "events", "Events stored in histories."),
    ("replies", "replies", "Replies taken from the broker."),
    ("jobs", "job_requests", "Job requests taken from the broker."),
    ("jobs_refused", "job_requests_refused", "Job requests that were refused."),
    ("timers_fired", "timers_fired", "Timers whose time has come."),
    ("set_aside", "set_aside", "Things that could not be handled and were put aside; see the log."),
    ("lines", "output_lines", "Lines of output that were stored."),
    ("lines_dropped", "output_lines_dropped", "Lines of output that were not stored."),
    ("deployments_pruned", "deployments_pruned", "Deployments deleted because of their age."),
    ("audit_pruned", "audit_pruned", "Entries of the audit deleted because of their age."),
    ("tasks_started", "tasks_started", "Tasks of code packages whose deployment was made."),
    ("tasks_ended", "tasks_ended", "Tasks of code packages that have ended."),
    ("tasks_pruned", "tasks_pruned", "Tasks that never ran, and schedules, deleted because of their age."),
    ("packages_removed", "packages_removed", "Packages deleted because nothing needs them any more."),
    ("history_problems", "history_problems", "Histories found broken."),
)
#: beginnings of keys that tell kinds of one thing apart: ending of the name, label, text.
KINDS = {
    "published_": ("published", "outcome", "Messages whose publishing has ended, by how it did."),
    "replies_": ("replies_unused", "why", "Replies that changed nothing, by why."),
}


class CoreProbe:
    """Asks a core for its state; any thread.

    Args:
        core: started.
        clock: measures for how long something is missing.
    """

    def __init__(self, core: Core, clock: Clock | None = None) -> None:
        self._core, clock = core, clock or SystemClock()
        self._buses = [BusWatch(name, clock) for name in ("the core", "the core, for output,")]

    def __call__(self) -> Report:
        """Return the state of this moment."""
        health = self._core.health()
        dead: list[str] = []
        unready: list[str] = []
        for watch, bus in zip(self._buses, (health.bus, health.output_bus), strict=True):
            more_dead, more_unready = watch.judge(bus)
            dead += more_dead
            unready += more_unready
        if not health.is_alive:
            dead.append("a thread of the core has ended")
        if health.storage_error:
            unready.append(f"the database is away: {health.storage_error}")
        families = [
            *counted(health.counters),
            gauge("reworker_core_in_flight", "Messages without a result yet.", (), health.in_flight_count),
            gauge(
                "reworker_core_database_up", "1 when the database can be used.", (), not health.storage_error
            ),
            *bus_families("core", health.bus),
        ]
        return Report("core", dead=tuple(dead), unready=tuple(unready), families=tuple(families))


def counted(counters: Mapping[str, int]) -> Iterator[Family]:
    """Yield the figures that a core counts; those that are still 0 are told too."""
    for key, name, text in COUNTS:
        yield counter(f"reworker_{name}_total", text, {(): counters.get(key, 0)})
    labels: Labels = (("worker", "core"),)
    text = "Messages sent to the dead letters."
    yield counter("reworker_dead_letters_total", text, {labels: counters.get("dead_lettered", 0)})
    for beginning, (name, label, text) in KINDS.items():
        found: Counter[Labels] = Counter()
        for key, count in counters.items():
            if key.startswith(beginning):
                found[((label, key.removeprefix(beginning)),)] += count
        yield counter(f"reworker_{name}_total", text, found)
