"""A worker that begins a step only when the broker has its `started`."""

from __future__ import annotations

from typing import Any

import pytest

from reworker.bus.contract import Outcome, Outgoing, Verdict
from reworker.messages import StepHeaders, headers_of_step
from reworker.testing.harness import FakeDelivery, Harness
from reworker.worker import Job, Worker, step


class Careful(Worker):
    """Counts what it has begun."""

    confirms_start = True
    begun_count = 0

    @step("Frob")
    def frob(self, job: Job) -> dict[str, Any]:
        self.begun_count += 1
        return {}


class Careless(Careful):
    """The same, without a look at what the broker has."""

    confirms_start = False


def order(bed: Harness, *, redelivered: bool = False, **properties: Any) -> FakeDelivery:
    body = {"group": "g", "parameters": {"command": "careful", "subcommand": "Frob", "hosts": []}}
    headers = headers_of_step(StepHeaders())
    return bed.delivery(body, redelivered=redelivered, headers=headers, **properties)


def test_step_begins_when_the_broker_has_its_start() -> None:
    bed = Harness(Careful)
    found = bed.run(order(bed))
    assert (found.statuses, bed.worker.begun_count, found.settled) == (["started", "completed"], 1, "ack")
    numbers = [(one.properties.headers or {})["x-seq"] for one in found.sent]
    assert numbers == [1, 2]
    # Sent again over another connection, it would come after what the next worker has said.
    assert [one.may_resend for one in found.sent] == [False, True]


def test_step_is_another_workers_when_the_connection_was_lost_before_its_start_was_confirmed() -> None:
    bed = Harness(Careful)
    delivery = order(bed)
    delivery.is_live = False
    found = bed.run(delivery)
    assert (found.statuses, bed.worker.begun_count) == (["started"], 0)
    assert bed.station.open_attempts == {}


@pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.TIMED_OUT])
def test_step_goes_back_to_its_queue_when_its_start_cannot_be_told(outcome: Outcome) -> None:
    bed = Harness(Careful)
    delivery = order(bed)
    bed.bus.outcome = outcome
    found = bed.run(delivery)
    assert bed.worker.begun_count == 0
    assert [one.routing_key for one in found.sent[1:]] == [delivery.queue]
    assert found.settled == Verdict.REQUEUE.value  # the broker did not take the copy, either


def test_step_begins_when_nobody_wants_to_hear_of_it() -> None:
    bed = Harness(Careful)
    bed.bus.gone.add("gone")
    for number, reply_to in enumerate(("gone", None), start=1):
        bed.run(order(bed, reply_to=reply_to, correlation_id=f"{'1' * 24}.{number}"))
    assert bed.worker.begun_count == 2


@pytest.mark.parametrize(("kind", "said"), [(Careful, True), (Careless, None)])
def test_step_that_comes_again_never_began_unless_its_start_has_come(
    kind: type[Worker], said: bool | None
) -> None:
    bed = Harness(kind)
    found = bed.run(order(bed, redelivered=True))
    assert found.statuses == ["unknown"]
    assert found.final is not None
    assert found.final.get("unless_started") is said


def test_worker_begins_at_once_when_it_need_not_be_sure() -> None:
    bed = Harness(Careless)
    bed.bus.hold_confirms()
    assert bed.run(order(bed)).statuses == ["started", "completed"]
    sent: list[Outgoing] = bed.bus.sent
    assert sent[0].may_resend
