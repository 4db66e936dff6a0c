"""Tasks as they are queued, tried again by hand, cancelled, and what they say of themselves."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from reworker.core.tasks.options import MOST_DELAY_S, MOST_TIMEOUT_S, PAYLOAD_BYTES, TaskOptions
from reworker.core.tasks.queueing import MOST_TASKS, MSG_CHARACTERS, TaskDraft
from reworker.task_errors import TaskRefused, ThingNotFound
from tests.component.core.kit import Fuse, Killed
from tests.component.core.tasks.kit import COMPLETE, CodeWorker, TaskWorld, failed

NOBODY = "f" * 24


def test_task_has_the_defaults_of_its_code(world: TaskWorld) -> None:
    code = world.code(default_priority=2)
    (own,) = world.queue(payload="é")
    task = world.task(own)
    expected = (code.id, "Fib", code.revision_id, 1, 2, 3600.0, "queued", "waiting")
    found = (task.code_id, task.code_name, task.revision_id, task.rev, task.priority, task.timeout_s)
    assert (*found, task.status, task.phase) == expected
    assert world.core.service.tasks.payload(task) == "é"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"payload": "é" * (PAYLOAD_BYTES // 2) + "x"}, "payload"),
        ({"payload": "\ud800"}, "payload"),
        ({"priority": 3}, "priority"),
        ({"priority": -1}, "priority"),
        ({"delay_s": -0.1}, "delay"),
        ({"delay_s": MOST_DELAY_S + 1}, "delay"),
        ({"delay_s": float("nan")}, "delay"),
        ({"timeout_s": 0.0}, "timeout"),
        ({"timeout_s": MOST_TIMEOUT_S + 1}, "timeout"),
        ({"timeout_s": float("nan")}, "timeout"),
        ({"label": "x" * 1001}, "label"),
        ({"cluster": "x" * 1001}, "cluster"),
        ({"options": TaskOptions(name="\ud800")}, "name"),
    ],
)
def test_task_is_refused_when_a_value_cannot_be(world: TaskWorld, fields: dict[str, Any], field: str) -> None:
    world.code()
    with pytest.raises(TaskRefused) as caught:
        world.queue(**fields)
    assert (caught.value.field, world.rows()) == (field, [])


def test_values_at_their_limits_are_taken(world: TaskWorld) -> None:
    world.code()
    world.queue(payload="x" * PAYLOAD_BYTES, delay_s=MOST_DELAY_S, timeout_s=MOST_TIMEOUT_S, label="x" * 1000)


def test_tasks_are_queued_all_or_none(world: TaskWorld) -> None:
    world.code()
    tasks, project = world.core.service.tasks, world.project
    for drafts in ([], [TaskDraft("Fib")] * (MOST_TASKS + 1)):
        with pytest.raises(TaskRefused, match="tasks"):
            tasks.queue(project, drafts)
    with pytest.raises(ThingNotFound, match="no code 'None'"):
        tasks.queue(project, [TaskDraft("Fib"), TaskDraft("None")])
    with pytest.raises(TaskRefused):
        tasks.queue(project, [TaskDraft("Fib"), TaskDraft("Fib", priority=9)])
    assert world.rows() == []


def test_note_is_of_the_transaction_that_queues(world: TaskWorld) -> None:
    world.code()

    def refuse(_unit: object, rows: object) -> None:
        raise ThingNotFound("note", "x")

    with pytest.raises(ThingNotFound):
        world.core.service.tasks.queue(world.project, [TaskDraft("Fib")], note=refuse)
    assert world.rows() == []


@pytest.mark.parametrize("own_id", [NOBODY, "no id", "", "F" * 24, "\0"])
def test_task_that_is_not_there_is_not_found(world: TaskWorld, own_id: str) -> None:
    tasks = world.core.service.tasks
    for ask in (tasks.task, tasks.cancel, tasks.retry, tasks.progress):
        with pytest.raises(ThingNotFound, match="there is no task"):
            ask(own_id)


def test_task_of_another_project_is_not_found(world: TaskWorld) -> None:
    world.code()
    (own,) = world.queue()
    other = world.core.service.projects.add("other")
    assert world.core.service.tasks.task(own, world.project).id == own
    with pytest.raises(ThingNotFound):
        world.core.service.tasks.task(own, other)


def test_task_is_tried_again_by_hand_with_the_newest_revision(world: TaskWorld) -> None:
    worker = CodeWorker(world, world.code())
    options = TaskOptions(name="n")
    (own,) = world.queue(payload="p", priority=2, timeout_s=9.0, label="l", cluster="c", options=options)
    world.run()
    world.code()
    again = world.core.service.tasks.retry(own, delay_s=5.0, actor="bob")
    old = world.task(own)
    assert (again.rev, again.actor, again.delay_s, again.retry_no) == (2, "bob", 5.0, 0)
    for name in ("priority", "timeout_s", "label", "cluster", "options", "code_id"):
        assert getattr(again, name) == getattr(old, name)
    world.advance(5)
    assert worker.task_ids == [own, again.id]
    assert worker.parameters(worker.steps[1])["payload"] == "p"


def test_task_whose_code_was_deleted_is_not_tried_again(world: TaskWorld) -> None:
    code = world.code()
    (own,) = world.queue()
    world.core.service.codes.remove(code)
    with pytest.raises(ThingNotFound, match="code"):
        world.core.service.tasks.retry(own)


def test_progress_is_kept_in_any_state(world: TaskWorld) -> None:
    CodeWorker(world, world.code())
    (own,) = world.queue()
    tasks = world.core.service.tasks
    assert tasks.progress(own, percent=50, msg="half").msg == "half"
    assert (tasks.progress(own, msg="x" * (MSG_CHARACTERS + 1)).percent, world.task(own).percent) == (50, 50)
    world.run()
    assert world.task(own).status == "complete"
    done = tasks.progress(own, percent=100)
    assert (done.percent, len(done.msg)) == (100, MSG_CHARACTERS)
    for fields in ({"percent": 101}, {"percent": -1}, {"msg": "\ud800"}):
        with pytest.raises(TaskRefused):
            tasks.progress(own, **fields)  # type: ignore[arg-type]  # one of each kind
    assert world.task(own) == done


@pytest.mark.parametrize("burns_at", [1, 2, 3, 4, 5])
def test_task_that_was_shown_as_cancelled_is_going_to_be_when_the_process_dies(
    world: TaskWorld, burns_at: int
) -> None:
    worker = CodeWorker(world, world.code())
    worker.script = ({"status": "started"},)
    (own,) = world.queue()
    world.run()
    world.storage.fuse = Fuse(burns_at)
    with pytest.raises(Killed):
        world.core.service.tasks.cancel(own)
    world.storage.fuse = Fuse()
    is_asked = world.status(own) == "cancelling"
    assert world.task(own).status == "running" or is_asked
    worker.answer(own, COMPLETE[-1])
    world.run()
    assert world.task(own).status == ("cancelled" if is_asked else "complete")


def test_output_is_given_back_as_it_was_written(world: TaskWorld) -> None:
    worker = CodeWorker(world, world.code())
    (own,) = world.queue()
    worker.script = ()
    world.run()
    for text, stream in (("one\ntw", "out"), ("err\n", "err"), ("o\n", "out"), ("no end é", "out")):
        body = json.dumps({"message": text, "stream": stream}).encode()
        worker.send("re", "output", body, correlation_id=f"{own}.1")
    worker.answer(own, *failed())
    world.run()
    tasks, task = world.core.service.tasks, world.task(own)
    assert "".join(tasks.output(task)) == "one\ntwerr\no\nno end é"
    assert "".join(tasks.output(task, is_stdout=True)) == "one\ntwo\nno end é"
    assert list(tasks.output(replace(task, id=NOBODY))) == []
