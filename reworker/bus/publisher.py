"""Which publishes wait, which are on the wire without a confirm, and how each one ends. No I/O, no clock.

Used on the I/O thread only, but for `add`, which any thread may call.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable

import msgspec

from reworker.bus.contract import Outcome, Outgoing, Published

#: publishes on the wire without a confirm, at most; what waits is not lost with the connection.
WINDOW_COUNT = 4096
#: bytes of a body over which a publish travels alone: a broker that finds it too large closes the channel,
#: and whatever had no confirm by then would be in doubt. Nothing of our own protocol is larger.
ALONE_BYTES = 1 << 20
NOT_FOUND = 404
_EXCHANGE_IN_TEXT = re.compile(r"exchange '([^']*)'")
#: words by which RabbitMQ and the embedded broker refuse a message that names another sender.
FOREIGN_SENDER = "user_id property set to"
_SIZE_IN_TEXT = re.compile(r"message size (\d+)")

CONFIRMED = Published(Outcome.CONFIRMED)

OnDone = Callable[[Published], None]


class Pending(msgspec.Struct, eq=False, gc=False):
    """A publish without its outcome; it gets one, so whatever hangs on it is let go without a collector.

    Args:
        message: as it was given to us.
        frames: everything of it that is encoded in advance.
        on_done: called with the outcome.
        deadline_mono_s: when it ends at the latest.
        rest: a body that is not among the frames.
    """

    message: Outgoing
    frames: bytes
    on_done: OnDone | None
    deadline_mono_s: float
    rest: bytes = b""
    is_sent: bool = False
    is_done: bool = False
    returned: Published | None = None

    def is_like(self, exchange: str, routing_key: str, message_id: str | None, body: bytes) -> bool:
        """Tell whether a returned message is this one."""
        mine = self.message
        return (
            mine.routing_key == routing_key
            and mine.exchange == exchange
            and mine.properties.message_id == message_id
            and mine.body == body
        )


class Publisher:
    """Order, confirms, returns, deadlines and losses of publishes.

    Attributes:
        add: queues a publish; any thread.

    Args:
        on_failure: called with a callback that has raised, while the error is handled.
    """

    def __init__(self, on_failure: Callable[[OnDone], None]) -> None:
        self._on_failure = on_failure
        #: confirms of the broker so far, several at once counted once.
        self.confirm_count = 0
        #: filled by any thread; the rest is the I/O thread's own.
        self._incoming: deque[Pending] = deque()
        self.add: Callable[[Pending], None] = self._incoming.append
        self._waiting: deque[Pending] = deque()
        #: sequence numbers are consecutive: the first one's is `_first_tag`.
        self._unconfirmed: deque[Pending] = deque()
        self._first_tag = 1
        self._done_count = 0
        self._alone: Pending | None = None
        #: when the first of those ends that were there at the last look; whether there may be others.
        self._next_deadline_mono_s, self._has_news = float("inf"), False

    @property
    def pending_count(self) -> int:
        """How many publishes have no outcome yet."""
        return len(self._incoming) + len(self._waiting) + len(self._unconfirmed) - self._done_count

    def take(self, now_mono_s: float) -> list[Pending]:
        """Return the waiting publishes, in order, to be written at once; those too late end instead."""
        taken: list[Pending] = []
        incoming, waiting, unconfirmed = self._incoming, self._waiting, self._unconfirmed
        while (source := waiting or incoming) and len(unconfirmed) < WINDOW_COUNT:
            pending = source.popleft()
            if (pending.rest or self._alone is not None) and not self._may_go(pending):
                source.appendleft(pending)
                break
            if pending.deadline_mono_s <= now_mono_s:
                self._time_out(pending, "its deadline passed before it could be sent")
                continue
            pending.is_sent = True
            unconfirmed.append(pending)
            taken.append(pending)
        self._has_news = True
        return taken

    def _may_go(self, pending: Pending) -> bool:
        """Tell whether nothing has to be confirmed before this one is written."""
        is_large = len(pending.rest) > ALONE_BYTES
        if self._alone is not None and not self._alone.is_done:
            return False
        if is_large and len(self._unconfirmed) > self._done_count:
            return False
        self._alone = pending if is_large else None
        return True

    def confirm(self, tag: int, is_multiple: bool, is_ack: bool) -> None:
        """Note basic.ack or basic.nack of the broker."""
        self.confirm_count += 1
        unconfirmed = self._unconfirmed
        if is_multiple:
            count = min(tag - self._first_tag + 1, len(unconfirmed))
            self._first_tag += max(count, 0)
            self._settle_first(count, is_ack)
        elif unconfirmed and tag == self._first_tag:
            self._settle(unconfirmed.popleft(), is_ack)
            self._first_tag += 1
            self._trim()
        elif 0 < tag - self._first_tag < len(unconfirmed):
            pending = unconfirmed[tag - self._first_tag]
            if not pending.is_done:
                self._settle(pending, is_ack)
                self._done_count += 1

    def _settle_first(self, count: int, is_ack: bool) -> None:
        """Settle so many of the oldest: nearly all publishes end here, with as few calls as can be."""
        unconfirmed = self._unconfirmed
        for _ in range(count):
            pending = unconfirmed.popleft()
            on_done = pending.on_done
            if not is_ack or pending.is_done or pending.returned is not None or self._alone is not None:
                self._settle(pending, is_ack)
            elif on_done is not None:
                try:
                    on_done(CONFIRMED)
                except Exception:  # noqa: BLE001  it is the user's, and is logged there
                    self._on_failure(on_done)

    def _settle(self, pending: Pending, is_ack: bool) -> None:
        if pending.is_done:
            self._done_count -= 1
        elif pending.returned is not None:
            self._end(pending, pending.returned)
        elif is_ack:
            self._end(pending, CONFIRMED)
        else:
            self._end(pending, Published(Outcome.REFUSED, reason="the broker answered basic.nack"))

    def _trim(self) -> None:
        """Drop leading publishes that ended out of turn."""
        while self._unconfirmed and self._unconfirmed[0].is_done:
            self._unconfirmed.popleft()
            self._first_tag += 1
            self._done_count -= 1

    def _end(self, pending: Pending, result: Published) -> None:
        pending.is_done = True
        on_done = pending.on_done
        if on_done is not None:
            try:
                on_done(result)
            except Exception:  # noqa: BLE001  it is the user's, and is logged there
                self._on_failure(on_done)

    def returned(
        self, exchange: str, routing_key: str, message_id: str | None, body: bytes, result: Published
    ) -> None:
        """Note basic.return; the confirm that follows ends the publish with `result`."""
        for pending in self._unconfirmed:
            is_open = not pending.is_done and pending.returned is None
            if is_open and pending.is_like(exchange, routing_key, message_id, body):
                pending.returned = result
                return

    def connection_lost(self) -> None:
        """Put what may be sent again back to the front, in order; the rest is `LOST`."""
        again = self._sort_out(list(self._unconfirmed), is_surely_dropped=False)
        self._begin_again(again)

    def channel_closed(self, reply_code: int, text: str) -> None:
        """End the publishes that made the broker close the channel; queue the others again.

        The broker dropped everything that came after the first one at fault, so that may be sent again;
        what came before it may have been taken without a confirm.
        """
        found = [pending for pending in self._unconfirmed if not pending.is_done]
        guilty = _at_fault(found, reply_code, text)
        outcome = Outcome.RETURNED if reply_code == NOT_FOUND else Outcome.REFUSED
        first = found.index(guilty[0]) if guilty else len(found)
        again = self._sort_out(found[:first], is_surely_dropped=False)
        for pending in guilty:
            self._end(pending, Published(outcome, reply_code=reply_code, reason=text))
        again += self._sort_out(found[first:], is_surely_dropped=True)
        self._begin_again(again)

    def _sort_out(self, lost: list[Pending], *, is_surely_dropped: bool) -> list[Pending]:
        """Return those to be sent again and end the others."""
        again = []
        for pending in lost:
            if pending.is_done:
                continue
            if pending.returned is not None:
                self._end(pending, pending.returned)
            elif is_surely_dropped or pending.message.may_resend:
                pending.is_sent = pending.is_sent and not is_surely_dropped
                again.append(pending)
            else:
                self._end(pending, Published(Outcome.LOST, reason="the connection went before the confirm"))
        return again

    def _begin_again(self, again: list[Pending]) -> None:
        self._waiting.extendleft(reversed(again))
        self._unconfirmed.clear()
        self._first_tag, self._done_count = 1, 0
        self._alone = None

    def expire(self, now_mono_s: float) -> None:
        """End what is past its deadline, sent or not."""
        while self._incoming:
            self._waiting.append(self._incoming.popleft())
            self._has_news = True
        if now_mono_s < self._next_deadline_mono_s and not self._has_news:
            return
        self._has_news = False
        for pending in [one for one in self._unconfirmed if _is_late(one, now_mono_s)]:
            self._time_out(pending, "no confirm before its deadline")
            self._done_count += 1
        for pending in [one for one in self._waiting if _is_late(one, now_mono_s)]:
            self._time_out(pending, "its deadline passed before it could be sent")
        self._waiting = deque(one for one in self._waiting if not one.is_done)
        left = (one.deadline_mono_s for one in (*self._unconfirmed, *self._waiting) if not one.is_done)
        self._next_deadline_mono_s = min(left, default=float("inf"))

    def end_all(self, reason: str) -> None:
        """Give every publish that is left its outcome: the bus is closed."""
        for source in (self._unconfirmed, self._waiting, self._incoming):
            while source:
                pending = source.popleft()
                if not pending.is_done:
                    self._time_out(pending, reason)
        self._done_count = 0

    def _time_out(self, pending: Pending, reason: str) -> None:
        self._end(pending, Published(Outcome.TIMED_OUT, is_sent=pending.is_sent, reason=reason))


def _is_late(pending: Pending, now_mono_s: float) -> bool:
    return not pending.is_done and pending.deadline_mono_s <= now_mono_s


def _at_fault(unconfirmed: list[Pending], reply_code: int, text: str) -> list[Pending]:
    """Return the publishes that a channel was closed for, by the broker's words; else the oldest one.

    All publishes to an exchange that does not exist are at fault, and all that name a sender which is not us;
    of another refusal only the first can be.
    """
    if FOREIGN_SENDER in text:
        return unconfirmed
    exchange, size = _EXCHANGE_IN_TEXT.search(text), _SIZE_IN_TEXT.search(text)
    guilty: list[Pending] = []
    if exchange:
        guilty = [pending for pending in unconfirmed if pending.message.exchange == exchange[1]]
    elif size:
        guilty = [pending for pending in unconfirmed if len(pending.message.body) == int(size[1])]
    return (guilty if reply_code == NOT_FOUND else guilty[:1]) or unconfirmed[:1]
