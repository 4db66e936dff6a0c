"""The desk in a core: what waits is started, what has ended is written down, and what follows from it."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from reworker.core.tasks.desk import WINDOW_COUNT
from reworker.core.tasks.options import TaskOptions
from reworker.storage.task_rows import TaskFilter
from tests.component.core.kit import Queue, running
from tests.component.core.tasks.kit import COMPLETE, CodeWorker, TaskWorld, failed

STARTED = ({"status": "started"},)


def test_task_is_run_by_the_worker_of_its_code(world: TaskWorld) -> None:
    code = world.code(config="c", env_vars={"A": "B"})
    worker = CodeWorker(world, code)
    (own,) = world.queue(payload='{"a":1}', timeout_s=60.0)
    assert world.statuses([own]) == ["queued"]
    world.run()
    task = world.task(own)
    assert (task.status, task.phase, task.msg, task.end_at) == ("complete", "over", "", world.clock.now())
    assert task.start_at is not None
    parameters = worker.parameters(worker.steps[0])
    revision = world.core.service.codes.revision(code)
    expected = {
        "task_id": own,
        "project_id": world.project.id,
        "code_id": code.id,
        "code_name": "Fib",
        "revision_id": code.revision_id,
        "rev": 1,
        "digest": revision.digest,
        "size_bytes": 2,
        "runtime": "sh",
        "file_name": "fib.sh",
        "payload": '{"a":1}',
        "config": "c",
        "env_vars": {"A": "B"},
        "timeout_s": 60.0,
        "schedule_id": "",
    }
    assert parameters | expected == parameters
    assert world.status(own) == "completed"


@pytest.mark.parametrize(
    ("script", "status", "msg"),
    [
        (failed(3), "error", "exit code 3"),
        (failed(124, "timeout"), "timeout", "exit code 124"),
        (failed(137, "killed"), "killed", "exit code 137"),
        (failed(1, "a word of a later version"), "error", "exit code 1"),
        (({"status": "failed", "message": "no data"},), "error", "no data"),
        (({"status": "cancelled", "message": "by hand"},), "cancelled", "by hand"),
        ((*STARTED, {"status": "unknown", "message": "it was killed"}), "killed", "it was killed"),
    ],
)
def test_task_ends_as_its_worker_says(
    world: TaskWorld, script: tuple[dict[str, object], ...], status: str, msg: str
) -> None:
    worker = CodeWorker(world, world.code())
    worker.script = script
    (own,) = world.queue()
    world.run()
    task = world.task(own)
    assert (task.status, task.phase, task.msg) == (status, "over", msg)


def test_task_runs_when_its_worker_has_started_it(world: TaskWorld) -> None:
    worker = CodeWorker(world, world.code())
    worker.script = STARTED
    (own,) = world.queue()
    world.run()
    (row,) = world.rows()
    assert (row.status, row.phase, row.start_at) == ("running", "active", world.clock.now())
    world.clock.advance(5)
    worker.answer(own, COMPLETE[-1])
    world.run()
    assert world.task(own).start_at == row.start_at
    assert world.task(own).end_at == world.clock.now()


def test_no_more_tasks_are_active_than_a_code_allows(world: TaskWorld) -> None:
    worker = CodeWorker(world, world.code(max_concurrency=2))
    worker.script = STARTED
    ids = world.queue(5)
    world.run()
    assert worker.task_ids == ids[:2]
    worker.answer(ids[1], COMPLETE[-1])
    world.run()
    assert worker.task_ids == ids[:3]
    worker.script = COMPLETE
    worker.answer(ids[0], COMPLETE[-1])
    worker.answer(ids[2], COMPLETE[-1])
    world.run()
    assert world.statuses(ids) == ["complete"] * 5


def test_tasks_wait_in_the_database_when_very_many_are_started(world: TaskWorld) -> None:
    code = world.code()
    world.queue(WINDOW_COUNT + 5)
    world.run()
    (load,) = world.storage.reader.waiting_codes(world.clock.now())
    assert (load.code_id, load.active_count) == (code.id, WINDOW_COUNT)


def test_higher_priority_passes_what_waits(world: TaskWorld) -> None:
    worker = CodeWorker(world, world.code(max_concurrency=1, default_priority=1))
    worker.script = STARTED
    (first,) = world.queue()
    world.run()
    low, middle, high = (world.queue(priority=one)[0] for one in (0, None, 2))
    worker.script = COMPLETE
    worker.answer(first, COMPLETE[-1])
    world.run()
    assert worker.task_ids == [first, high, middle, low]


def test_tasks_of_one_request_are_started_in_their_order(world: TaskWorld) -> None:
    worker = CodeWorker(world, world.code(max_concurrency=1))
    ids = world.queue(20)
    world.run()
    assert worker.task_ids == ids


def test_task_waits_until_its_delay_is_over(world: TaskWorld) -> None:
    CodeWorker(world, world.code())
    (own,) = world.queue(delay_s=30.0)
    world.run()
    assert (world.statuses([own]), world.task(own).phase) == (["queued"], "waiting")
    world.advance(29)
    assert world.statuses([own]) == ["queued"]
    world.advance(1)
    assert world.statuses([own]) == ["complete"]


def test_delay_stays_as_long_as_it_was_when_the_clock_jumps(world: TaskWorld) -> None:
    CodeWorker(world, world.code())
    (own,) = world.queue(delay_s=30.0)
    world.run()
    world.clock.jump(-3600)
    world.run()
    world.advance(30)
    assert world.statuses([own]) == ["complete"]


def test_paused_code_starts_nothing_until_it_is_resumed(world: TaskWorld) -> None:
    code = world.code()
    CodeWorker(world, code)
    codes = world.core.service.codes
    assert codes.pause(code, is_paused=True)
    assert not codes.pause(code, is_paused=True)
    (own,) = world.queue()
    world.run()
    assert world.task(own).phase == "waiting"
    assert codes.pause(code, is_paused=False)
    world.run()
    assert world.statuses([own]) == ["complete"]


def test_task_stays_when_its_code_is_paused_or_filled_between_look_and_lock(world: TaskWorld) -> None:
    code = world.code(max_concurrency=1)
    worker = CodeWorker(world, code)
    worker.script = STARTED
    world.queue(2)
    desk, reader = world.core.task_desk, world.storage.reader
    (load,) = reader.waiting_codes(world.clock.now())
    world.core.service.codes.pause(code, is_paused=True)
    assert desk._start_some(load) == 0
    world.core.service.codes.pause(code, is_paused=False)
    assert (desk._start_some(load), desk._start_some(load)) == (1, 0)


def test_task_runs_the_revision_with_which_it_was_queued(world: TaskWorld) -> None:
    code = world.code()
    worker = CodeWorker(world, code)
    world.core.service.codes.pause(code, is_paused=True)
    (old,) = world.queue()
    again = world.code()
    assert (again.id, again.rev, again.is_paused) == (code.id, 2, True)
    (new,) = world.queue()
    world.core.service.codes.pause(code, is_paused=False)
    world.run()
    revs = {one["task_id"]: one["rev"] for one in map(worker.parameters, worker.steps)}
    assert revs == {old: 1, new: 2}


def test_waiting_task_is_cancelled_at_once(world: TaskWorld) -> None:
    worker = CodeWorker(world, world.code())
    (own,) = world.queue(delay_s=5.0)
    done = world.core.service.tasks.cancel(own)
    assert (done.status, done.phase, done.end_at) == ("cancelled", "over", world.clock.now())
    world.advance(10)
    assert (world.statuses([own]), worker.steps) == (["cancelled"], [])


def test_running_task_is_shown_as_cancelled_and_ends_as_such(world: TaskWorld) -> None:
    worker = CodeWorker(world, world.code(retries=2))
    worker.script = STARTED
    (own,) = world.queue()
    world.run()
    assert world.core.service.tasks.cancel(own).status == "cancelled"
    world.run()
    assert (world.task(own).status, world.task(own).phase) == ("cancelled", "active")
    assert [row.status for row in world.rows()] == ["cancelled"]
    worker.answer(own, {"status": "cancelled"})
    world.run()
    assert (world.task(own).status, world.task(own).phase) == ("cancelled", "over")


def test_cancelled_task_is_not_tried_again_when_its_process_fails(world: TaskWorld) -> None:
    worker = CodeWorker(world, world.code(retries=2))
    worker.script = STARTED
    (own,) = world.queue()
    world.run()
    world.core.service.tasks.cancel(own)
    worker.answer(own, failed(3)[-1])
    world.run()
    (row,) = world.rows()
    assert (row.status, row.phase, row.retry_task_id) == ("cancelled", "over", "")


def test_task_that_is_over_stays_as_it_is_when_it_is_cancelled(world: TaskWorld) -> None:
    CodeWorker(world, world.code())
    (own,) = world.queue()
    world.run()
    assert world.core.service.tasks.cancel(own).status == "complete"
    assert world.statuses([own]) == ["complete"]


def test_all_open_tasks_of_a_code_are_cancelled(world: TaskWorld) -> None:
    code = world.code(max_concurrency=1)
    worker = CodeWorker(world, code)
    worker.script = STARTED
    (done,) = world.queue()
    world.run()
    worker.answer(done, COMPLETE[-1])
    world.run()
    ids = world.queue(3)
    world.run()
    assert world.core.service.tasks.cancel_all(code) == 3
    worker.answer(ids[0], {"status": "cancelled"})
    world.run()
    assert world.statuses([done, *ids]) == ["complete", *["cancelled"] * 3]
    assert world.core.service.tasks.cancel_all(code) == 0


def test_task_is_tried_again_after_an_error_and_linked(world: TaskWorld) -> None:
    worker = CodeWorker(world, world.code(retries=2, retries_delay_s=10.0))
    worker.script = failed()
    (own,) = world.queue(payload="p", label="l", priority=2)
    world.run()
    world.advance(9)
    first, second = sorted(world.rows(), key=lambda row: row.retry_no)
    assert (first.id, first.status, first.retry_task_id) == (own, "error", second.id)
    assert (second.original_id, second.retry_no, second.delay_s, second.status) == (own, 1, 10.0, "queued")
    assert (second.label, second.priority, second.msg, second.start_at) == ("l", 2, "", None)
    world.advance(1)
    world.advance(10)
    rows = sorted(world.rows(), key=lambda row: row.retry_no)
    assert [row.status for row in rows] == ["error"] * 3
    assert (rows[2].original_id, rows[2].retry_no, rows[2].retry_task_id) == (own, 2, "")
    assert [worker.parameters(step)["payload"] for step in worker.steps] == ["p"] * 3


@pytest.mark.parametrize("status", ["timeout", "killed"])
def test_task_is_not_tried_again_after_another_end_than_an_error(world: TaskWorld, status: str) -> None:
    CodeWorker(world, world.code(retries=2)).script = failed(status=status)
    world.queue()
    world.run()
    assert [row.status for row in world.rows()] == [status]


def test_task_is_not_tried_again_when_its_code_was_deleted(world: TaskWorld) -> None:
    code = world.code(retries=2)
    worker = CodeWorker(world, code)
    worker.script = STARTED
    (own,) = world.queue()
    world.run()
    world.core.service.codes.remove(code)
    worker.answer(own, failed()[-1])
    world.run()
    assert [row.status for row in world.rows()] == ["error"]


def test_task_that_waits_runs_although_its_code_was_deleted(world: TaskWorld) -> None:
    code = world.code()
    CodeWorker(world, code)
    (own,) = world.queue(delay_s=1.0)
    world.core.service.codes.remove(code)
    world.advance(1)
    assert world.statuses([own]) == ["complete"]


def test_result_is_sent_to_the_queue_of_the_task_or_its_code(world: TaskWorld) -> None:
    results, own_results = Queue(world.broker, "results"), Queue(world.broker, "own")
    CodeWorker(world, world.code(result_queue="results"))
    (first,) = world.queue()
    (second,) = world.queue(options=TaskOptions(result_queue="own"))
    world.run()
    (told,) = results.bodies()
    assert (told["id"], told["status"], told["code_name"]) == (first, "complete", "Fib")
    assert results.messages()[0].properties.correlation_id == first
    (told,) = own_results.bodies()
    assert (told["id"], json.dumps(told["end_time"])[1:11]) == (second, "2026-01-02")


def test_desk_notes_what_another_core_has_taken_in(world: TaskWorld) -> None:
    """Replies go to either core; a list by status must be right whoever has heard of the start."""
    worker = CodeWorker(world, world.code())
    worker.script = ()
    (own,) = world.queue()
    world.run()
    other = world.beside("other")
    with running(other):
        other.core.loop.turn()
        worker.answer(own, *STARTED)
        world.broker.pump()
        other.core.loop.turn()
        world.core.loop.turn()
        world.core.task_desk.turn()
        assert [row.status for row in world.rows()] == ["running"]


def test_desk_looks_again_soon_while_tasks_run_that_a_former_life_has_started(world: TaskWorld) -> None:
    worker = CodeWorker(world, world.code())
    worker.script = STARTED
    (own,) = world.queue()
    world.run()
    world.kill()
    world.start()
    world.run()
    desk = world.core.task_desk
    assert own in desk._active
    worker.answer(own, COMPLETE[-1])
    world.broker.pump()
    world.core.loop.turn()
    assert desk._woken.is_set()


def test_code_that_is_full_costs_no_transaction(world: TaskWorld) -> None:
    CodeWorker(world, world.code(max_concurrency=1)).script = STARTED
    world.queue(3)
    world.run()
    world.storage.fuse.passed.clear()
    assert not world.core.task_desk.turn()
    assert world.storage.fuse.passed == []


def test_desk_wakes_when_the_next_task_is_due(world: TaskWorld) -> None:
    world.code()
    desk = world.core.task_desk
    idle_s = desk._rest_s()
    world.queue(delay_s=2.0)
    assert desk._rest_s() == 2.0 < idle_s
    world.clock.advance(1.5)
    assert desk._rest_s() == 0.5


def test_counts_are_of_what_a_project_has(world: TaskWorld) -> None:
    CodeWorker(world, world.code())
    world.queue(3)
    world.run()
    world.queue(delay_s=60.0)
    counts = world.core.service.tasks.counts(TaskFilter(project_id=world.project.id))
    assert counts == {"complete": 3, "queued": 1}
    since = world.clock.now() + timedelta(seconds=1)
    assert world.storage.reader.task_counts(TaskFilter(), since) == {}
