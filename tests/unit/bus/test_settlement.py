from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reworker.bus.contract import Properties, Verdict
from reworker.bus.delivery import PikaDelivery
from reworker.bus.frames import ack_frame, nack_frame
from reworker.bus.settlement import AckMerger, Epoch, Settler
from reworker.errors import AlreadySettled


@pytest.mark.parametrize(
    ("batches", "frames"),
    [
        ([[1]], [(1, False)]),
        ([[1, 2, 3]], [(3, True)]),
        ([[2]], [(2, False)]),
        ([[2], [1]], [(2, False), (1, False)]),
        ([[3, 1, 2]], [(3, True)]),
        ([[1, 3]], [(1, False), (3, False)]),
        ([[1, 3], [2, 4]], [(1, False), (3, False), (4, True)]),
        ([[1, 2, 5, 4]], [(2, True), (4, False), (5, False)]),
    ],
)
def test_merge_joins_only_what_is_contiguous(
    batches: list[list[int]], frames: list[tuple[int, bool]]
) -> None:
    merger = AckMerger()
    assert [frame for batch in batches for frame in merger.merge(batch)] == frames


@given(st.data())
def test_merged_frames_settle_exactly_what_was_asked(data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(1, data.draw(st.integers(1, 30)) + 1)))
    merger, outstanding, begin = AckMerger(), set(order), 0
    while begin < len(order):
        size = data.draw(st.integers(1, 5))
        batch = list(order[begin : begin + size])
        begin += size
        expected = outstanding - set(batch)
        for tag, is_multiple in merger.merge(batch):
            assert tag in outstanding, "the broker closes the channel for an unknown tag"
            outstanding -= {one for one in outstanding if one <= tag} if is_multiple else {tag}
        assert outstanding == expected


class Wire:
    def __init__(self) -> None:
        self.frames: list[bytes] = []

    def write_raw(self, data: bytes) -> None:
        self.frames.append(data)


def deliver(epoch: Epoch, *tags: int) -> list[PikaDelivery]:
    epoch.unsettled_count += len(tags)
    return [
        PikaDelivery(epoch, tag, False, "e", "key", Properties(), b"", epoch.tag, epoch.queue) for tag in tags
    ]


def test_verdicts_of_one_batch_are_written_with_rejections_first() -> None:
    wakes: list[None] = []
    settler, wire = Settler(lambda: wakes.append(None)), Wire()
    epoch = Epoch("q", "tag", 5, settler)
    first, second, third = deliver(epoch, 1, 2, 3)
    first.settle(Verdict.ACK)
    second.settle(Verdict.REQUEUE)
    third.settle(Verdict.ACK)
    settler.write(settler.waiting_count, wire)
    assert wire.frames == [nack_frame(5, 2, is_requeued=True), ack_frame(5, 3, is_multiple=True)]
    assert len(wakes) == 3
    assert epoch.unsettled_count == 0


def test_verdict_is_dropped_and_counted_when_its_channel_is_gone() -> None:
    settler, wire = Settler(lambda: None), Wire()
    epoch = Epoch("q", "tag", 5, settler)
    (delivery,) = deliver(epoch, 1)
    epoch.is_live = False
    delivery.settle(Verdict.ACK)
    settler.write(1, wire)
    assert wire.frames == []
    assert settler.stale_count == 1


def test_second_settle_raises_and_is_not_written() -> None:
    settler = Settler(lambda: None)
    (delivery,) = deliver(Epoch("q", "tag", 5, settler), 1)
    delivery.settle(Verdict.ACK)
    with pytest.raises(AlreadySettled, match="delivery 1 of q"):
        delivery.settle(Verdict.DEAD_LETTER)
    assert settler.waiting_count == 1


def test_cancelled_consumer_hears_when_it_is_settled() -> None:
    settler, heard = Settler(lambda: None), []
    epoch = Epoch("q", "tag", 5, settler)
    first, second = deliver(epoch, 1, 2)
    epoch.when_settled = lambda: heard.append(epoch.unsettled_count)
    first.settle(Verdict.ACK)
    settler.write(1, Wire())
    second.settle(Verdict.DEAD_LETTER)
    settler.write(1, Wire())
    assert heard == [1, 0]
