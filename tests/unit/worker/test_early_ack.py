"""A job that outlasts the broker's patience: acknowledged while it runs, answered all the same, run once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from reworker.bus.contract import Consumer, Delivery, Outcome, Outgoing, Verdict
from reworker.errors import JobFailed, JobRetry
from reworker.jobs.adoption import is_adopted
from reworker.jobs.early import ANSWER_DEADLINE_S, Acknowledged, acknowledge
from reworker.messages import StepHeaders, headers_of_step
from reworker.pool.instance import Instance
from reworker.testing import Harness
from reworker.testing.harness import FakeDelivery, RecordingBus
from reworker.worker import Job, Worker, step
from tests.unit.worker.kit import step_body

HEARD = headers_of_step(StepHeaders(heartbeat_s=15.0))
UNHEARD = headers_of_step(StepHeaders())


class LongWorker(Worker):
    """Lets the test act while its step runs."""

    meanwhile: Callable[[], None] = staticmethod(lambda: None)
    error: BaseException | None = None
    runs = 0

    @step("Do")
    def do(self, job: Job) -> str:
        self.runs += 1
        self.meanwhile()
        if self.error is not None:
            raise self.error
        return "done"


class Timed(RecordingBus):
    """Notes for how long each message may wait."""

    def __init__(self) -> None:
        super().__init__()
        self.deadlines: list[float] = []

    def publish(self, message: Outgoing, on_done: Any = None, *, deadline_s: float = 30.0) -> None:
        self.deadlines.append(deadline_s)
        super().publish(message, on_done, deadline_s=deadline_s)


class Long:
    """A harness whose step calls `ack_early` so often while it runs."""

    def __init__(self, headers: Any = HEARD, *, times: int = 2, error: BaseException | None = None) -> None:
        self.harness = Harness(LongWorker)
        self.bus = self.harness.station.bus = self.harness.bus = Timed()
        self.worker: Any = self.harness.worker
        self.worker.error = error
        self.verdicts: list[Verdict | None] = []
        self.delivery = self.harness.delivery(step_body("Do"), headers=headers)
        self.times = times
        self.worker.meanwhile = self.ack

    def ack(self) -> None:
        for _ in range(self.times):
            self.harness.station.current.ack_early()
            self.verdicts.append(self.delivery.verdict)

    def run(self) -> Any:
        return self.harness.run(self.delivery)


def test_core_hears_a_heartbeat_before_the_message_is_acknowledged() -> None:
    long = Long()
    transcript = long.run()
    assert long.verdicts == [None, Verdict.ACK]
    assert transcript.statuses == ["started", "running", "completed"]
    assert transcript.settled == "ack"


def test_message_stays_with_the_broker_when_the_heartbeat_is_not_confirmed() -> None:
    long = Long()
    long.bus.outcome = Outcome.TIMED_OUT
    long.run()
    assert long.verdicts == [None, None]
    assert long.delivery.verdict is Verdict.REQUEUE


@pytest.mark.parametrize("headers", [UNHEARD, None], ids=["no heartbeat wanted", "level 1"])
def test_message_is_acknowledged_at_once_when_nobody_listens_for_heartbeats(headers: Any) -> None:
    long = Long(headers, times=1)
    assert long.run().statuses == ["started", "completed"]
    assert long.verdicts == [Verdict.ACK]


def test_final_reply_waits_for_the_broker_for_a_day_when_no_redelivery_would_repeat_it() -> None:
    long = Long()
    long.run()
    assert long.bus.deadlines[-1] == ANSWER_DEADLINE_S
    late = Long(times=0)
    late.run()
    assert late.bus.deadlines[-1] < ANSWER_DEADLINE_S


def test_lost_final_reply_is_said_when_the_message_was_acknowledged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    long = Long(UNHEARD, times=1)

    def ack_and_lose_the_broker() -> None:
        long.ack()
        long.bus.outcome = Outcome.TIMED_OUT

    long.worker.meanwhile = ack_and_lose_the_broker
    long.run()
    assert "cannot be put back into worker.longworker" in caplog.text


def test_next_try_waits_at_the_broker_as_ever() -> None:
    long = Long(error=JobRetry(5.0))
    transcript = long.run()
    assert transcript.statuses == ["started", "running", "running"]
    assert [one.routing_key for one in transcript.sent][-1] == "worker.longworker.retry.5s"
    assert long.delivery.verdict is Verdict.ACK


def test_failed_job_is_answered_as_ever() -> None:
    assert Long(error=JobFailed("no")).run().final == {"status": "failed", "message": "no"}


def test_acknowledged_delivery_is_the_message_without_its_place_in_the_queue() -> None:
    delivery = FakeDelivery(b"{}", Harness(LongWorker).delivery({}).properties, "worker.x")
    again = acknowledge(delivery)
    assert (delivery.verdict, again.body, again.routing_key) == (Verdict.ACK, b"{}", "worker.x")
    assert acknowledge(again) is again
    again.settle(Verdict.ACK)


# the message comes again while the job runs


def test_redelivery_joins_its_running_job_and_is_settled_with_it() -> None:
    long = Long(times=0)
    again = long.harness.delivery(step_body("Do"), headers=HEARD, redelivered=True)
    joined: list[bool] = []
    long.worker.meanwhile = lambda: joined.append(is_adopted(long.harness.station, again))
    long.run()
    assert joined == [True]
    assert again.verdict is Verdict.ACK
    assert long.worker.runs == 1


def test_redelivery_is_acknowledged_early_with_its_job() -> None:
    long = Long()
    again = long.harness.delivery(step_body("Do"), headers=HEARD, redelivered=True)

    def meanwhile() -> None:
        long.ack()
        assert is_adopted(long.harness.station, again)
        assert again.verdict is None
        long.ack()
        assert again.verdict is Verdict.ACK

    long.worker.meanwhile = meanwhile
    assert long.run().final == {"status": "completed", "data": "done"}


@pytest.mark.parametrize(
    "changes",
    [{"redelivered": False}, {"correlation_id": None}, {"correlation_id": "another.1"}],
    ids=["first delivery", "no id", "another attempt"],
)
def test_other_messages_join_nothing(changes: dict[str, Any]) -> None:
    long = Long(times=0)
    other = long.harness.delivery(step_body("Do"), headers=HEARD, **{"redelivered": True, **changes})
    joined: list[bool] = []
    long.worker.meanwhile = lambda: joined.append(is_adopted(long.harness.station, other))
    long.run()
    assert joined == [False]


def test_redelivery_joins_nothing_when_its_job_is_over() -> None:
    long = Long()
    long.run()
    again = long.harness.delivery(step_body("Do"), headers=HEARD, redelivered=True)
    assert not is_adopted(long.harness.station, again)
    assert long.harness.run(again).statuses == ["completed"]  # the ledger knows the answer
    assert long.worker.runs == 1


# the instance that runs it


class Recorded:
    """A consumer that notes whether it was cancelled."""

    def __init__(self, ack_within_s: float | None) -> None:
        self.queue, self.is_active = "worker.longworker", True
        self.ack_within_s, self.is_cancelled = ack_within_s, False

    def cancel(self) -> None:
        self.is_cancelled = True


class ConsumingBus(Timed):
    """Hands out recorded consumers."""

    def __init__(self) -> None:
        super().__init__()
        self.consumers: list[Recorded] = []
        self.longest: list[float | None] = []

    def consume(
        self, queue: str, on_delivery: Callable[[Delivery], None], *, longest_s: float | None, **_: Any
    ) -> Consumer:
        self.consumers.append(Recorded(10.0))
        self.longest.append(longest_s)
        return self.consumers[-1]


@pytest.fixture
def bus() -> ConsumingBus:
    return ConsumingBus()


@pytest.fixture
def instance(bus: ConsumingBus) -> Instance:
    """Give an instance that consumes, without its thread."""
    harness = Harness(LongWorker, timeout_s=100)
    harness.station.bus = bus
    made = Instance(harness.worker, harness.station, bus, "test")  # type: ignore[arg-type]  # as much of a Bus as is used
    made.resume()
    return made


def delivery_for(instance: Instance, name: str, **changes: Any) -> FakeDelivery:
    return Harness(LongWorker).delivery(
        step_body("Do"), headers=UNHEARD, correlation_id=f"{name}.1", **changes
    )


def perform(instance: Instance, meanwhile: Callable[[], None]) -> FakeDelivery:
    """Run one delivery as the instance's thread does; return it. What `meanwhile` raises is raised."""
    raised: list[BaseException] = []

    def observed() -> None:
        try:
            meanwhile()
        except BaseException as error:
            raised.append(error)
            raise

    instance.worker.meanwhile = observed
    delivery = delivery_for(instance, "first")
    instance._inbox.put(delivery)
    instance._inbox.put(None)
    instance._run()
    if raised:
        raise raised[0]
    return delivery


