"""Looking while somebody asks: lazily, at rest otherwise, and never in the way of who asks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from reworker.core.bus_look import BusLook
from reworker.core.bus_poller import BusPoller
from reworker.core.errands import Errands, TooSlow
from reworker.errors import ConfigError
from reworker.testing.clock import FakeClock
from tests.support.waiting import wait_until

FIRST = BusLook("looking", "amqp://h")


class Watch:
    """Looks without a broker; may be held, or fail."""

    def __init__(self) -> None:
        self.look_count = self.close_count = 0
        self.may_look = threading.Event()
        self.may_look.set()
        self.error: Exception | None = None

    def look(self) -> BusLook:
        assert self.may_look.wait(10)
        if self.error is not None:
            raise self.error
        self.look_count += 1
        return BusLook("up", "amqp://h", source=str(self.look_count))

    def close(self) -> None:
        self.close_count += 1


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def poller(watch: Watch, clock: FakeClock) -> Iterator[BusPoller]:
    made = BusPoller(watch, clock, FIRST, every_s=0.001, rest_s=20)
    yield made
    watch.may_look.set()
    made.close()


def test_nobody_looks_until_somebody_asks(poller: BusPoller, watch: Watch) -> None:
    assert poller.is_resting
    assert watch.look_count == 0
    assert poller.look(first_s=10).state == "up"
    assert not poller.is_resting


def test_looks_go_on_while_somebody_asks_and_end_when_nobody_does(
    poller: BusPoller, watch: Watch, clock: FakeClock
) -> None:
    poller.look(first_s=10)
    wait_until(lambda: watch.look_count > 3)
    clock.advance(21)
    wait_until(lambda: poller.is_resting)
    assert watch.close_count == 1
    count = watch.look_count
    assert poller.look(first_s=10).source == str(count + 1), "a new look, not what was seen before the rest"


def test_who_asks_does_not_wait_for_a_broker_that_hangs(poller: BusPoller, watch: Watch) -> None:
    watch.may_look.clear()
    assert poller.look(first_s=0.01) == FIRST
    assert poller.look(first_s=0.01) == FIRST


def test_another_thread_looks_when_one_has_failed(
    poller: BusPoller, watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    watch.error = ValueError("odd")
    poller.look(first_s=0.01)
    wait_until(lambda: poller.is_resting)
    assert "looking at the broker has ended" in caplog.text
    watch.error = None
    assert poller.look(first_s=10).state == "up"


def test_nobody_looks_after_the_end(poller: BusPoller, watch: Watch) -> None:
    poller.look(first_s=10)
    poller.close()
    poller.close()
    assert poller.is_resting
    assert watch.close_count == 1
    assert poller.look(first_s=10).state == "up", "what was seen last, and at once"
    assert poller.is_resting


# errands


def test_errand_gives_back_what_it_returns_or_raises() -> None:
    errands = Errands()
    assert errands.run(lambda: 7, "counting", 10) == 7

    def fail() -> None:
        raise ConfigError("odd")

    def time_out() -> None:
        raise TimeoutError("its own")

    with pytest.raises(ConfigError, match="odd"):
        errands.run(fail, "failing", 10)
    with pytest.raises(TimeoutError, match="its own"):
        errands.run(time_out, "failing", 10)


def blocked(errands: Errands) -> tuple[threading.Event, Callable[[], None], list[str]]:
    """Return what lets an errand end, the errand, and what it has done."""
    release, done = threading.Event(), list[str]()

    def deed() -> None:
        assert release.wait(10)
        done.append("deed")

    return release, deed, done


def test_errand_that_was_begun_may_yet_be_done_when_it_takes_too_long() -> None:
    errands = Errands()
    release, deed, done = blocked(errands)
    with pytest.raises(TooSlow, match=r"counting: .* within 0\.01 s; it may yet be done") as caught:
        errands.run(deed, "counting", 0.01)
    assert caught.value.is_begun
    with pytest.raises(TooSlow, match="nothing was done") as second:
        errands.run(lambda: done.append("second"), "waiting", 0.01)
    assert not second.value.is_begun
    release.set()
    assert errands.run(lambda: 1, "after", 10) == 1
    assert done == ["deed"], "what was given up before its turn is not done later"
