from __future__ import annotations

from collections.abc import Callable

import pytest

from reworker.bus.contract import Outcome, Outgoing, Properties, Published
from reworker.bus.publisher import ALONE_BYTES, WINDOW_COUNT, Pending, Publisher

RETURNED = Published(Outcome.RETURNED, reply_code=312, reason="NO_ROUTE")


class Desk:
    """A publisher whose outcomes are kept by name."""

    def __init__(self) -> None:
        self.ended: list[tuple[str, Published]] = []
        self.failed: list[Callable[[Published], None]] = []
        self.publisher = Publisher(self.failed.append)

    def add(
        self, *names: str, deadline_s: float = 100.0, exchange: str = "e", may_resend: bool = True
    ) -> None:
        for name in names:
            message = Outgoing(exchange, "key", name.encode(), Properties(message_id=name), may_resend)
            self.publisher.add(Pending(message, b"", self._note(name), deadline_s, rest=message.body))

    def _note(self, name: str) -> Callable[[Published], None]:
        return lambda result: self.ended.append((name, result))

    def send(self, now_s: float = 0.0) -> list[str]:
        return [pending.message.body.decode() for pending in self.publisher.take(now_s)]

    @property
    def outcomes(self) -> dict[str, Outcome]:
        assert len({name for name, _ in self.ended}) == len(self.ended), "a publish ended twice"
        return {name: result.outcome for name, result in self.ended}


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.mark.parametrize("is_multiple", [True, False])
def test_callback_that_raises_is_told_of_and_costs_the_others_nothing(desk: Desk, is_multiple: bool) -> None:
    def fails(_result: Published) -> None:
        raise ValueError("a bug of the user")

    desk.publisher.add(Pending(Outgoing("e", "key", b"bad", Properties()), b"", fails, 100.0))
    desk.add("good")
    desk.send()
    for tag in (2,) if is_multiple else (1, 2):
        desk.publisher.confirm(tag, is_multiple, True)
    assert (desk.failed, desk.outcomes) == ([fails], {"good": Outcome.CONFIRMED})
    assert desk.publisher.pending_count == 0


def test_take_gives_everything_in_order(desk: Desk) -> None:
    desk.add("a", "b")
    assert desk.send() == ["a", "b"]
    desk.add("c")
    assert desk.send() == ["c"]
    assert desk.publisher.pending_count == 3


def test_take_stops_when_the_window_is_full(desk: Desk) -> None:
    desk.add(*(f"m{number}" for number in range(WINDOW_COUNT + 2)))
    assert len(desk.send()) == WINDOW_COUNT
    assert desk.send() == []
    desk.publisher.confirm(1, False, True)
    assert desk.send() == [f"m{WINDOW_COUNT}"]


