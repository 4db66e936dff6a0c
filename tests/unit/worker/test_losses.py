"""Messages whose workers were lost: counting, and taking out of the queue what kills them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from reworker.bus.contract import Outcome, Outgoing
from reworker.jobs.attempt import Attempt
from reworker.jobs.losses import MAX_LOSSES
from reworker.testing import Harness
from reworker.worker import Worker
from tests.unit.worker.kit import IDEMPOTENT, LEVEL_2, StepWorker, step_body


def copies_in(transcript: Any) -> list[Outgoing]:
    return [one for one in transcript.sent if "x-lost" in (one.properties.headers or {})]


def killed(
    make: Callable[[], Harness], message: Any, headers: Any, times: int = MAX_LOSSES, **options: Any
) -> tuple[Harness, Any]:
    """Deliver a message of several workers that died, each a process of its own; return the end."""
    harness = make()
    delivery = harness.delivery(message, headers=headers, redelivered=True, **options)
    for _ in range(times - 1):
        transcript, harness = harness.run(delivery), make()
        copies = copies_in(transcript)
        assert copies, f"{transcript.statuses}: not sent round"
        assert transcript.settled == "ack"
        delivery = harness.delivery_of(copies[0], redelivered=True)
    return harness, harness.run(delivery)


@pytest.mark.parametrize(
    ("headers", "options"),
    [(IDEMPOTENT, {}), (None, {"on_redelivery": "run"}), (None, {"on_redelivery": "run", "ack": "early"})],
)
def test_step_is_refused_when_it_killed_three_workers_on_machines_of_their_own(
    headers: Any, options: Any
) -> None:
    harness, transcript = killed(lambda: Harness(StepWorker, **options), step_body(), headers)
    assert harness.worker.runs == 0  # type: ignore[attr-defined]  # of StepWorker
    assert (transcript.statuses, transcript.settled) == (["failed"], "dead letter")
    assert transcript.message == "dead-lettered: it killed its worker 3 times"
    assert transcript.refused == "killed its worker 3 times"


def test_step_runs_when_it_killed_two() -> None:
    harness, transcript = killed(lambda: Harness(StepWorker), step_body(), IDEMPOTENT, MAX_LOSSES - 1)
    (copy,) = copies_in(transcript)
    assert copy.properties.headers == {**IDEMPOTENT, "x-lost": 2}
    assert harness.run(harness.delivery_of(copy)).statuses == ["started", "completed"]


def test_step_that_nobody_may_repeat_is_answered_at_the_first_loss() -> None:
    harness = Harness(StepWorker)
    transcript = harness.run(harness.delivery(step_body(), headers=LEVEL_2, redelivered=True))
    assert (transcript.statuses, copies_in(transcript)) == (["unknown"], [])


def test_count_of_the_broker_is_believed_when_it_has_one() -> None:
    harness = Harness(StepWorker)
    for count, statuses in ((2, ["started", "completed"]), (3, ["failed"])):
        headers = {**IDEMPOTENT, "x-delivery-count": count}
        delivery = harness.delivery(
            step_body(), headers=headers, redelivered=True, correlation_id=f"c.{count}"
        )
        transcript = harness.run(delivery)
        assert (transcript.statuses, copies_in(transcript)) == (statuses, [])


def test_ledger_counts_when_the_broker_takes_no_copy() -> None:
    harness = Harness(StepWorker)
    harness.worker.error = SystemExit()  # type: ignore[attr-defined]  # of StepWorker
    harness.bus.gone.add("worker.stepworker")
    delivery = lambda: harness.delivery(step_body(), headers=IDEMPOTENT, redelivered=True)  # noqa: E731  used twice and short
    assert harness.run(delivery()).statuses == ["started", "failed"]
    assert harness.station.ledger.count_loss(delivery().properties.correlation_id or "") == 1, "its job ended"


def test_losses_are_forgotten_when_the_step_waits_for_its_next_try() -> None:
    harness = Harness(StepWorker, retry_attempts=3)
    harness.worker.error = ConnectionError("cut")  # type: ignore[attr-defined]  # of StepWorker
    headers = {**IDEMPOTENT, "x-lost": 2}
    (copy,) = (
        one
        for one in harness.run(harness.delivery(step_body(), headers=headers)).sent
        if "x-tries" in (one.properties.headers or {})
    )
    assert "x-lost" not in (copy.properties.headers or {})


class Teller(Worker):
    """Takes notifications and lines of output."""

    reports_status = False

    def process(self, channel: Any, basic_deliver: Any, properties: Any, body: Any, output: Any) -> None:
        self.ack(basic_deliver)


def test_notification_is_refused_when_it_killed_three_workers() -> None:
    _, transcript = killed(lambda: Harness(Teller), {"slug": "s"}, None, routing_key="notify.irc")
    assert (transcript.sent, transcript.settled) == ([], "dead letter")


def test_line_of_output_keeps_its_place_when_its_worker_was_lost() -> None:
    harness = Harness(Teller)
    delivery = harness.delivery({"message": "m"}, routing_key="output", redelivered=True)
    transcript = harness.run(delivery)
    assert (transcript.sent, transcript.settled) == ([], "ack")


def test_line_of_output_is_refused_when_the_ledger_of_its_host_knows_three_losses() -> None:
    harness = Harness(Teller)
    make = lambda: harness.delivery({"message": "m"}, routing_key="output", redelivered=True)  # noqa: E731  used twice and short
    key = "0123456789abcdef01234567.1#"
    counted = [harness.station.ledger.count_loss(_key_of(harness, make())) for _ in range(MAX_LOSSES - 1)]
    assert (counted, _key_of(harness, make()).startswith(key)) == ([1, 2], True)
    assert harness.run(make()).refused == "killed its worker 3 times"


def _key_of(harness: Harness, delivery: Any) -> str:
    return str(Attempt(harness.station, delivery).key)


def test_copy_sent_round_is_not_believed_when_it_is_not_confirmed() -> None:
    harness = Harness(StepWorker)
    harness.bus.outcome = Outcome.REFUSED
    transcript = harness.run(harness.delivery(step_body(), headers=IDEMPOTENT, redelivered=True))
    assert transcript.statuses == ["started", "completed"]
