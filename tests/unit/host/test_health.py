"""Reports: what is ready, what has to be started anew, and why."""

from __future__ import annotations

import msgspec
import pytest

from reworker.bus.contract import Health
from reworker.host.children import SILENT_S, Children, decoded, encoded
from reworker.host.health import DEAF_S, BusWatch, Report, bus_families, combined, page_of
from reworker.host.metrics import counter, gauge
from reworker.testing import FakeClock

WELL = Health(
    is_connected=True,
    is_blocked=False,
    reconnect_count=2,
    unconfirmed_count=3,
    active_consumer_count=2,
    wanted_consumer_count=2,
)
DEAF = msgspec.structs.replace(WELL, active_consumer_count=1, last_error="queue gone")
AWAY = msgspec.structs.replace(WELL, is_connected=False, active_consumer_count=0, last_error="refused")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def test_bus_is_well_when_all_consumers_are_there(clock: FakeClock) -> None:
    assert BusWatch("w", clock).judge(WELL) == ((), ())


def test_bus_that_is_away_is_not_ready_and_a_new_start_would_not_help(clock: FakeClock) -> None:
    watch = BusWatch("worker w", clock)
    watch.judge(AWAY)
    clock.advance(3600)
    assert watch.judge(AWAY) == (
        (),
        ("worker w has had no connection to the broker for 3600 s: refused",),
    )


def test_bus_may_lack_a_consumer_for_a_moment_and_no_longer(clock: FakeClock) -> None:
    watch = BusWatch("w", clock)
    watch.judge(WELL)
    watch.judge(DEAF)
    clock.advance(DEAF_S)
    assert watch.judge(DEAF) == ((), ())
    clock.advance(0.1)
    (reason,), unready = watch.judge(DEAF)
    assert (reason, unready) == ("w is deaf, with 1 of 2 consumers for 5 s: queue gone", ())


def test_moments_of_deafness_are_not_added_up(clock: FakeClock) -> None:
    watch = BusWatch("w", clock)
    for _ in range(10):
        assert watch.judge(WELL) == ((), ())
        clock.advance(DEAF_S)
        assert watch.judge(DEAF) == ((), ())
        clock.advance(DEAF_S)


def test_bus_is_not_ready_before_its_first_consumers_are_there(clock: FakeClock) -> None:
    watch = BusWatch("w", clock)
    assert watch.judge(DEAF) == ((), ("w has 1 of 2 consumers so far",))
    assert watch.judge(WELL) == ((), ())
    assert watch.judge(DEAF) == ((), ())


def test_blocked_bus_is_not_ready(clock: FakeClock) -> None:
    dead, (reason,) = BusWatch("w", clock).judge(msgspec.structs.replace(WELL, is_blocked=True))
    assert not dead
    assert "memory or disk" in reason


def test_bus_whose_thread_does_nothing_has_to_be_started_anew(clock: FakeClock) -> None:
    watch = BusWatch("w", clock)
    assert watch.judge(msgspec.structs.replace(WELL, lag_s=DEAF_S)) == ((), ())
    stuck = msgspec.structs.replace(WELL, lag_s=7.2)
    assert watch.judge(stuck) == (("the I/O thread of w has done nothing for 7 s",), ())


def test_reason_of_the_deafness_comes_before_older_errors(clock: FakeClock) -> None:
    watch = BusWatch("w", clock)
    silent = msgspec.structs.replace(WELL, deaf_reason="nothing arrives", last_error="of old")
    watch.judge(WELL)
    watch.judge(silent)
    clock.advance(DEAF_S + 1)
    (reason,), _ = watch.judge(silent)
    assert reason == "w is deaf, with 2 of 2 consumers for 6 s: nothing arrives"


def test_figures_of_a_bus_are_told() -> None:
    values = {one.name: one.samples[0].value for one in bus_families("w", WELL)}
    assert values == {
        "reworker_bus_connected": 1,
        "reworker_bus_blocked": 0,
        "reworker_bus_unconfirmed": 3,
        "reworker_bus_consumers": 2,
        "reworker_bus_consumers_wanted": 2,
        "reworker_bus_reconnects_total": 2,
    }


