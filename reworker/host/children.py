"""Health and figures of the children of a host: what each says of itself, as one report."""

from __future__ import annotations

import msgspec

from reworker import __version__
from reworker.clock import Clock
from reworker.host.health import RUNNING, STARTING, Report
from reworker.host.metrics import Family, lasting, merged, process_families

#: seconds without a report after which a child counts as silent.
SILENT_S = 10.0


class Children:
    """Reports of the children of a host, as one; what a child has counted outlives it.

    Threads: any; `take` and `forget` replace whole values.

    Args:
        clock: for the age of reports.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._reports: dict[str, tuple[Report | None, float]] = {}
        self._counted: dict[str, list[Family]] = {}
        self._state = STARTING  # who asks before the first child is there must not take the host for ready

    def expect(self, child: str) -> None:
        """Note that a child was started, in place of the last one of this name."""
        self.forget(child)
        self._reports[child], self._state = (None, self._clock.mono_s()), RUNNING

    def take(self, child: str, report: Report) -> None:
        """Note what a child says."""
        self._reports[child], self._state = (report, self._clock.mono_s()), RUNNING

    def forget(self, child: str) -> None:
        """Note that a child has ended; what it has counted stays."""
        report, _ = self._reports.pop(child, (None, 0.0))
        if report is not None:
            self._counted[child] = merged([self._counted.get(child, []), lasting(report.families)])

    def report(self) -> Report:
        """Return the state of all children. A dead one is a reason not to be ready: the host replaces it."""
        found = {child: self._judged(child, *kept) for child, kept in list(self._reports.items())}
        families = merged(
            [
                process_families(__version__, "host"),
                *list(self._counted.values()),
                *(one.families for one in found.values()),
            ]
        )
        reasons = [f"{child}: {reason}" for child, one in found.items() for reason in one.reasons()]
        return Report("host", self._state, unready=tuple(reasons), families=tuple(families))

    def _judged(self, child: str, report: Report | None, at_mono_s: float) -> Report:
        age_s = self._clock.mono_s() - at_mono_s
        if report is None:
            return Report(child, state=STARTING)
        if age_s > SILENT_S:
            return msgspec.structs.replace(report, dead=(f"has said nothing for {age_s:.0f} s",))
        return report


def encoded(report: Report) -> bytes:
    """Return a report as one line of JSON."""
    return msgspec.json.encode(report) + b"\n"


def decoded(line: bytes | str) -> Report | None:
    """Return the report in a line, or None when it is none: a child that is killed leaves half of one."""
    try:
        return msgspec.json.decode(line, type=Report)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
