"""Which of many queues is asked next, and who is woken for it."""

from __future__ import annotations

from reworker.bus import rota as rota_module
from reworker.bus.rota import Rota


class Taker:
    """Counts how often it is woken."""

    def __init__(self) -> None:
        self.woken_count = 0

    def wake(self) -> None:
        self.woken_count += 1


class Desk:
    """A rota with one taker that asks for its turn again and again."""

    def __init__(self, *, listed: tuple[str, ...] = ()) -> None:
        self.rota, self.taker = Rota("code.#"), Taker()
        self.rota.expect(listed)

    def take(self, count: int = 1) -> list[str]:
        """Find a message in each of the next queues."""
        found = []
        for _ in range(count):
            turn = self.rota.take(self.taker)
            if turn is None:
                break
            self.rota.found(turn)
            found.append(turn.queue)
        return found

    def drain(self) -> list[str]:
        """Find all queues empty; return their names as they were asked."""
        found = []
        while (turn := self.rota.take(self.taker)) is not None:
            self.rota.empty(turn)
            found.append(turn.queue)
        return found


def test_nobody_is_asked_when_nothing_has_rung() -> None:
    desk = Desk()
    assert desk.rota.take(desk.taker) is None
    assert desk.taker.woken_count == 0


def test_waiting_taker_is_woken_once_when_a_queue_rings() -> None:
    desk = Desk()
    desk.rota.take(desk.taker)
    desk.rota.ring("a")
    desk.rota.ring("a")
    assert desk.taker.woken_count == 1
    assert desk.drain() == ["a"]


def test_each_bell_wakes_another_taker() -> None:
    rota, takers = Rota("code.#"), [Taker(), Taker(), Taker()]
    for one in takers:
        rota.take(one)
    rota.ring("a")
    rota.ring("a")
    assert [one.woken_count for one in takers] == [1, 1, 0]


def test_another_taker_is_woken_when_a_message_was_found_without_a_bell() -> None:
    rota, first, second = Rota("code.#"), Taker(), Taker()
    rota.take(first)
    rota.take(second)
    rota.expect(["a"])
    assert (first.woken_count, second.woken_count) == (1, 0)
    turn = rota.take(first)
    assert turn is not None
    rota.found(turn)
    assert second.woken_count == 1


def test_queues_take_turns_when_all_give_messages() -> None:
    desk = Desk()
    for queue in "abc":
        desk.rota.ring(queue)
    assert "".join(desk.take(6)) == "abcabc"


def test_queue_that_rang_waits_for_one_look_at_most_when_many_are_swept() -> None:
    desk = Desk(listed=tuple("abcdefgh"))
    desk.rota.ring("z")
    assert "z" in desk.take(2)
    desk.rota.sweep()
    assert desk.drain().index("z") <= 1


def test_swept_queue_waits_for_one_look_at_most_when_others_are_busy() -> None:
    desk = Desk(listed=("quiet",))
    desk.rota.ring("busy")
    assert "quiet" in desk.take(2)


def test_swept_queue_is_asked_by_one_taker_only() -> None:
    desk = Desk(listed=("a",))
    assert desk.rota.take(desk.taker) is not None
    assert desk.rota.take(Taker()) is None


def test_queue_is_asked_once_more_when_it_rang_for_a_message_that_was_not_there() -> None:
    desk = Desk()
    desk.rota.ring("a")
    turn = desk.rota.take(desk.taker)
    assert turn is not None
    assert desk.rota.empty(turn)
    assert desk.rota.take(desk.taker) is None
    desk.rota.doubt("a")
    again = desk.rota.take(desk.taker)
    assert again is not None
    assert not desk.rota.empty(again)


def test_queue_is_not_asked_once_more_when_all_it_rang_for_was_found() -> None:
    desk = Desk()
    desk.rota.ring("a")
    assert desk.take() == ["a"]
    turn = desk.rota.take(desk.taker)
    assert turn is not None
    assert not desk.rota.empty(turn)


