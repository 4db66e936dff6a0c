"""What is deleted in time, and what `reworker doctor` says of tasks."""

from __future__ import annotations

from datetime import timedelta

from reworker.core.settings import CoreSettings
from reworker.core.tasks.checkup import examine_tasks
from reworker.core.tasks.schedule_drafts import ScheduleDraft
from reworker.core.tasks.tidying import PACKAGE_AGE, PRUNE_COUNT, prune_tasks, remove_packages
from reworker.ids import new_id
from reworker.storage.task_rows import CodeRow
from tests.component.core.tasks.kit import CodeWorker, TaskWorld

DAY_S = 86_400.0


def nothing() -> None:
    return None


def packages(world: TaskWorld) -> list[str]:
    return world.storage.packages.ids("", 100)


def findings(world: TaskWorld) -> dict[str, tuple[bool, str]]:
    """Return what was found by check."""
    found = examine_tasks(world.storage, world.clock.now())
    return {one.check: (one.is_ok, one.text) for one in found}


def test_tasks_and_schedules_that_are_over_go_in_time(world: TaskWorld) -> None:
    CodeWorker(world, world.code())
    tasks, schedules = world.core.service.tasks, world.core.service.schedules
    ids = world.queue(PRUNE_COUNT + 3, delay_s=60.0)
    for own_id in ids[:-1]:
        tasks.cancel(own_id)
    over, kept = schedules.add(world.project, [ScheduleDraft("Fib", delay_s=60.0)] * 2)
    schedules.cancel(over.id)
    world.clock.advance(10)
    assert prune_tasks(world.storage, world.clock.now(), pause=nothing) == PRUNE_COUNT + 3
    assert [row.id for row in world.rows()] == ids[-1:]
    assert [row.id for row in schedules.schedules(None)] == [kept.id]


def test_upkeep_prunes_tasks_with_their_deployments(world: TaskWorld) -> None:
    world.kill()
    world.settings = CoreSettings(keep_days=30)
    world.start()
    CodeWorker(world, world.code())
    (ran,) = world.queue()
    (never,) = world.queue(delay_s=DAY_S)
    world.core.service.tasks.cancel(never)
    world.run()
    world.advance(29 * DAY_S)
    (young,) = world.queue()
    world.run()
    world.core.upkeep.turn()
    assert {row.id for row in world.rows()} == {ran, never, young}
    world.advance(2 * DAY_S)
    for _ in range(2):  # deployments first, then the rest
        world.core.upkeep.turn()
    assert [row.id for row in world.rows()] == [young]
    assert world.storage.reader.payload(ran) == ""
    counters = world.core.counters.snapshot()
    assert (counters["deployments_pruned"], counters["tasks_pruned"]) == (1, 1)


def test_packages_of_deleted_codes_go_when_no_task_needs_them(world: TaskWorld) -> None:
    kept, gone, busy = (world.code(name) for name in ("Kept", "Gone", "Busy"))
    orphan = new_id(world.clock.now())
    world.storage.packages.add(orphan, 0, b"of an upload that broke off")
    CodeWorker(world, busy)
    world.queue(code_name="Busy", delay_s=3 * DAY_S)
    for code in (gone, busy):
        world.core.service.codes.remove(code)
    assert remove_packages(world.storage, world.clock.now(), pause=nothing) == 0
    world.clock.advance(PACKAGE_AGE.total_seconds() + 1)
    world.core.upkeep.turn()
    assert packages(world) == sorted([kept.revision_id, busy.revision_id])
    assert world.core.counters.snapshot()["packages_removed"] == 2
    world.advance(3 * DAY_S)
    world.core.upkeep.turn()
    assert packages(world) == [kept.revision_id]


def test_doctor_finds_nothing_when_all_is_well(world: TaskWorld) -> None:
    CodeWorker(world, world.code(max_concurrency=1)).script = ({"status": "started"},)
    world.queue(3)
    world.queue(delay_s=DAY_S)
    world.core.service.schedules.add(world.project, [ScheduleDraft("Fib", delay_s=DAY_S)])
    world.run()
    assert findings(world) == {
        "waiting": (True, "0 codes have tasks that nothing starts"),
        "schedules": (True, "no schedule is overdue"),
        "running": (True, "0 tasks run without a deployment"),
        "packages": (True, "1 of 1 codes have their package"),
    }


def test_doctor_finds_what_nobody_sees_to(world: TaskWorld) -> None:
    code: CodeRow = world.code()
    world.queue()
    world.core.service.schedules.add(world.project, [ScheduleDraft("Fib")])
    world.storage.packages.remove(code.revision_id)
    world.clock.advance(timedelta(minutes=5).total_seconds())
    assert findings(world) == {
        "waiting": (False, f"1 codes have tasks that nothing starts: {code.id}"),
        "schedules": (False, "schedules are due, and nothing fires them"),
        "running": (True, "0 tasks run without a deployment"),
        "packages": (False, f"0 of 1 codes have their package; missing: Fib ({code.revision_id})"),
    }


def test_doctor_finds_tasks_whose_deployment_is_gone(world: TaskWorld) -> None:
    CodeWorker(world, world.code()).script = ()
    (own,) = world.queue()
    world.run()
    with world.storage.begin() as unit:
        for table in ("event", "attempt", "timer", "source", "plan"):
            unit._connection.exec_driver_sql(f"DELETE FROM {table}")
        unit._connection.exec_driver_sql("DELETE FROM deployment")
    assert findings(world)["running"] == (False, f"1 tasks run without a deployment: {own}")
