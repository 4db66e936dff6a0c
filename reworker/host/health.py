"""What a process says of its health and its figures: the report, and how a bus is judged for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from reworker import __version__
from reworker.bus.contract import Health
from reworker.clock import Clock
from reworker.host.metrics import Family, counter, gauge, merged, process_families

#: seconds for which a consumer may be missing, or the I/O thread busy, before that counts: repairs take some.
DEAF_S = 5.0
#: words for the life of a part; those of a pool are in `pool.states`.
RUNNING, STARTING = "running", "starting"
#: in which it does its work.
WORKING = (RUNNING, "consuming")


class Report(msgspec.Struct, frozen=True):
    """State of a process, or of a part of it, at one moment; travels as JSON from a child to its host.

    Args:
        name: what it is, for people.
        state: of its life: starting, running or consuming, quiet, draining, stopped.
        dead: why it has to be started anew, in words; empty while nothing speaks for that.
        unready: why it does no work at this moment, in words; what is dead is not repeated.
        families: its figures.
        drain_s: seconds that its running jobs may take at a stop, as its settings are now.
    """

    name: str
    state: str = RUNNING
    dead: tuple[str, ...] = ()
    unready: tuple[str, ...] = ()
    families: tuple[Family, ...] = ()
    drain_s: float | None = None

    @property
    def is_alive(self) -> bool:
        """Tell whether nothing speaks for a new start."""
        return not self.dead

    @property
    def is_ready(self) -> bool:
        """Tell whether it does its work."""
        return not self.dead and not self.unready and self.state in WORKING

    def waits(self) -> list[str]:
        """Return why it does no work though a new start would not help, in words."""
        return [*self.unready, *([] if self.state in WORKING else [f"{self.name} is {self.state}"])]

    def reasons(self) -> list[str]:
        """Return why it is not ready, in words."""
        return list(dict.fromkeys((*self.dead, *self.waits())))


#: asks for the state of this moment; cheap, any thread.
Probe = Callable[[], Report]


class Lasting:
    """For how long something has been the case, as far as it was looked at."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since_mono_s: float | None = None

    def seconds(self, is_so: bool) -> float:
        """Note whether it is the case; return for how long it has been, 0 when it is not."""
        if not is_so:
            self._since_mono_s = None
            return 0.0
        now_s = self._clock.mono_s()
        if self._since_mono_s is None:
            self._since_mono_s = now_s
        return now_s - self._since_mono_s


class BusWatch:
    """Judges one bus, and remembers for how long it has been deaf.

    Args:
        name: of what uses the bus.
        clock: measures.
    """

    def __init__(self, name: str, clock: Clock) -> None:
        self._name = name
        self._deaf, self._away = Lasting(clock), Lasting(clock)
        self._was_whole = False

    def judge(self, health: Health) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return why it has to be started anew, and why it does no work, in words."""
        deaf_s = self._deaf.seconds(health.is_deaf)
        away_s = self._away.seconds(not health.is_connected)
        reason = (health.deaf_reason if health.is_deaf else "") or health.last_error
        why = f": {reason}" if reason else ""
        if health.lag_s > DEAF_S:
            return (f"the I/O thread of {self._name} has done nothing for {health.lag_s:.0f} s",), ()
        if not health.is_connected:
            return (), (f"{self._name} has had no connection to the broker for {away_s:.0f} s{why}",)
        self._was_whole = self._was_whole or not health.is_deaf
        count = f"{health.active_consumer_count} of {health.wanted_consumer_count} consumers"
        if deaf_s > DEAF_S:
            return (f"{self._name} is deaf, with {count} for {deaf_s:.0f} s{why}",), ()
        if not self._was_whole:
            return (), (f"{self._name} has {count} so far",)
        if health.is_blocked:
            return (), (f"the broker lets {self._name} publish nothing: it lacks memory or disk",)
        return (), ()


def bus_families(worker: str, health: Health) -> list[Family]:
    """Return the figures of one bus; `worker` names who uses it."""
    labels = (("worker", worker),)
    figures = (
        ("connected", "1 with a connection to the broker.", health.is_connected),
        ("blocked", "1 while the broker lets us publish nothing.", health.is_blocked),
        ("unconfirmed", "Messages published and not yet confirmed.", health.unconfirmed_count),
        ("consumers", "Consumers that are there.", health.active_consumer_count),
        ("consumers_wanted", "Consumers that should be there.", health.wanted_consumer_count),
    )
    text = "Connections made after one was lost."
    return [
        *(gauge(f"reworker_bus_{name}", text, labels, value) for name, text, value in figures),
        counter("reworker_bus_reconnects_total", text, {labels: health.reconnect_count}),
    ]


def combined(probes: Sequence[Probe], name: str) -> Probe:
    """Return a probe for several parts of one process; it is ready when all are."""

    def probe() -> Report:
        reports = [one() for one in probes]
        parts = "; ".join(one.name for one in reports)
        return _sum_of(name, reports, process_families(__version__, parts))

    return probe


def _sum_of(name: str, reports: Sequence[Report], own: Iterable[Family]) -> Report:
    states = {one.state for one in reports}
    return Report(
        name,
        state=states.pop() if len(states) == 1 else RUNNING,
        dead=tuple(reason for one in reports for reason in one.dead),
        unready=tuple(reason for one in reports for reason in one.waits()),
        families=tuple(merged([own, *(one.families for one in reports)])),
        drain_s=max((one.drain_s for one in reports if one.drain_s is not None), default=None),
    )


def page_of(report: Report, is_good: bool, reasons: Iterable[str]) -> Mapping[str, object]:
    """Return the body of an answer about health: ``{"status", "name", "state", "reasons": [str]}``."""
    return {
        "status": "ok" if is_good else "failing",
        "name": report.name,
        "state": report.state,
        "reasons": list(reasons),
    }
