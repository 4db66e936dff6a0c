"""Tasks in cores that are processes, on real brokers and databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import pika
import pytest

from reworker.core.tasks.options import ScheduleOptions, TaskOptions
from reworker.core.tasks.schedule_drafts import ScheduleDraft
from tests.integration.core_support import Cores
from tests.integration.tasks_support import CodeHands, queue, rows, statuses, upload
from tests.support.processes import Process
from tests.support.waiting import wait_until

#: a broker and a database: both of those that need a server, and both that need none.
PLACES = [
    pytest.param("embedded", "sqlite", id="alone"),
    pytest.param("rabbitmq", "postgres", id="servers", marks=[pytest.mark.rabbitmq, pytest.mark.postgres]),
]
on_both = pytest.mark.parametrize(("any_broker_url", "any_database_url"), PLACES, indirect=True)
FAILED = {"status": "failed", "message": "exit code 3", "data": {"status": "error", "exit_code": 3}}


@pytest.fixture
def cores(process: Callable[..., Process], any_broker_url: str, any_database_url: str) -> Iterator[Cores]:
    made = Cores(process, any_broker_url, any_database_url)
    yield made
    made.close()


@pytest.fixture
def hands(any_broker_url: str) -> Iterator[CodeHands]:
    made = CodeHands(any_broker_url)
    yield made
    made.close()


@on_both
def test_tasks_run_by_priority_and_age_one_at_a_time(cores: Cores, hands: CodeHands) -> None:
    service, code = cores.service, upload(cores.service, "Fib", max_concurrency=1)
    service.codes.pause(code, is_paused=True)
    low = queue(service, "Fib", 5)
    high = queue(service, "Fib", 2, priority=2)
    (late,) = queue(service, "Fib", delay_s=1.0, priority=2)
    hands.take(code)
    cores.start("one")
    service.codes.pause(code, is_paused=False)
    wait_until(lambda: statuses(service) == {"complete": 8}, 60)
    assert [one for one in hands.order if one != late] == [*high, *low]
    assert (hands.most["Fib"], set(hands.runs.values())) == (1, {1})
    done = service.tasks.task(late)
    assert done.start_at is not None
    assert done.start_at >= done.due_at


@on_both
def test_tasks_end_in_every_way_and_what_follows_from_it(
    cores: Cores, hands: CodeHands, any_broker_url: str
) -> None:
    service = cores.service
    code = upload(service, "Fib", retries=1, retries_delay_s=0.1)
    hands.work_s = None
    hands.take(code)
    cores.start("one")
    with closing(pika.BlockingConnection(pika.URLParameters(any_broker_url))) as connection:
        channel = connection.channel()
        channel.queue_declare("results")
        good, bad, killed, cancelled = queue(service, "Fib", 4, options=TaskOptions(result_queue="results"))
        (waits,) = queue(service, "Fib", delay_s=60.0)
        wait_until(lambda: statuses(service) == {"running": 4, "queued": 1}, 60)
        assert service.tasks.cancel(waits).phase == "over"
        assert service.tasks.cancel(cancelled).status == "cancelled"
        hands.release(cancelled, {"status": "cancelled"})
        hands.release(good)
        hands.release(bad, FAILED)
        hands.release(killed, {"status": "unknown", "reason": "its worker was killed"})
        wait_until(lambda: len(rows(service)) == 6, 60)
        again = next(row for row in rows(service) if row.original_id == bad)
        assert (again.retry_no, service.tasks.task(bad).retry_task_id) == (1, again.id)
        hands.release(again.id, FAILED)
        expected = {"complete": 1, "error": 2, "killed": 1, "cancelled": 2}
        wait_until(lambda: statuses(service) == expected, 60)
        wait_until(lambda: all(row.phase == "over" for row in rows(service)), 60)
        wait_until(lambda: _count(channel) == 5, 60)


def _count(channel: pika.adapters.blocking_connection.BlockingChannel) -> int:
    count: int = channel.queue_declare("results", passive=True).method.message_count
    return count


@on_both
def test_all_tasks_of_a_code_are_cancelled(cores: Cores, hands: CodeHands) -> None:
    service, code = cores.service, upload(cores.service, "Fib", max_concurrency=2)
    hands.work_s = None
    hands.take(code)
    cores.start("one")
    ids = queue(service, "Fib", 6)
    wait_until(lambda: statuses(service) == {"running": 2, "queued": 4}, 60)
    assert service.tasks.cancel_all(code) == 6
    for own_id in ids[:2]:
        hands.release(own_id, {"status": "cancelled"})
    wait_until(lambda: all(row.phase == "over" for row in rows(service)), 60)
    assert (statuses(service), sum(hands.runs.values())) == ({"cancelled": 6}, 2)


@pytest.mark.rabbitmq
@pytest.mark.postgres
@pytest.mark.parametrize(("any_broker_url", "any_database_url"), [("rabbitmq", "postgres")], indirect=True)
def test_two_cores_share_tasks_and_schedules_and_do_nothing_twice(cores: Cores, hands: CodeHands) -> None:
    service = cores.service
    codes = [upload(service, name, max_concurrency=most) for name, most in (("Two", 2), ("Five", 5))]
    hands.work_s = 0.02
    for code in codes:
        hands.take(code)
    for name in ("one", "two"):
        cores.start(name, lease_s=60.0)  # which does not end, however busy the machine is
    project = service.projects.find("default")
    ids = [*queue(service, "Two", 20), *queue(service, "Five", 50)]
    draft = ScheduleDraft("Five", options=ScheduleOptions(priority=2))
    service.schedules.add(project, [draft] * 30)
    wait_until(lambda: statuses(service) == {"complete": 100}, 90)
    assert set(ids) <= set(hands.runs)
    assert (len(hands.runs), set(hands.runs.values())) == (100, {1})
    assert (hands.most["Two"], hands.most["Five"]) == (2, 5)
    assert service.schedules.counts(project) == {"complete": 30}
    assert len({row.schedule_id for row in rows(service) if row.schedule_id}) == 30