def test_instance_agrees_on_the_longest_job(instance: Instance, bus: ConsumingBus) -> None:
    assert bus.longest == [100]


def test_instance_takes_nothing_else_while_a_job_runs_that_is_acknowledged(
    instance: Instance, bus: ConsumingBus, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    waiting, late = delivery_for(instance, "waiting"), delivery_for(instance, "late")

    def meanwhile() -> None:
        instance.ack_when_due(9.9)
        assert not bus.consumers[0].is_cancelled
        instance._on_delivery(waiting)
        instance.ack_when_due(10.0)
        instance._on_delivery(late)
        assert late.verdict is Verdict.ACK
        instance.ack_when_due(10.2)
        instance.quiet()
        instance.resume()
        assert len(bus.consumers) == 1

    first = perform(instance, meanwhile)
    assert first.verdict is Verdict.ACK
    assert bus.consumers[0].is_cancelled
    assert len(bus.consumers) == 2, "it consumes again when the job is over"
    copies = [one.properties.correlation_id for one in bus.sent if one.routing_key.startswith("worker.")]
    assert copies == ["waiting.1", "late.1"]
    assert waiting.verdict is Verdict.ACK
    assert caplog.text.count("before the broker loses patience") == 1


def test_instance_stays_quiet_when_it_was_told_to_while_its_job_was_acknowledged(
    instance: Instance, bus: ConsumingBus
) -> None:
    def meanwhile() -> None:
        instance.ack_when_due(10.0)
        instance.quiet()

    perform(instance, meanwhile)
    assert len(bus.consumers) == 1
    instance.resume()
    assert len(bus.consumers) == 2


def test_draining_instance_acknowledges_its_job_too(instance: Instance, bus: ConsumingBus) -> None:
    def meanwhile() -> None:
        instance.quiet()
        instance.ack_when_due(10.0)
        assert isinstance(instance.station.current._deliveries[0], Acknowledged)

    perform(instance, meanwhile)
    assert len(bus.consumers) == 1


def test_instance_without_a_job_is_never_held(instance: Instance, bus: ConsumingBus) -> None:
    instance.ack_when_due(10.0)
    assert not bus.consumers[0].is_cancelled


def test_instance_takes_nothing_behind_a_long_job_when_it_has_read_ahead(
    instance: Instance, bus: ConsumingBus
) -> None:
    late = delivery_for(instance, "late")
    instance._consume(16)

    def meanwhile() -> None:
        instance.slow_down()
        assert all(one.is_cancelled for one in bus.consumers)
        instance._on_delivery(late)
        assert instance._inbox.qsize() == 1, "only the end that this test has put there"
        instance.ack_when_due(2.0)
        assert not isinstance(instance.station.current._deliveries[0], Acknowledged)

    perform(instance, meanwhile)
    assert late.verdict is Verdict.ACK, "a copy of it is in the queue"
    assert len(bus.consumers) == 3, "it consumes again when the job is over"
    assert not bus.consumers[2].is_cancelled


def test_instance_gives_back_what_comes_behind_a_long_job_after_a_lost_connection(
    instance: Instance, bus: ConsumingBus
) -> None:
    late = delivery_for(instance, "late")

    def meanwhile() -> None:
        while not instance._inbox.empty():
            instance._inbox.get()
        instance.slow_down()
        assert not bus.consumers[0].is_cancelled
        instance._on_delivery(late)
        instance.slow_down()
        assert late.verdict is Verdict.ACK
        assert bus.consumers[0].is_cancelled
        instance._inbox.put(None)

    perform(instance, meanwhile)
    assert len(bus.consumers) == 2