@pytest.mark.parametrize("state", ["starting", "quiet", "draining", "stopped"])
def test_part_that_takes_no_work_is_alive_and_not_ready(state: str) -> None:
    report = Report("worker w", state=state)
    assert (report.is_alive, report.is_ready) == (True, False)
    assert report.reasons() == [f"worker w is {state}"]


@pytest.mark.parametrize("state", ["running", "consuming"])
def test_part_that_works_is_ready(state: str) -> None:
    report = Report("worker w", state=state)
    assert (report.is_alive, report.is_ready, report.reasons()) == (True, True, [])


def test_parts_of_one_process_are_ready_when_all_are() -> None:
    reports = [Report("a"), Report("b", state="quiet"), Report("c", dead=("c is deaf",))]
    both = combined([lambda one=one: one for one in reports], "up")()  # type: ignore[misc]  # bound in the loop
    assert not both.is_ready
    assert both.reasons() == ["c is deaf", "b is quiet"]
    assert combined([lambda: Report("a"), lambda: Report("b", state="consuming")], "up")().is_ready


def test_drain_of_a_process_is_the_longest_of_its_parts() -> None:
    short, unsaid, long = Report("a", drain_s=5.0), Report("b"), Report("c", drain_s=7.0)
    assert combined([lambda: short, lambda: long, lambda: unsaid], "up")().drain_s == 7.0
    assert combined([lambda: Report("a")], "up")().drain_s is None


def test_figures_of_parts_are_added_and_their_process_counts_once() -> None:
    part = Report("a", families=(counter("jobs_total", "", {(): 2}),))
    families = {one.name: one for one in combined([lambda: part, lambda: part], "up")().families}
    assert families["jobs_total"].samples[0].value == 4
    assert len(families["process_cpu_seconds_total"].samples) == 1


def test_page_says_what_is_wrong_in_words() -> None:
    assert page_of(Report("w", state="quiet"), False, ["w is quiet"]) == {
        "status": "failing",
        "name": "w",
        "state": "quiet",
        "reasons": ["w is quiet"],
    }


def report(count: int, **more: object) -> Report:
    families = (counter("jobs_total", "", {(): count}), gauge("in_flight", "", (), 1))
    return msgspec.structs.replace(Report("worker w", state="consuming", families=families), **more)


def figure(children: Children, name: str) -> float | None:
    return next((one.samples[0].value for one in children.report().families if one.name == name), None)


def test_report_comes_through_a_pipe_as_it_was() -> None:
    line = encoded(report(3, dead=("deaf",)))
    assert line.count(b"\n") == 1
    assert decoded(line) == report(3, dead=("deaf",))


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b'{"name": 1}', b"\xff\xfe", encoded(report(1))[:-20]])
def test_half_a_report_is_none(line: bytes) -> None:
    assert decoded(line) is None


def test_host_is_ready_when_all_children_have_said_so(clock: FakeClock) -> None:
    children = Children(clock)
    assert children.report().reasons() == ["host is starting"]
    children.expect("w/0")
    assert children.report().reasons() == ["w/0: w/0 is starting"]
    children.take("w/0", report(1))
    assert children.report().is_ready
    children.expect("w/1")
    assert not children.report().is_ready


def test_deaf_child_does_not_make_the_host_be_started_anew(clock: FakeClock) -> None:
    children = Children(clock)
    children.take("w/0", report(1, dead=("it is deaf",)))
    assert (children.report().is_alive, children.report().reasons()) == (True, ["w/0: it is deaf"])


def test_child_that_falls_silent_is_a_reason(clock: FakeClock) -> None:
    children = Children(clock)
    children.take("w/0", report(1))
    clock.advance(SILENT_S + 1)
    assert children.report().reasons() == ["w/0: has said nothing for 11 s"]


def test_counters_never_fall_when_children_are_replaced(clock: FakeClock) -> None:
    children = Children(clock)
    for count in (3, 4):
        children.expect("w/0")
        children.take("w/0", report(count))
    children.take("w/1", report(10))
    assert (figure(children, "jobs_total"), figure(children, "in_flight")) == (17, 2)
    children.forget("w/1")
    assert (figure(children, "jobs_total"), figure(children, "in_flight")) == (17, 1)
