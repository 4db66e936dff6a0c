"""A broker's surroundings without a loop: time that tests turn on, and a channel that only remembers."""

from __future__ import annotations

from collections.abc import Callable

from reworker.broker.arguments import queue_options
from reworker.broker.codec import Table
from reworker.broker.consumers import Consumer
from reworker.broker.model import Backlog, Entry, Message
from reworker.broker.queues import Queue
from reworker.broker.vhost import VHost

NO_PROPS = b"\x00\x00"
PERSISTENT = b"\x10\x00\x02"


class FakeTimer:
    """A call at a time."""

    def __init__(self, at_s: float, call: Callable[[], None]) -> None:
        self.at_s, self.call, self.is_cancelled = at_s, call, False

    def cancel(self) -> None:
        """Take it back."""
        self.is_cancelled = True


class FakeRuntime:
    """Time stands still until `advance`."""

    def __init__(self) -> None:
        self.backlog = Backlog(10**9)
        self.now_s = 1000.0
        self.timers: list[FakeTimer] = []

    def mono_s(self) -> float:
        """Return the time that the test set."""
        return self.now_s

    def unix_s(self) -> float:
        """Return the time that the test set."""
        return self.now_s

    def call_later(self, delay_s: float, call: Callable[[], None]) -> FakeTimer:
        """Remember a call."""
        self.timers.append(FakeTimer(self.now_s + delay_s, call))
        return self.timers[-1]

    def jitter_s(self) -> float:
        """Return no jitter."""
        return 0.0

    def advance(self, seconds: float) -> None:
        """Let time pass and run what is due, in its order."""
        until = self.now_s + seconds
        while due := [one for one in self.timers if one.at_s <= until and not one.is_cancelled]:
            timer = min(due, key=lambda one: one.at_s)
            self.timers.remove(timer)
            self.now_s = max(self.now_s, timer.at_s)
            timer.call()
        self.now_s = until


class FakeSink:
    """A channel that takes everything, or nothing."""

    def __init__(self) -> None:
        self.is_open = True
        self.got: list[tuple[str, bytes]] = []
        self.entries: list[Entry] = []
        self.parked: list[Consumer] = []
        self.cancelled: list[str] = []

    def has_room(self, consumer: Consumer) -> bool:
        """Return what the test set."""
        return self.is_open

    def deliver(self, consumer: Consumer, entry: Entry) -> None:
        """Remember a delivery."""
        self.got.append((consumer.tag, entry.message.body))
        self.entries.append(entry)
        consumer.unacked_count += 1

    def park(self, consumer: Consumer) -> None:
        """Remember who waits."""
        self.parked.append(consumer)

    def cancel_notify(self, consumer: Consumer) -> None:
        """Remember who was told."""
        self.cancelled.append(consumer.tag)


def message(body: bytes = b"x", key: str = "q", props: bytes = NO_PROPS) -> Message:
    """Return a message to the default exchange."""
    return Message("", key, props, body)


def make_queue(vhost: VHost, name: str = "q", **arguments: object) -> Queue:
    """Declare a queue; underscores in argument names become dashes."""
    table = Table({key.replace("_", "-"): value for key, value in arguments.items()})
    queue_options(table, name, vhost.name)
    return vhost.declare_queue(vhost.new_queue(name, table, durable=False, auto_delete=False, owner=None))
