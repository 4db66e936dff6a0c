"""What the result of a publish means for the step, and what the publisher does about it."""

from __future__ import annotations

import pytest

from reworker.bus.contract import Outcome, Published
from reworker.core.inbound import PublishedItem
from reworker.storage.contract import OutboxRow
from tests.component.core.kit import Worker, World, playbook

CONFIRMED, RETURNED, REFUSED, TIMED_OUT, LOST = (
    *(Outcome.CONFIRMED, Outcome.RETURNED, Outcome.REFUSED),
    *(Outcome.TIMED_OUT, Outcome.LOST),
)


@pytest.mark.parametrize(
    ("outcome", "is_sent", "is_idempotent", "event"),
    [
        (CONFIRMED, True, False, "DispatchConfirmed"),
        (CONFIRMED, True, True, "DispatchConfirmed"),
        (RETURNED, True, False, "DispatchUnroutable"),
        (RETURNED, True, True, "DispatchUnroutable"),
        (TIMED_OUT, False, False, None),
        (TIMED_OUT, False, True, None),
        (TIMED_OUT, True, False, "DispatchUnknown"),
        (TIMED_OUT, True, True, None),
        (LOST, True, False, "DispatchUnknown"),
        (LOST, True, True, None),
        (REFUSED, True, False, "DispatchUnknown"),
        (REFUSED, True, True, None),
    ],
)
def test_result_of_a_step_is_an_event_or_a_reason_to_publish_again(
    world: World, outcome: Outcome, is_sent: bool, is_idempotent: bool, event: str | None
) -> None:
    row = OutboxRow(
        id="x",
        deployment_id="0" * 24,
        kind="step",
        attempt=1,
        exchange="re",
        routing_key="worker.noop",
        properties=b"{}",
        body=b"{}",
        is_idempotent=is_idempotent,
        claimed_by="core",
        claim_until=None,
        created_at=world.clock.now(),
    )
    core = world.core
    item = PublishedItem(row, Published(outcome, is_sent=is_sent), core._publisher, core.counters)
    assert item.prepare(world.clock.now())
    assert (item.request and type(item.request.event).__name__) == event
    assert (item.retry_at is None) == (event is not None)


def test_notification_is_published_again_until_the_broker_has_it(world: World, worker: Worker) -> None:
    inbox = world.queue("worker.ircnotify", ("re", "notify.irc"))
    world.broker.hold_confirms()
    step = {"noop:Do": {"notify": {"completed": {"irc": ["#ops"]}}}}
    own_id = world.core.service.submit(playbook(step))
    world.run()
    assert world.status(own_id) == "completed"
    world.advance(11)
    world.broker.hold_confirms(False)
    world.advance(2)
    assert world.storage.reader.outbox_count() == 0
    assert len({message.properties.message_id for message in inbox.messages()}) == 1


def test_doubt_of_a_core_that_was_killed_waits_for_the_replies_that_are_there(
    world: World, worker: Worker
) -> None:
    worker.script = ()
    world.broker.hold_confirms()
    own_id = world.core.service.submit(playbook())
    world.run()
    world.kill()
    world.broker.hold_confirms(False)
    world.clock.advance(60)
    world.start()
    world.run()
    assert world.status(own_id) == "running"
    for status in ("started", "completed"):
        worker.reply({"status": status}, f"{own_id}.1")
    world.advance(2)
    assert world.status(own_id) == "completed"