def large(name: str) -> str:
    """Return the name of a message that is too large for company."""
    return name * (ALONE_BYTES // len(name) + 1)


def test_large_message_travels_alone(desk: Desk) -> None:
    big = large("big")
    desk.add("before", big, "after")
    assert desk.send() == ["before"]
    assert desk.send() == []
    desk.publisher.confirm(1, False, True)
    assert desk.send() == [big]
    assert desk.send() == []
    desk.publisher.confirm(2, False, True)
    assert desk.send() == ["after"]
    assert desk.outcomes == {"before": Outcome.CONFIRMED, big: Outcome.CONFIRMED}


def test_nothing_else_is_in_doubt_when_a_message_was_too_large(desk: Desk) -> None:
    big = large("big")
    desk.add("before", big, "after", may_resend=False)
    desk.send()
    desk.publisher.confirm(1, False, True)
    desk.send()
    desk.publisher.channel_closed(406, f"PRECONDITION_FAILED - message size {len(big)} is larger than ...")
    assert desk.send() == ["after"]
    assert desk.outcomes == {"before": Outcome.CONFIRMED, big: Outcome.REFUSED}


def test_large_message_is_sent_again_when_the_connection_was_lost(desk: Desk) -> None:
    big = large("big")
    desk.add(big, "after")
    assert desk.send() == [big]
    desk.publisher.connection_lost()
    assert desk.send() == [big]
    desk.publisher.confirm(1, False, True)
    assert desk.send() == ["after"]


def test_others_go_on_when_a_large_message_was_given_up(desk: Desk) -> None:
    big = large("big")
    desk.add(big, deadline_s=1.0)
    desk.add("after")
    assert desk.send() == [big]
    desk.publisher.expire(2.0)
    assert desk.send() == ["after"]
    desk.add(big.upper(), deadline_s=3.0)
    assert desk.send(4.0) == []
    assert desk.outcomes == {big: Outcome.TIMED_OUT}
    desk.publisher.confirm(2, True, True)
    assert desk.send(5.0) == []
    desk.add("last")
    assert desk.send(5.0) == ["last"]


def test_single_confirm_ends_one(desk: Desk) -> None:
    desk.add("a", "b")
    desk.send()
    desk.publisher.confirm(1, False, True)
    assert desk.outcomes == {"a": Outcome.CONFIRMED}
    assert desk.publisher.pending_count == 1


def test_multiple_confirm_ends_all_up_to_it(desk: Desk) -> None:
    desk.add("a", "b", "c")
    desk.send()
    desk.publisher.confirm(2, True, True)
    assert desk.outcomes == {"a": Outcome.CONFIRMED, "b": Outcome.CONFIRMED}


def test_confirms_out_of_order_end_each_once(desk: Desk) -> None:
    desk.add("a", "b", "c", "d")
    desk.send()
    for tag in (3, 2, 1, 4):
        desk.publisher.confirm(tag, False, True)
    assert list(desk.outcomes) == ["c", "b", "a", "d"]
    assert desk.publisher.pending_count == 0


def test_multiple_confirm_passes_over_what_has_ended(desk: Desk) -> None:
    desk.add("a", "b", "c")
    desk.send()
    desk.publisher.confirm(2, False, True)
    desk.publisher.confirm(3, True, True)
    assert list(desk.outcomes) == ["b", "a", "c"]
    assert desk.publisher.pending_count == 0


@pytest.mark.parametrize("tag", [0, 3, 99])
def test_confirm_of_an_unknown_tag_is_ignored(desk: Desk, tag: int) -> None:
    desk.add("a", "b")
    desk.send()
    desk.publisher.confirm(tag, False, True)
    assert desk.ended == []


def test_nack_is_refused(desk: Desk) -> None:
    desk.add("a")
    desk.send()
    desk.publisher.confirm(1, False, False)
    assert desk.outcomes == {"a": Outcome.REFUSED}


def test_returned_message_ends_with_its_confirm(desk: Desk) -> None:
    desk.add("a", "b", "c")
    desk.send()
    desk.publisher.returned("e", "key", "b", b"b", RETURNED)
    assert desk.ended == []
    desk.publisher.confirm(3, True, True)
    assert desk.outcomes == {"a": Outcome.CONFIRMED, "b": Outcome.RETURNED, "c": Outcome.CONFIRMED}


def test_return_of_a_message_that_is_not_ours_is_ignored(desk: Desk) -> None:
    desk.add("a")
    desk.send()
    desk.publisher.returned("e", "key", "a", b"other", RETURNED)
    desk.publisher.confirm(1, False, True)
    assert desk.outcomes == {"a": Outcome.CONFIRMED}


def test_equal_messages_are_returned_one_by_one(desk: Desk) -> None:
    desk.add("a")
    desk.add("a")
    desk.send()
    desk.publisher.returned("e", "key", "a", b"a", RETURNED)
    desk.publisher.returned("e", "key", "a", b"a", RETURNED)
    desk.publisher.confirm(2, True, True)
    assert [result.outcome for _, result in desk.ended] == [Outcome.RETURNED] * 2


def test_lost_connection_sends_again_in_front_of_what_waits(desk: Desk) -> None:
    desk.add("a", "b")
    desk.send()
    desk.add("c")
    desk.publisher.connection_lost()
    assert desk.send() == ["a", "b", "c"]
    desk.publisher.confirm(3, True, True)
    assert set(desk.outcomes.values()) == {Outcome.CONFIRMED}


def test_lost_connection_ends_what_may_not_be_sent_again(desk: Desk) -> None:
    desk.add("a")
    desk.add("once", may_resend=False)
    desk.send()
    desk.add("unsent", may_resend=False)
    desk.publisher.connection_lost()
    assert desk.outcomes == {"once": Outcome.LOST}
    assert desk.send() == ["a", "unsent"]


def test_lost_connection_ends_what_was_returned_as_returned(desk: Desk) -> None:
    desk.add("a")
    desk.send()
    desk.publisher.returned("e", "key", "a", b"a", RETURNED)
    desk.publisher.connection_lost()
    assert desk.outcomes == {"a": Outcome.RETURNED}
    assert desk.send() == []


def test_missing_exchange_returns_those_at_fault_and_sends_the_rest_again(desk: Desk) -> None:
    desk.add("before")
    desk.add("bad", exchange="gone")
    desk.add("after", may_resend=False)
    desk.add("worse", exchange="gone")
    desk.send()
    desk.publisher.channel_closed(404, "NOT_FOUND - no exchange 'gone' in vhost '/'")
    assert desk.outcomes == {"bad": Outcome.RETURNED, "worse": Outcome.RETURNED}
    assert desk.send() == ["before", "after"]  # what came after the fault was surely dropped


def test_what_came_before_the_fault_is_lost_when_it_may_not_be_sent_again(desk: Desk) -> None:
    desk.add("before", may_resend=False)
    desk.add("bad", exchange="gone")
    desk.send()
    desk.publisher.channel_closed(404, "NOT_FOUND - no exchange 'gone' in vhost '/'")
    assert desk.outcomes == {"before": Outcome.LOST, "bad": Outcome.RETURNED}


def test_refusal_blames_only_the_first_to_that_exchange(desk: Desk) -> None:
    desk.add("fine", exchange="open")
    desk.add("bad", "second", exchange="locked")
    desk.send()
    desk.publisher.channel_closed(403, "ACCESS_REFUSED - access to exchange 'locked' in vhost '/' refused")
    assert desk.outcomes == {"bad": Outcome.REFUSED}
    assert desk.send() == ["fine", "second"]


def test_too_large_message_is_found_by_its_size(desk: Desk) -> None:
    desk.add("a", "larger")
    desk.send()
    desk.publisher.channel_closed(
        406, "PRECONDITION_FAILED - message size 6 is larger than configured max size 5"
    )
    assert desk.outcomes == {"larger": Outcome.REFUSED}


def test_oldest_is_blamed_when_the_text_names_nobody(desk: Desk) -> None:
    desk.add("a", "b")
    desk.send()
    desk.publisher.channel_closed(406, "PRECONDITION_FAILED - something else")
    assert desk.outcomes == {"a": Outcome.REFUSED}
    assert desk.send() == ["b"]


def test_closed_channel_blames_nobody_when_nothing_was_sent(desk: Desk) -> None:
    desk.add("a")
    desk.publisher.channel_closed(404, "NOT_FOUND - no exchange 'e' in vhost '/'")
    assert desk.send() == ["a"]


def test_unsent_message_times_out_and_is_never_sent(desk: Desk) -> None:
    desk.add("late", deadline_s=1.0)
    desk.add("fine")
    assert desk.send(now_s=1.0) == ["fine"]
    (name, result) = desk.ended[0]
    assert (name, result.outcome, result.is_sent) == ("late", Outcome.TIMED_OUT, False)


def test_expire_ends_what_waits_and_what_is_sent(desk: Desk) -> None:
    desk.add("sent", deadline_s=1.0)
    desk.send()
    desk.add("waits", deadline_s=1.0)
    desk.add("fine")
    desk.publisher.expire(0.9)
    assert desk.ended == []
    desk.publisher.expire(1.0)
    assert [(name, result.is_sent) for name, result in desk.ended] == [("sent", True), ("waits", False)]
    assert desk.publisher.pending_count == 1
    assert desk.send() == ["fine"]


@pytest.mark.parametrize("is_sent", [True, False])
def test_expire_ends_what_came_after_the_last_look(desk: Desk, is_sent: bool) -> None:
    desk.add("long")
    desk.send()
    desk.publisher.expire(0.5)
    desk.add("short", deadline_s=1.0)
    if is_sent:
        desk.send()
    desk.publisher.expire(1.0)
    assert desk.outcomes == {"short": Outcome.TIMED_OUT}


def test_message_in_several_frames_keeps_its_place_when_another_travels_alone(desk: Desk) -> None:
    big = large("big")
    desk.add(big, "small")
    assert desk.send() == [big]
    desk.add("later")
    assert desk.send() == []
    desk.publisher.confirm(1, False, True)
    assert desk.send() == ["small", "later"]


def test_late_confirm_changes_nothing_when_the_publish_has_timed_out(desk: Desk) -> None:
    desk.add("a", deadline_s=1.0)
    desk.add("b")
    desk.send()
    desk.publisher.expire(2.0)
    desk.publisher.confirm(2, True, True)
    assert desk.outcomes == {"a": Outcome.TIMED_OUT, "b": Outcome.CONFIRMED}
    assert desk.publisher.pending_count == 0


def test_timed_out_publish_is_not_sent_again_when_the_connection_is_lost(desk: Desk) -> None:
    desk.add("a", deadline_s=1.0)
    desk.send()
    desk.publisher.expire(2.0)
    desk.publisher.connection_lost()
    assert desk.send(2.0) == []
    assert desk.publisher.pending_count == 0


def test_publish_sent_once_counts_as_sent_when_it_waits_again(desk: Desk) -> None:
    desk.add("a", deadline_s=1.0)
    desk.send()
    desk.publisher.connection_lost()
    desk.publisher.expire(2.0)
    assert desk.ended[0][1].is_sent


def test_end_all_ends_everything_once(desk: Desk) -> None:
    desk.add("sent")
    desk.send()
    desk.add("waits")
    desk.publisher.end_all("closed")
    desk.publisher.end_all("closed")
    assert [(name, result.outcome, result.is_sent) for name, result in desk.ended] == [
        ("sent", Outcome.TIMED_OUT, True),
        ("waits", Outcome.TIMED_OUT, False),
    ]
    assert desk.publisher.pending_count == 0


def test_publish_without_callback_ends_silently(desk: Desk) -> None:
    desk.publisher.add(Pending(Outgoing("", "q", b"", Properties()), b"", None, 9.0))
    assert len(list(desk.publisher.take(0.0))) == 1
    desk.publisher.confirm(1, False, True)
    assert desk.publisher.pending_count == 0


def test_every_publish_is_refused_when_the_broker_takes_us_for_another_user(desk: Desk) -> None:
    desk.add("a", "b", may_resend=False)
    assert desk.send() == ["a", "b"]
    text = "PRECONDITION_FAILED - user_id property set to 'a' but authenticated user was 'b'"
    desk.publisher.channel_closed(406, text)
    assert desk.outcomes == {"a": Outcome.REFUSED, "b": Outcome.REFUSED}
    assert {result.reason for _, result in desk.ended} == {text}
