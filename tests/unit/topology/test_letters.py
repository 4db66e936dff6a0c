"""Dead letters: what is written on one that is refused, and what can be read from any."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from reworker.bus.contract import Outcome, Outgoing, Properties, Verdict
from reworker.testing.harness import FakeDelivery, RecordingBus
from reworker.topology.letters import Filter, Letter, letter_of, redriven
from reworker.topology.refusal import MOVED_LIMIT_BYTES, Refusal, refuse

AT = datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)
BAD = Refusal("not JSON", "worker scripted host:1:0", AT)


def delivery(body: bytes = b"x", **properties: Any) -> FakeDelivery:
    given = {"correlation_id": "c.1", "reply_to": "re.replies", **properties}
    return FakeDelivery(body, Properties(**given), "worker.scripted", queue="worker.scriptedworker")


def refused(one: FakeDelivery, outcome: Outcome = Outcome.CONFIRMED) -> list[Outgoing]:
    bus = RecordingBus(outcome)
    refuse(bus, one, BAD)
    return bus.sent


def read(sent: Outgoing) -> Letter:
    return letter_of(sent.properties, sent.routing_key, sent.body)


def test_refused_message_says_why_from_where_by_whom_and_when() -> None:
    one = delivery(app_id="me", message_id="m", priority=3, headers={"x-own": 1})
    (sent,) = refused(one)
    assert (sent.exchange, sent.body, one.verdict) == ("re.dead", b"x", Verdict.ACK)
    assert sent.properties.headers == {
        "x-own": 1,
        "x-reworker-reason": "not JSON",
        "x-reworker-queue": "worker.scriptedworker",
        "x-reworker-by": "worker scripted host:1:0",
        "x-reworker-at": "2026-01-02T03:04:05.678Z",
        "x-reworker-exchange": "re",
        "x-reworker-key": "worker.scripted",
    }
    kept = (sent.properties.app_id, sent.properties.message_id, sent.properties.priority)
    assert kept == ("me", "m", 3)


def test_refused_message_lasts_and_is_nobodys_when_it_was_to_expire_or_had_a_user() -> None:
    (sent,) = refused(delivery(expiration="10", user_id="ann", delivery_mode=1))
    kept = sent.properties
    assert (kept.expiration, kept.user_id, kept.delivery_mode) == (None, None, 2)


@pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.RETURNED, Outcome.TIMED_OUT])
def test_message_is_rejected_when_its_copy_is_not_taken(outcome: Outcome) -> None:
    one = delivery()
    refused(one, outcome)
    assert one.verdict is Verdict.DEAD_LETTER


def test_message_is_rejected_when_it_is_too_large_to_be_published_again() -> None:
    one = delivery(b"x" * (MOVED_LIMIT_BYTES + 1))
    assert (refused(one), one.verdict) == ([], Verdict.DEAD_LETTER)


@pytest.mark.parametrize("odd", [{"headers": {"x": object()}}, {"timestamp": -1}])
def test_reason_goes_along_when_amqp_cannot_carry_the_other_properties_again(odd: dict[str, Any]) -> None:
    (sent,) = refused(delivery(**odd))
    assert (read(sent).reason, sent.properties.correlation_id) == ("not JSON", "c.1")


def test_letter_is_read_when_we_refused_it() -> None:
    letter = read(refused(delivery())[0])
    assert (letter.reason, letter.queue, letter.by, letter.at) == (
        "not JSON",
        "worker.scriptedworker",
        "worker scripted host:1:0",
        AT,
    )
    assert (letter.exchange, letter.routing_key, letter.size_bytes) == ("re", "worker.scripted", 1)


DEATHS = [
    {
        "reason": "expired",
        "queue": "q2",
        "time": datetime.fromisoformat("2026-01-02"),
        "exchange": "e2",
        "routing-keys": ["k2"],
    },
    {
        "reason": "rejected",
        "queue": "q1",
        "time": datetime.fromisoformat("2026-01-01"),
        "exchange": "e1",
        "routing-keys": ["k1"],
    },
]


def test_letter_is_read_by_its_last_death_when_the_broker_moved_it() -> None:
    letter = letter_of(Properties(headers={"x-death": DEATHS}), "k2", b"")
    assert (letter.reason, letter.queue, letter.by) == ("expired", "q2", "broker")
    assert (letter.exchange, letter.routing_key, letter.at) == ("e2", "k2", datetime(2026, 1, 2, tzinfo=UTC))


@pytest.mark.parametrize(
    "headers",
    [
        None,
        {},
        {"x-death": []},
        {"x-death": "no"},
        {"x-death": [7]},
        {"x-death": [{"time": "soon", "routing-keys": []}]},
        {"x-reworker-reason": 7, "x-reworker-at": "yesterday", "x-reworker-queue": None},
    ],
)
def test_letter_is_read_when_its_headers_are_odd(headers: Any) -> None:
    letter = letter_of(Properties(headers=headers), "k", b"")
    assert (letter.at, letter.routing_key) == (None, None)
    assert redriven(letter, Properties(headers=headers), b"", at=AT) is None


def test_id_is_that_of_the_content_however_often_it_was_looked_at() -> None:
    first = refused(delivery())[0]
    again = msgspec.structs.replace(
        first.properties, headers={**(first.properties.headers or {}), "x-delivery-count": 3}
    )
    assert read(first).id == letter_of(again, first.routing_key, first.body).id
    assert read(first).id != read(refused(delivery(b"y"))[0]).id


def test_message_goes_back_to_its_old_place_without_what_was_written_on_it() -> None:
    headers = {
        "x-own": 1,
        "x-tries": 2,
        "x-sender": "core",
        "x-lost": 3,
        "x-returns": 4,
        "x-death": DEATHS,
        "x-delivery-count": 9,
    }
    (sent,) = refused(delivery(headers=headers, message_id="m"))
    back = redriven(read(sent), sent.properties, sent.body, at=AT)
    assert back is not None
    assert (back.exchange, back.routing_key, back.body) == ("re", "worker.scripted", b"x")
    assert back.properties.headers == {"x-own": 1, "x-reworker-redriven": "2026-01-02T03:04:05.678Z"}
    assert (back.properties.message_id, back.properties.reply_to) == ("m", "re.replies")


def test_message_goes_straight_to_a_queue_when_one_is_named() -> None:
    back = redriven(letter_of(Properties(), "k", b""), Properties(), b"x", at=AT, queue="worker.fixed")
    assert back is not None
    assert (back.exchange, back.routing_key) == ("", "worker.fixed")


def test_message_goes_back_without_the_name_of_whom_it_was_a_copy_for() -> None:
    old = Properties(headers={"x-sender": "core"}, user_id="sleep")
    back = redriven(letter_of(old, "k", b""), old, b"x", at=AT, queue="worker.fixed")
    assert back is not None
    assert (set(back.properties.headers or {}), back.properties.user_id) == ({"x-reworker-redriven"}, None)


def test_letter_is_a_step_when_a_core_of_level_2_has_sent_it() -> None:
    step = {"x-reworker": 2, "x-attempt": 1}
    assert letter_of(Properties(headers=step), "k", b"").is_step
    assert not letter_of(Properties(headers={"x-reworker": 2}), "k", b"").is_step


@pytest.mark.parametrize(
    ("wanted", "is_taken"),
    [
        (Filter(), True),
        (Filter(queue="worker.scriptedworker", reason="json"), True),
        (Filter(queue="worker.other"), False),
        (Filter(reason="poison"), False),
        (Filter(before=AT + timedelta(1)), True),
        (Filter(before=AT), False),
        (Filter(after=AT - timedelta(1)), True),
        (Filter(after=AT), False),
        (Filter(before=AT + timedelta(1), after=AT), False),
    ],
)
def test_filter_takes_what_it_says(wanted: Filter, is_taken: bool) -> None:
    assert wanted.takes(read(refused(delivery())[0])) is is_taken


def test_filter_by_age_leaves_letters_without_a_time() -> None:
    letter = letter_of(Properties(), "k", b"")
    assert (Filter().takes(letter), Filter(before=AT).takes(letter)) == (True, False)
