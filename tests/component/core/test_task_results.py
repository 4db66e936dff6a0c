"""What has become of a task, told to a queue and to the webhook worker."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from reworker.core.inbound import RESULT_AGAIN_S, RESULT_KEPT
from reworker.core.tasks import results
from reworker.core.tasks.codes import CodeDraft
from reworker.core.tasks.options import CodeOptions, TaskOptions
from reworker.core.tasks.queueing import TaskDraft
from reworker.storage.task_rows import TaskRow
from reworker.task_errors import TaskRefused
from tests.component.core.kit import World

WEBHOOKS = ("re", "notify.webhook")


def queued(world: World, *, options: TaskOptions | None = None) -> TaskRow:
    """Queue a task."""
    service = world.core.service
    project = service.projects.find("default")
    service.codes.upload(project, CodeDraft("Fib", "sh", "fib.sh"), (b"PK",))
    return service.tasks.queue(project, [TaskDraft("Fib", options=options or TaskOptions())])[0]


def ended(world: World, code: CodeOptions, own: TaskOptions | None = None) -> TaskRow:
    """Tell of a task that is over, as the desk does in the transaction in which it ends."""
    task = queued(world, options=own)
    with world.storage.begin() as unit:
        results.send(unit, task, code, world.clock.now())
    world.advance(1)
    return task


def test_result_goes_to_the_queue_and_to_the_webhook_worker_when_both_are_named(world: World) -> None:
    queue, hooks = world.queue("mine"), world.queue("hooks", WEBHOOKS)
    task = ended(world, CodeOptions(result_queue="mine", result_url="https://a.example/x"))
    (result,), (notice,) = queue.bodies(), hooks.bodies()
    assert (result["id"], result["code_name"], result["status"]) == (task.id, "Fib", "queued")
    assert notice["result"] == result
    assert (notice["target"], notice["phase"]) == (["https://a.example/x"], "failed")
    assert [one.messages()[0].properties.message_id for one in (queue, hooks)] == [
        f"{task.id}.result",
        f"{task.id}.webhook",
    ]


def test_own_places_of_a_task_count_before_those_of_its_code(world: World) -> None:
    queue, hooks = world.queue("own"), world.queue("hooks", WEBHOOKS)
    code = CodeOptions(result_queue="mine", result_url="https://a.example/x")
    ended(world, code, TaskOptions(result_queue="own", result_url="https://a.example/own"))
    assert len(queue.bodies()) == 1
    assert [one["target"] for one in hooks.bodies()] == [["https://a.example/own"]]


def test_nothing_is_sent_when_no_place_is_named(world: World) -> None:
    hooks = world.queue("hooks", WEBHOOKS)
    ended(world, CodeOptions())
    assert (hooks.messages(), world.storage.reader.outbox_count()) == ([], 0)


def test_result_waits_for_a_queue_that_is_made_later(world: World) -> None:
    ended(world, CodeOptions(result_queue="later"))
    assert world.core.counters.snapshot()["published_returned"] == 1
    queue = world.queue("later")
    world.advance(RESULT_AGAIN_S - 5)
    assert queue.messages() == [], "it is not tried all the time"
    world.advance(10)
    assert len(queue.messages()) == 1
    assert world.storage.reader.outbox_count() == 0


def test_result_survives_the_end_of_the_core_while_it_waits(world: World) -> None:
    ended(world, CodeOptions(result_queue="later"))
    world.kill()
    world.start()
    queue = world.queue("later")
    world.advance(RESULT_AGAIN_S + 5)
    assert len(queue.messages()) == 1


def test_result_is_given_up_when_nobody_takes_it_for_a_day(world: World) -> None:
    ended(world, CodeOptions(result_queue="never"))
    world.advance(RESULT_KEPT.total_seconds())
    assert world.storage.reader.outbox_count() == 0


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"result_url": "https://a.example/\n"}, "result_url"),
        ({"result_url": "https://a.example/ä"}, "result_url"),
        ({"result_url": "https://a.example/ b"}, "result_url"),
        ({"result_url": "h" * 2001}, "result_url"),
        ({"result_queue": "q" * 256}, "result_queue"),
        ({"result_queue": "a\x00b"}, "result_queue"),
        ({"result_queue": "\ud800"}, "result_queue"),
        ({"result_queue": "worker.execworker"}, "result_queue"),
        ({"result_queue": "re.replies"}, "result_queue"),
        ({"result_queue": "recore"}, "result_queue"),
        ({"result_queue": "amq.gen-x"}, "result_queue"),
    ],
)
def test_place_that_no_result_can_go_to_is_refused(world: World, options: Any, field: str) -> None:
    with pytest.raises(TaskRefused) as caught:
        queued(world, options=TaskOptions(**options))
    assert caught.value.field == field
    project = world.core.service.projects.find("default")
    with pytest.raises(TaskRefused):
        world.core.service.codes.upload(
            project, CodeDraft("Fib", "sh", "fib.sh", CodeOptions(**options)), (b"PK",)
        )


def test_result_is_json_that_any_client_reads(world: World) -> None:
    queue = world.queue("mine")
    world.advance(0.123456)
    ended(world, CodeOptions(result_queue="mine"))
    body = json.loads(queue.messages()[0].body)
    assert re.fullmatch(r"2026-01-02T03:04:05\.\d{3}Z", body["created_at"])
    assert body["end_time"] is None
