"""Giving a message back: nobody may take it for a new one when a worker was lost with it, nor lose it."""

from __future__ import annotations

from typing import Any

import pytest

from reworker.bus.contract import Outcome, Verdict
from reworker.jobs.returning import (
    DELIVERY_COUNT_HEADER,
    KEY_HEADER,
    LOST_HEADER,
    RETURNS_HEADER,
    return_to_queue,
)
from reworker.testing import Harness
from reworker.testing.harness import FakeDelivery, RecordingBus
from tests.unit.worker.kit import LEVEL_2, StepWorker, step_body


@pytest.fixture
def bus() -> RecordingBus:
    return RecordingBus()


def delivery(headers: dict[str, Any] | None = None, **options: Any) -> FakeDelivery:
    return Harness(StepWorker).delivery(
        step_body(), headers={**(LEVEL_2 or {}), **(headers or {})}, **options
    )


def headers_sent(bus: RecordingBus) -> dict[str, Any]:
    (message,) = bus.sent
    return dict(message.properties.headers or {})


def test_step_goes_back_as_new_when_nobody_was_lost_with_it(bus: RecordingBus) -> None:
    given = delivery()
    return_to_queue(bus, given)
    assert LOST_HEADER not in headers_sent(bus)
    assert headers_sent(bus)[RETURNS_HEADER] == 1
    assert given.verdict is Verdict.ACK


@pytest.mark.parametrize(("before", "after"), [(None, 1), ({LOST_HEADER: 1}, 2)])
def test_step_goes_back_as_suspect_when_a_worker_was_lost_with_it(
    bus: RecordingBus, before: dict[str, Any] | None, after: int
) -> None:
    return_to_queue(bus, delivery(before, redelivered=True))
    assert headers_sent(bus)[LOST_HEADER] == after


def test_mark_of_a_loss_stays_when_the_copy_goes_back_again(bus: RecordingBus) -> None:
    return_to_queue(bus, delivery({LOST_HEADER: 1}))
    assert headers_sent(bus)[LOST_HEADER] == 1


def test_step_that_was_begun_goes_back_as_new(bus: RecordingBus) -> None:
    return_to_queue(bus, delivery(redelivered=True), is_begun=True)
    assert LOST_HEADER not in headers_sent(bus)


@pytest.mark.parametrize("priority", [None, 2])
def test_step_goes_back_as_urgent_as_it_came(bus: RecordingBus, priority: int | None) -> None:
    return_to_queue(bus, delivery(priority=priority))
    (message,) = bus.sent
    assert message.properties.priority == priority


def test_step_stays_in_its_queue_when_the_copy_is_not_taken(bus: RecordingBus) -> None:
    bus.outcome, given = Outcome.REFUSED, delivery()
    return_to_queue(bus, given)
    assert given.verdict is Verdict.REQUEUE


def test_line_of_output_keeps_its_place(bus: RecordingBus) -> None:
    given = delivery(routing_key="output")
    return_to_queue(bus, given)
    assert (given.verdict, bus.sent) == (Verdict.REQUEUE, [])


def test_line_of_output_is_published_anew_when_the_broker_counts_its_deliveries(bus: RecordingBus) -> None:
    given = delivery({DELIVERY_COUNT_HEADER: 1}, routing_key="output", redelivered=True)
    return_to_queue(bus, given)
    assert given.verdict is Verdict.ACK
    assert headers_sent(bus)[KEY_HEADER] == "output"
    assert not headers_sent(bus).keys() & {DELIVERY_COUNT_HEADER, LOST_HEADER}
