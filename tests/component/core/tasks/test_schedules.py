"""Schedules in a core: they fire once for each moment, whoever looks."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from reworker.core.tasks.options import ScheduleOptions
from reworker.core.tasks.schedule_drafts import ScheduleChanges, ScheduleDraft
from reworker.core.tasks.schedules import FIRE_COUNT, MOST_SCHEDULES
from reworker.storage.task_rows import ScheduleRow
from reworker.task_errors import TaskRefused, ThingNotFound
from tests.component.core.kit import Fuse, Killed
from tests.component.core.tasks.kit import CodeWorker, TaskWorld

HOUR_S = 3600.0


def add(world: TaskWorld, **fields: object) -> ScheduleRow:
    draft = ScheduleDraft(**{"code_name": "Fib", "payload": "{}", **fields})  # type: ignore[arg-type]  # the tests name the fields
    return world.core.service.schedules.add(world.project, [draft], actor="ann")[0]


def stored(world: TaskWorld, row: ScheduleRow) -> ScheduleRow:
    return world.core.service.schedules.schedule(row.id)


def test_task_of_a_schedule_is_an_ordinary_one_that_knows_it(world: TaskWorld) -> None:
    worker = CodeWorker(world, world.code())
    options = ScheduleOptions("n", 2, 60.0, 5.0, "big")
    row = add(world, payload="p", run_every_s=HOUR_S, label="l", options=options)
    world.run()
    (task,) = world.rows(schedule_id=row.id)
    assert (task.priority, task.timeout_s, task.delay_s, task.cluster, task.label) == (2, 60, 5, "big", "l")
    assert (task.status, task.actor, worker.steps) == ("queued", "ann", [])
    world.advance(5)
    assert world.task(task.id).status == "complete"
    parameters = worker.parameters(worker.steps[0])
    assert (parameters["schedule_id"], parameters["payload"]) == (row.id, "p")


def test_schedule_makes_as_many_tasks_as_it_should(world: TaskWorld) -> None:
    CodeWorker(world, world.code())
    row = add(world, run_every_s=60.0, run_times=3)
    for _ in range(5):
        world.advance(60)
    done = stored(world, row)
    assert (done.run_count, done.status, done.msg, done.next_at) == (3, "complete", "Ran max times.", None)
    assert [task.status for task in world.rows(schedule_id=row.id)] == ["complete"] * 3


def test_schedule_waits_for_its_start(world: TaskWorld) -> None:
    world.code()
    row = add(world, start_at=world.clock.now() + timedelta(seconds=30))
    world.advance(29)
    assert world.rows() == []
    world.advance(1)
    assert [task.schedule_id for task in world.rows()] == [row.id]


def test_nothing_is_written_when_no_schedule_is_due(world: TaskWorld) -> None:
    world.code()
    add(world, delay_s=60.0)
    world.run()
    world.storage.fuse.passed.clear()
    assert world.core.service.schedules.fire() == 0
    assert world.storage.fuse.passed == []


def test_many_schedules_fire_in_several_transactions(world: TaskWorld) -> None:
    world.code()
    drafts = [ScheduleDraft("Fib", str(number)) for number in range(FIRE_COUNT + 10)]
    rows = world.core.service.schedules.add(world.project, drafts)
    assert [row.payload for row in rows] == [one.payload for one in drafts]
    assert sorted(row.id for row in rows) == [row.id for row in rows]
    fire = world.core.service.schedules.fire
    assert [fire(), fire(), fire()] == [FIRE_COUNT, 10, 0]
    assert {task.schedule_id for task in world.rows()} == {row.id for row in rows}


@pytest.mark.parametrize("burns_at", [1, 2])
def test_moment_comes_once_when_the_core_dies_in_it(world: TaskWorld, burns_at: int) -> None:
    world.code()
    row = add(world, run_every_s=60.0)
    world.core.service.schedules.fire()
    world.clock.advance(60)
    world.storage.fuse = Fuse(burns_at)
    with pytest.raises(Killed):
        world.core.service.schedules.fire()
    world.kill()
    world.start()
    world.run()
    assert len(world.rows(schedule_id=row.id)) == stored(world, row).run_count == 2


def test_schedule_ends_when_its_code_was_deleted_and_holds_up_no_other(world: TaskWorld) -> None:
    world.code("Other")
    gone = world.code()
    bad, good = add(world, run_every_s=60.0), add(world, code_name="Other")
    world.core.service.codes.remove(gone)
    world.run()
    done = stored(world, bad)
    assert (done.status, done.msg, done.next_at) == ("cancelled", "Ended: its code 'Fib' was deleted.", None)
    assert (stored(world, good).status, len(world.rows())) == ("complete", 1)


def test_schedule_ends_when_nobody_knows_its_time_zone_any_more(world: TaskWorld) -> None:
    world.code()
    row = add(world, cron="* * * * *", time_zone="Europe/Vienna")
    with world.storage.begin() as unit:
        unit.save_schedules([msgspec.structs.replace(row, time_zone="Old/Zone")])
    world.advance(60)
    done = stored(world, row)
    assert (done.status, "Old/Zone" in done.msg) == ("cancelled", True)


def test_schedule_goes_on_with_a_later_code_of_the_same_name(world: TaskWorld) -> None:
    row = add(world, run_every_s=60.0) if world.code() else None
    world.run()
    assert row is not None
    world.core.service.codes.remove(world.core.service.codes.named(world.project, "Fib"))
    later = world.code()
    world.advance(60)
    assert later.id in {task.code_id for task in world.rows(schedule_id=row.id)}
    assert stored(world, row).run_count == 2


def test_missed_moments_are_made_up_for_after_a_time_without_a_core(world: TaskWorld) -> None:
    world.code()
    rows = [add(world, run_every_s=60.0, missed=one) for one in ("once", "skip", "all")]
    world.run()
    world.kill()
    world.clock.advance(600)
    world.start()
    world.run()
    assert [stored(world, row).run_count for row in rows] == [2, 2, 11]


def test_clock_that_jumps_ahead_is_like_a_time_without_a_core(world: TaskWorld) -> None:
    world.code()
    row = add(world, run_every_s=60.0)
    world.run()
    world.clock.jump(HOUR_S)
    world.run()
    after = stored(world, row)
    assert (after.run_count, after.next_at) == (2, world.clock.now() + timedelta(seconds=60))


@pytest.mark.parametrize("has_new_life", [False, True])
def test_schedule_does_not_wait_for_a_future_that_was_none(world: TaskWorld, has_new_life: bool) -> None:
    """A clock that was a year ahead once must not leave schedules silent for a year."""
    world.code()
    row = add(world, run_every_s=60.0)
    world.run()
    world.clock.jump(366 * 24 * HOUR_S)
    world.run()
    world.clock.jump(-366 * 24 * HOUR_S + 30)
    if has_new_life:
        world.kill()
        world.start()
    world.run()
    world.advance(30)
    after = stored(world, row)
    assert (after.run_count, after.next_at) == (3, world.clock.now() + timedelta(seconds=60))


def test_moment_does_not_come_again_when_the_clock_is_put_back_a_little(world: TaskWorld) -> None:
    world.code()
    row = add(world, run_every_s=60.0)
    world.run()
    world.clock.jump(-30)
    world.advance(40)
    assert stored(world, row).run_count == 1
    world.advance(50)
    assert stored(world, row).run_count == 2


def test_schedules_are_made_all_or_none(world: TaskWorld) -> None:
    world.code()
    schedules = world.core.service.schedules
    for drafts in ([], [ScheduleDraft("Fib")] * (MOST_SCHEDULES + 1)):
        with pytest.raises(TaskRefused, match="schedules"):
            schedules.add(world.project, drafts)
    with pytest.raises(ThingNotFound, match="no code 'None'"):
        schedules.add(world.project, [ScheduleDraft("Fib"), ScheduleDraft("None")])
    with pytest.raises(TaskRefused, match="run_every"):
        schedules.add(world.project, [ScheduleDraft("Fib"), ScheduleDraft("Fib", run_every_s=1)])
    assert schedules.schedules(None) == []


def test_schedules_are_found_listed_and_counted_by_project(world: TaskWorld) -> None:
    world.code()
    schedules, other = world.core.service.schedules, world.core.service.projects.add("other")
    first, second = add(world, delay_s=1.0), add(world, delay_s=1.0)
    schedules.cancel(first.id)
    assert schedules.schedule(second.id, world.project) == second
    assert schedules.schedules(world.project, status="scheduled") == [second]
    assert (schedules.schedules(other), schedules.counts(other)) == ([], {})
    assert schedules.counts(world.project) == schedules.counts(None) == {"cancelled": 1, "scheduled": 1}
    for project, own_id in ((other, first.id), (None, "f" * 24), (None, "no id"), (None, "")):
        with pytest.raises(ThingNotFound, match="there is no schedule"):
            schedules.schedule(own_id, project)


def test_cancelled_schedule_makes_nothing_and_its_tasks_go_on(world: TaskWorld) -> None:
    CodeWorker(world, world.code())
    row = add(world, run_every_s=60.0, options=ScheduleOptions(delay_s=10.0))
    world.run()
    schedules = world.core.service.schedules
    assert schedules.cancel(row.id).status == schedules.cancel(row.id).status == "cancelled"
    world.advance(120)
    assert [task.status for task in world.rows()] == ["complete"]


def test_schedule_that_is_over_stays_as_it_is_when_it_is_cancelled(world: TaskWorld) -> None:
    world.code()
    row = add(world)
    world.run()
    assert world.core.service.schedules.cancel(row.id).status == "complete"


def test_schedule_is_changed_in_its_own_transaction(world: TaskWorld) -> None:
    world.code()
    world.code("Other")
    row, schedules = add(world, run_every_s=HOUR_S), world.core.service.schedules
    world.run()
    after = schedules.update(row.id, ScheduleChanges(run_every_s=120.0, code_name="Other", payload="new"))
    assert stored(world, row) == after
    world.advance(120)
    task = max(world.rows(), key=lambda one: one.created_at)
    assert (task.code_name, world.core.service.tasks.payload(task)) == ("Other", "new")
    with pytest.raises(ThingNotFound, match="no code"):
        schedules.update(row.id, ScheduleChanges(code_name="None"))
    for own_id in ("f" * 24, "no id"):
        with pytest.raises(ThingNotFound):
            schedules.update(own_id, ScheduleChanges(label="x"))
        with pytest.raises(ThingNotFound):
            schedules.cancel(own_id)


def test_note_is_of_the_transaction_that_changes(world: TaskWorld) -> None:
    world.code()
    row, schedules = add(world, run_every_s=HOUR_S), world.core.service.schedules
    seen: list[str] = []

    def refuse(_unit: object, rows: object) -> None:
        seen.append("noted")
        raise ThingNotFound("note", "x")

    for ask in (
        lambda: schedules.add(world.project, [ScheduleDraft("Fib")], note=refuse),
        lambda: schedules.update(row.id, ScheduleChanges(label="x"), note=refuse),
        lambda: schedules.cancel(row.id, note=refuse),
    ):
        with pytest.raises(ThingNotFound):
            ask()
    assert (seen, schedules.schedules(None)) == (["noted"] * 3, [row])