def test_queue_stays_marked_when_it_rings_while_it_is_asked() -> None:
    desk = Desk()
    desk.rota.ring("a")
    turn = desk.rota.take(desk.taker)
    assert turn is not None
    desk.rota.ring("a")
    assert not desk.rota.empty(turn)
    assert desk.take() == ["a"]


def test_missing_queue_is_forgotten_unless_it_is_listed() -> None:
    desk = Desk(listed=("listed",))
    desk.rota.ring("heard")
    for _ in range(2):
        turn = desk.rota.take(desk.taker)
        assert turn is not None
        assert desk.rota.missing(turn) == []
    assert desk.rota.known == ["listed"]
    desk.rota.sweep()
    assert desk.drain() == []


def test_bells_of_a_missing_queue_are_answered_once() -> None:
    desk, told = Desk(), []
    for word in ("one", "two"):
        desk.rota.ring("a", lambda word=word: told.append(word))
    turn = desk.rota.take(desk.taker)
    assert turn is not None
    for call in [*desk.rota.missing(turn), *desk.rota.missing(turn)]:
        call()
    assert told == ["one", "two"]


def test_bells_are_not_answered_when_the_queue_was_there() -> None:
    desk, told = Desk(), []
    for end in (desk.rota.found, desk.rota.empty):
        desk.rota.ring("a", lambda: told.append("lost"))
        turn = desk.rota.take(desk.taker)
        assert turn is not None
        end(turn)
        assert desk.rota.missing(turn) == []


def test_missing_queue_is_asked_again_when_it_rings_or_the_connection_is_another() -> None:
    desk = Desk(listed=("a",))
    for call in (lambda: desk.rota.ring("a"), lambda: desk.rota.meet("another")):
        turn = desk.rota.take(desk.taker)
        assert turn is not None
        desk.rota.missing(turn)
        assert desk.drain() == []
        call()
    assert desk.drain() == ["a"]
    desk.rota.meet("another")
    assert desk.drain() == []


def test_queue_is_skipped_until_it_is_resumed_when_it_is_paused() -> None:
    desk = Desk(listed=("a", "b"))
    desk.rota.pause("a")
    desk.rota.ring("a")
    desk.rota.sweep()
    assert desk.drain() == ["b"]
    desk.rota.resume("a")
    assert desk.drain() == ["a"]
    desk.rota.resume("never heard of")


def test_message_of_a_paused_queue_does_not_mark_it_when_it_was_asked_before() -> None:
    desk = Desk()
    desk.rota.ring("a")
    turn = desk.rota.take(desk.taker)
    assert turn is not None
    desk.rota.pause("a")
    desk.rota.found(turn)
    assert desk.drain() == []


def test_wake_is_passed_on_when_its_taker_leaves() -> None:
    rota, first, second = Rota("code.#"), Taker(), Taker()
    rota.take(first)
    rota.take(second)
    rota.ring("a")
    rota.leave(first)  # was woken, and takes nothing
    assert (first.woken_count, second.woken_count) == (1, 1)
    rota.leave(second)
    rota.ring("b")
    assert (first.woken_count, second.woken_count) == (1, 1)


def test_names_that_no_queue_can_have_are_left_out() -> None:
    desk = Desk(listed=("", "x" * 256, "é" * 128, "a"))
    assert desk.rota.known == ["a"]


def test_queue_that_is_listed_no_more_goes_when_it_is_missing() -> None:
    desk = Desk(listed=("a", "b"))
    desk.rota.expect(["b"])
    for _ in range(2):
        turn = desk.rota.take(desk.taker)
        assert turn is not None
        desk.rota.missing(turn)
    assert desk.rota.known == ["b"]


def test_oldest_are_forgotten_when_too_many_ring() -> None:
    desk = Desk(listed=("listed",))
    for number in range(rota_module.HEARD_COUNT + 5):
        desk.rota.ring(f"q{number}")
    known = desk.rota.known
    assert len(known) == rota_module.HEARD_COUNT
    assert known[0] == "listed"
    assert "q0" not in known
