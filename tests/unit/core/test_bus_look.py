"""What people see of queues and workers: rates, ages, which work belongs to which queue, who is silent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from reworker.bus.memory import MemoryBroker, MemoryBus
from reworker.core.bus_look import (
    SILENT,
    BusLook,
    Counts,
    Rates,
    is_ours,
    kind_of,
    ladder_of,
    process_of,
    queue_looks,
    work_by_queue,
    worker_looks,
)
from reworker.core.bus_watch import with_code_workers
from reworker.core.roll_call import Heard, RollCall, answers_to, order_workers
from reworker.errors import Unroutable
from reworker.messages import Pong, RunningJob
from reworker.storage.work_contract import WorkRow
from reworker.testing.clock import FakeClock

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NOTHING = WorkRow("noop:Do", "sent", "", 1, None, None, None, 0, 0)


def work(step: str, status: str, **more: Any) -> WorkRow:
    return msgspec.structs.replace(NOTHING, step=step, status=status, **more)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def heard(worker: str = "noopworker", *, host: str = "h1", pid: int = 7, ago_s: float = 0.0) -> Heard:
    pong = Pong(worker, f"worker.{worker}", host, pid, "consuming", "1.0", [RunningJob("a.1", "i", 2.0)])
    return Heard(pong, ago(ago_s))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("worker.noop", "worker"),
        ("worker.noop.retry.5s", "retry"),
        ("worker.retry.5x", "worker"),
        ("re.replies", "core"),
        ("recore", "core"),
        ("re.dead", "dead"),
        ("odd", "worker"),
    ],
)
def test_kind_of_a_queue_is_known_by_its_name(name: str, kind: str) -> None:
    assert kind_of(name) == kind


def test_queue_of_another_name_is_ours_when_a_worker_reads_it() -> None:
    assert not is_ours("odd", ())
    assert is_ours("odd", ["odd"])
    assert is_ours(ladder_of("odd")[0], ["odd"])
    assert not is_ours("odd.retry.soon", ["odd"])
    assert is_ours("worker.x", ())


def test_rates_are_taken_over_the_window() -> None:
    rates = Rates(window_s=10)
    assert rates.of("q") == (None, None, None)
    for number, published in enumerate((0, 1000, 1200, 1400)):
        counts = Counts(ready=2 * number, published=published, taken=published // 2)
        rates.note(number * 5.0, {"q": counts})
    assert rates.of("q") == (40.0, 20.0, 0.4), "from the look 10 s before the last"
    assert rates.of("other") == (None, None, None)


def test_rate_is_not_known_when_the_count_began_anew_or_is_not_told() -> None:
    rates = Rates()
    rates.note(0.0, {"q": Counts(published=50, taken=None)})
    rates.note(1.0, {"q": Counts(published=3, taken=7)})
    assert rates.of("q") == (None, None, 0.0)


def test_work_belongs_to_the_queue_that_takes_its_command() -> None:
    queues = ["worker.noopworker", "worker.eu.noopworker", "worker.noopworker.retry.5s", "re.replies"]
    rows = [work("noop:Do", "sent"), work("noopworker", "sent"), work("eu.noop:X", "sent")]
    found = work_by_queue(queues, [*rows, work("gone:Do", "sent")])
    assert {name: len(some) for name, some in found.items()} == {
        "worker.noopworker": 2,
        "worker.eu.noopworker": 1,
        "worker.gone": 1,
    }


def test_queue_says_how_long_the_oldest_steps_wait_and_are_at_work() -> None:
    rows = [
        work("noop:A", "sent", oldest_sent_at=ago(90), sent_count=30, started_count=0),
        work("noop:B", "sent", oldest_sent_at=ago(10), sent_count=30),
        work("noop:A", "started", oldest_sent_at=ago(900), oldest_started_at=ago(40), started_count=6),
        work("noop:A", "completed", oldest_sent_at=ago(5000), oldest_started_at=ago(4000)),
    ]
    (one,) = queue_looks({"worker.noop": Counts(ready=2, consumers=1)}, Rates(), rows, NOW)
    assert (one.oldest_ready_s, one.oldest_unacked_s) == (90.0, 40.0)
    assert (one.in_per_s, one.out_per_s, one.rates_from) == (1.0, 0.1, "steps")
    assert (one.ready, one.consumers, one.unacked, one.is_there) == (2, 1, None, True)


def test_rates_of_the_broker_count_more_than_those_of_the_database() -> None:
    rates = Rates()
    rates.note(0.0, {"worker.noop": Counts(published=0, taken=0)})
    rates.note(2.0, {"worker.noop": Counts(published=8, taken=4)})
    (one,) = queue_looks({"worker.noop": Counts()}, rates, [work("noop", "sent", sent_count=60)], NOW)
    assert (one.in_per_s, one.out_per_s, one.rates_from) == (4.0, 2.0, "broker")


def test_age_of_the_first_message_counts_only_while_one_is_there() -> None:
    counts = {"re.replies": Counts(ready=1, head_at=ago(7)), "recore": Counts(ready=0, head_at=ago(7))}
    ages = {one.name: one.oldest_ready_s for one in queue_looks(counts, Rates(), (), NOW)}
    assert ages == {"re.replies": 7.0, "recore": None}


def test_queue_that_steps_wait_for_is_shown_though_it_is_not_there() -> None:
    rows = [work("gone:Do", "sent", oldest_sent_at=ago(5)), work("ended:Do", "completed")]
    looks = queue_looks({"re.dead": Counts(), "worker.b": Counts()}, Rates(), rows, NOW)
    assert [(one.name, one.is_there) for one in looks] == [
        ("worker.b", True),
        ("worker.gone", False),
        ("re.dead", True),
    ]


@pytest.mark.parametrize(
    ("worker", "process"),
    [
        ("h1:7:0", ("h1", 7)),
        ("fe80::1:7:0", ("fe80::1", 7)),
        ("noopworker", ("noopworker", 0)),
        ("a:b", ("a:b", 0)),
        ("h:x:0", ("h:x:0", 0)),
        ("", ("", 0)),
        ("<script>:1:2", ("<script>", 1)),
    ],
)
def test_process_of_an_instance_is_read_from_its_id(worker: str, process: tuple[str, int]) -> None:
    assert process_of(worker) == process


def test_process_is_silent_when_it_has_not_answered_for_a_while() -> None:
    found = worker_looks([heard(), heard("b", pid=8, ago_s=30)], (), (), NOW)
    assert [(one.worker, one.state, one.job_count) for one in found] == [
        ("b", SILENT, 1),
        ("noopworker", "consuming", 1),
    ]


def test_process_that_does_not_answer_is_shown_when_it_has_work_or_is_of_another_library() -> None:
    rows = [
        work("noop:Do", "started", worker="h1:7:0", attempt_count=2, newest_at=ago(1)),
        work("noop:Do", "started", worker="h2:8:1", attempt_count=3, newest_at=ago(5000)),
        work("noop:Do", "completed", worker="h2:8:0", newest_at=ago(9000)),
        work("noop:Do", "completed", worker="h3:9:0", newest_at=ago(5)),
        work("noop:Do", "completed", worker="h4:9:0", newest_at=ago(5000)),
        work("old:Do", "completed", worker="oldworker", newest_at=ago(5)),
        work("old:Do", "completed", worker="olderworker", newest_at=ago(5000)),
    ]
    found = worker_looks([heard()], rows, ["worker.noopworker"], NOW)
    shown = [(one.worker, one.queue, one.host, one.pid, one.state, one.job_count) for one in found]
    assert shown == [
        ("noopworker", "worker.noopworker", "h1", 7, "consuming", 1),
        ("noop", "worker.noopworker", "h2", 8, SILENT, 3),
        ("oldworker", "worker.old", "", 0, SILENT, 0),
    ]
    assert found[1].heard_at == ago(5000)


def test_versions_are_told_each_once() -> None:
    look = BusLook("up", "u", workers=worker_looks([heard(), heard(pid=8)], (), (), NOW))
    assert look.versions == ("1.0",)


# asking and ordering, over a bus in memory


def threaded(broker: MemoryBroker) -> MemoryBus:
    bus = MemoryBus(broker)
    bus.open(timeout_s=1)
    return bus


def test_nobody_listens_when_there_are_no_workers() -> None:
    bus = threaded(MemoryBroker())
    try:
        call = RollCall(bus, FakeClock())
        call.begin()
        assert not call.ask()
        assert call.heard() == []
        with pytest.raises(Unroutable):
            order_workers(bus, "pause", "noop", "why")
    finally:
        bus.close()


@pytest.mark.parametrize(("name", "is_meant"), [("noop", True), ("noopworker", True), ("no", False)])
def test_worker_is_known_by_its_short_name_too(name: str, is_meant: bool) -> None:
    assert answers_to("worker.eu.noopworker", name) is is_meant


def test_workers_of_codes_count_as_readers_of_their_queues() -> None:
    code, other = f"worker.code.{'0' * 24}", "worker.noopworker"
    counts = {code: Counts(ready=3), other: Counts(ready=1)}
    answers = [heard("codeworker"), heard("noopworker"), heard("codeworker", pid=8)]
    found = with_code_workers(counts, answers)
    assert {name: one.consumers for name, one in found.items()} == {code: 2, other: 0}
    assert with_code_workers(counts, []) == counts
