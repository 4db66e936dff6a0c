"""What systemd is told, and when; the socket itself is tried in the integration tests."""

from __future__ import annotations

import os

import pytest

from reworker.host.health import Report
from reworker.host.systemd import Announcer, Notifier, notifier_of
from reworker.testing import FakeClock


class Heard(Notifier):
    """Keeps what is told."""

    def __init__(self, watchdog_s: float = 0.0) -> None:
        super().__init__("/nowhere", watchdog_s)
        self.words: list[str] = []

    def tell(self, *words: str) -> None:
        self.words += words


def announcer(watchdog_s: float = 0.0) -> tuple[Announcer, Heard, FakeClock]:
    clock, heard = FakeClock(), Heard(watchdog_s)
    return Announcer(heard, clock), heard, clock


def test_ready_is_told_once_and_not_before_the_start_is_over() -> None:
    made, heard, _ = announcer()
    made.announce(Report("w", state="starting"))
    assert "READY=1" not in heard.words
    for _ in range(3):
        made.announce(Report("w", state="consuming"))
    assert heard.words.count("READY=1") == 1


def test_worker_that_starts_paused_has_started() -> None:
    made, heard, _ = announcer()
    made.announce(Report("w", state="quiet"))
    assert heard.words == ["READY=1", "STATUS=w is quiet"]


def test_status_is_told_when_it_changes() -> None:
    made, heard, _ = announcer()
    for reasons in ((), (), ("no\nbroker",), ("no\nbroker",), ()):
        made.announce(Report("w", state="consuming", unready=reasons))
    told = [one for one in heard.words if one.startswith("STATUS")]
    assert told == ["STATUS=consuming", "STATUS=no broker", "STATUS=consuming"]


def test_stopping_is_told_once() -> None:
    made, heard, _ = announcer()
    for state in ("consuming", "draining", "stopped"):
        made.announce(Report("w", state=state))
    made.stopping()
    assert heard.words.count("STOPPING=1") == 1


def test_end_before_the_start_is_told() -> None:
    made, heard, _ = announcer()
    made.stopping()
    assert heard.words == ["STOPPING=1"]


def test_watchdog_is_fed_twice_in_its_period() -> None:
    made, heard, clock = announcer(watchdog_s=30)
    for _ in range(60):
        made.announce(Report("w", state="consuming"))
        clock.advance(1)
    assert heard.words.count("WATCHDOG=1") == 4


@pytest.mark.parametrize(
    ("report", "is_fed"),
    [
        (Report("w", state="consuming", dead=("deaf",)), False),
        (Report("w", state="consuming", unready=("no broker",)), True),
        (Report("w", state="draining"), True),
        (Report("w", state="starting"), True),
    ],
)
def test_watchdog_is_not_fed_when_a_new_start_would_help(report: Report, is_fed: bool) -> None:
    made, heard, _ = announcer(watchdog_s=30)
    made.announce(report)
    assert ("WATCHDOG=1" in heard.words) == is_fed


def test_no_watchdog_is_fed_that_nobody_asked_for() -> None:
    made, heard, _ = announcer()
    made.announce(Report("w", state="consuming"))
    assert "WATCHDOG=1" not in heard.words


def test_reload_is_told_with_its_time_and_its_end() -> None:
    made, heard, _ = announcer()
    made.announce(Report("w", state="consuming"))
    heard.words.clear()
    made.on_reload(True)
    made.on_reload(False)
    assert heard.words == ["RELOADING=1", "MONOTONIC_USEC=1000000000", "READY=1", "STATUS=consuming"]


def test_variables_are_taken_so_that_no_child_speaks_in_our_name() -> None:
    environ = {"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid()), "A": "b"}
    made = notifier_of(environ)
    assert made is not None
    assert (made.watchdog_s, environ) == (30.0, {"A": "b"})


@pytest.mark.parametrize(
    ("environ", "watchdog_s"),
    [
        ({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}, 0.0),
        ({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "1000000"}, 1.0),
        ({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "soon"}, 0.0),
        ({"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "-5"}, 0.0),
        ({"NOTIFY_SOCKET": "relative"}, None),
        ({}, None),
    ],
)
def test_watchdog_is_ours_when_systemd_means_us(environ: dict[str, str], watchdog_s: float | None) -> None:
    made = notifier_of(environ)
    assert (made.watchdog_s if made is not None else None) == watchdog_s
