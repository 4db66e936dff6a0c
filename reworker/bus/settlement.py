"""Verdicts on their way from any thread to the broker, joined into few frames."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from reworker.bus import frames
from reworker.bus.contract import Verdict


class AckMerger:
    """Joins acknowledgements of one channel where that is the same to the broker. Pure.

    `multiple` acknowledges everything up to a tag, so it may only be used up to the first tag that is
    not settled. Delivery tags of a channel count from 1 without gaps.
    """

    def __init__(self) -> None:
        self._floor = 0
        self._settled: set[int] = set()

    def note(self, tag: int) -> None:
        """Remember a tag that was settled in another way, with a frame already written."""
        self._settled.add(tag)

    def merge(self, tags: list[int]) -> list[tuple[int, bool]]:
        """Return (tag, is_multiple) of the frames that acknowledge these tags."""
        settled, floor = self._settled, self._floor
        settled.update(tags)
        while floor + 1 in settled:
            floor += 1
            settled.remove(floor)
        self._floor = floor
        low = [tag for tag in tags if tag <= floor]
        merged = [(max(low), len(low) > 1)] if low else []
        return merged + [(tag, False) for tag in sorted(tags) if tag > floor]


class Epoch:
    """One life of a consumer's channel; what was delivered in it can be settled only while it lasts."""

    __slots__ = (
        "acked",
        "channel_number",
        "is_live",
        "merger",
        "queue",
        "settler",
        "tag",
        "unsettled_count",
        "when_settled",
    )

    def __init__(self, queue: str, tag: str, channel_number: int, settler: Settler) -> None:
        self.queue, self.tag, self.channel_number, self.settler = queue, tag, channel_number, settler
        self.is_live = True
        self.unsettled_count = 0
        self.merger = AckMerger()
        self.acked: list[int] = []
        #: called after each batch, for a cancelled consumer that waits for its last verdict.
        self.when_settled: Callable[[], None] | None = None


class Output(Protocol):
    """Takes encoded frames."""

    def write_raw(self, data: bytes) -> None:
        """Append complete frames to the output."""
        ...


class Settler:
    """Collects verdicts from any thread; the I/O thread writes them, those of one channel together.

    Args:
        wake: wakes the I/O thread.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        #: verdicts that came too late: their channel was gone, the broker delivers the message again.
        self.stale_count = 0
        self._wake = wake
        self._waiting: deque[tuple[Epoch, int, Verdict]] = deque()

    @property
    def waiting_count(self) -> int:
        """How many verdicts are not written yet."""
        return len(self._waiting)

    def add(self, epoch: Epoch, delivery_tag: int, verdict: Verdict) -> None:
        """Queue a verdict; any thread."""
        self._waiting.append((epoch, delivery_tag, verdict))
        self._wake()

    def write(self, count: int, output: Output | None) -> None:
        """Write the first `count` verdicts; without an output they are stale."""
        touched: set[Epoch] = set()
        for _ in range(count):
            epoch, tag, verdict = self._waiting.popleft()
            if not epoch.is_live or output is None:
                self.stale_count += 1
                continue
            touched.add(epoch)
            epoch.unsettled_count -= 1
            if verdict is Verdict.ACK:
                epoch.acked.append(tag)
            else:
                epoch.merger.note(tag)
                is_requeued = verdict is Verdict.REQUEUE
                output.write_raw(frames.nack_frame(epoch.channel_number, tag, is_requeued=is_requeued))
        for epoch in touched:
            if output is not None:
                _write_acks(epoch, output)
            if epoch.when_settled is not None:
                epoch.when_settled()


def _write_acks(epoch: Epoch, output: Output) -> None:
    acked, epoch.acked = epoch.acked, []
    for tag, is_multiple in epoch.merger.merge(acked):
        output.write_raw(frames.ack_frame(epoch.channel_number, tag, is_multiple=is_multiple))
