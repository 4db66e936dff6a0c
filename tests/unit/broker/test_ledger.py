"""Unsettled deliveries and transactions of a channel, without a channel."""

from __future__ import annotations

import time

import pytest

from reworker.broker.errors import BrokerError
from reworker.broker.ledger import Ledger, Unacked, ack, requeue
from reworker.broker.queues import Queue
from reworker.broker.vhost import VHost
from tests.unit.broker.fakes import FakeRuntime, make_queue, message


def filled(count: int) -> tuple[Ledger, Queue]:
    """Return a ledger with the tags from 1 to count, and the queue they came from."""
    ledger, queue = Ledger(lambda: None), make_queue(VHost("/", FakeRuntime()))
    for tag in range(1, count + 1):
        queue.push(message(b"%d" % tag))
        entry = queue.take()
        assert entry
        ledger.add(Unacked(tag, queue, entry, None))
    return ledger, queue


def test_multiple_settles_up_to_the_tag() -> None:
    ledger, queue = filled(5)
    ledger.settle(3, ack, multiple=True)
    assert (list(ledger.unacked), queue.unacked_count) == ([4, 5], 2)


@pytest.mark.parametrize(("tag", "multiple"), [(0, False), (6, False), (6, True), (3, True), (3, False)])
def test_tag_is_refused_when_it_is_not_unsettled(tag: int, multiple: bool) -> None:
    ledger, _ = filled(5)
    ledger.settle(3, ack)
    with pytest.raises(BrokerError, match=f"unknown delivery tag {tag}"):
        ledger.settle(tag, ack, multiple=multiple)
    assert list(ledger.unacked) == [1, 2, 4, 5]


def test_rollback_makes_everything_unsettled_again_in_order() -> None:
    ledger, queue = filled(4)
    ledger.begin()
    ledger.settle(3, ack)
    ledger.settle(1, requeue)
    assert (list(ledger.unacked), queue.ready_count) == ([2, 4], 0)
    ledger.rollback()
    assert list(ledger.unacked) == [1, 2, 3, 4]
    ledger.commit()
    assert queue.unacked_count == 4


def test_settling_one_after_the_other_costs_the_same_when_there_are_many() -> None:
    def cost_s(count: int) -> float:
        ledger, _ = filled(count)
        begun_s = time.process_time()
        for tag in range(1, count + 1):
            ledger.settle(tag, ack, multiple=True)
        return (time.process_time() - begun_s) / count

    cost_s(100)
    assert cost_s(10_000) < 6 * cost_s(500)
