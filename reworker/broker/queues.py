"""A queue: who waits in it, who takes from it, and in which order. No I/O; time comes from the runtime.

Waiting messages and willing consumers are both heaps, so a requeued message finds its old place
and a backlog of any length costs the same per message.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Protocol

from reworker.broker.arguments import QueueOptions
from reworker.broker.codec import Table
from reworker.broker.consumers import Consumer, Turns
from reworker.broker.model import Entry, Message, Runtime, Timer


class QueueHost(Protocol):
    """What a queue asks of its vhost."""

    runtime: Runtime

    def dead_letter(self, queue: Queue, message: Message, reason: str) -> None:
        """Pass on a message that left the queue for a reason other than being acknowledged."""
        ...

    def delete_queue(self, queue: Queue) -> object:
        """Delete a queue; here because nobody used it for its expiry time."""
        ...

    def keep(self, queue: Queue, entry: Entry) -> None:
        """Store an entry, or its new delivery state."""
        ...

    def forget(self, queue: Queue, entry: Entry) -> None:
        """Remove an entry from the store."""
        ...


class Queue:
    """One queue of a vhost.

    Args:
        name: its name.
        host: its vhost.
        options: what its arguments ask for.
        arguments: as declared.
        durable: survives a restart of the broker.
        auto_delete: goes with its last consumer.
        owner: the connection it is exclusive to, or None.
    """

    def __init__(
        self,
        name: str,
        host: QueueHost,
        options: QueueOptions,
        arguments: Table,
        *,
        durable: bool = False,
        auto_delete: bool = False,
        owner: object | None = None,
    ) -> None:
        self.name, self.options, self.arguments = name, options, arguments
        self.durable, self.auto_delete, self.owner = durable, auto_delete, owner
        self.counts_deliveries = options.is_quorum
        self.store_id = 0
        self.unacked_count = 0
        self.ready_bytes = 0
        self.is_deleted = False
        self.turns = Turns(is_single_active=options.is_single_active)
        self._host, self._runtime = host, host.runtime
        self._ready: list[tuple[int, int, Entry]] = []
        self._next_position = 1
        self._expiry: Timer | None = None
        self._expiry_mono_s = 0.0
        self._idle: Timer | None = None
        self._is_put_off = False

    @property
    def ready_count(self) -> int:
        """How many messages wait."""
        return len(self._ready)

    # Messages in

    def push(self, message: Message) -> bool:
        """Take a published message; False when the queue is full and refuses it."""
        options = self.options
        if options.overflow != "drop-head" and self._is_full(1, len(message.body)):
            if options.overflow == "reject-publish-dlx":
                self._host.dead_letter(self, message, "maxlen")
            return False
        entry = Entry(message, self._next_position)
        self._next_position += 1
        if message.is_persistent and self.store_id:
            self._host.keep(self, entry)
        self._insert(entry)
        self._runtime.backlog.size_bytes += message.size_bytes
        if not self._runtime.jitter_s():
            self._offer()
        # now only: a message of no time at all is for a consumer that waits, as on RabbitMQ
        entry.expires_mono_s = self._expires_mono_s(message)
        self.dispatch()
        return True

    def restore(self, entry: Entry) -> None:
        """Put an entry back that the store kept over a restart."""
        self._next_position = max(self._next_position, entry.position + 1)
        self._runtime.backlog.size_bytes += entry.message.size_bytes
        self._insert(entry)

    def _insert(self, entry: Entry) -> None:
        self.ready_bytes += len(entry.message.body)
        heappush(
            self._ready, (-min(entry.message.priority, self.options.max_priority), entry.position, entry)
        )

    def _expires_mono_s(self, message: Message) -> float | None:
        given = [ttl for ttl in (message.expiration_s, self.options.message_ttl_s) if ttl is not None]
        return self._runtime.mono_s() + min(given) if given else None

    def requeue(self, entry: Entry) -> None:
        """Put an unacknowledged entry back to its place; call `dispatch` after the last one."""
        if self.is_deleted:
            self._settled(entry)
            return
        entry.delivery_count += 1
        limit = self.options.delivery_limit
        if limit is not None and self.options.is_quorum and entry.delivery_count > limit:
            self.reject(entry, "delivery_limit")
            return
        self.unacked_count -= 1
        if entry.is_stored:
            self._host.keep(self, entry)
        self._insert(entry)

    # Messages out

    def take(self) -> Entry | None:
        """Take the next living message for somebody; it is unacknowledged from now on."""
        self._drop_expired()
        if not self._ready:
            return None
        entry = self._pop()
        self._arm_expiry()
        self.unacked_count += 1
        if entry.is_stored:
            self._host.keep(self, entry)
        return entry

    def _pop(self) -> Entry:
        entry = heappop(self._ready)[2]
        self.ready_bytes -= len(entry.message.body)
        return entry

    def ack(self, entry: Entry) -> None:
        """Forget an entry that was taken."""
        if not self.is_deleted:
            self.unacked_count -= 1
        self._settled(entry)

    def reject(self, entry: Entry, reason: str = "rejected") -> None:
        """Dead-letter an entry that was taken."""
        self.ack(entry)
        if not self.is_deleted:
            self._host.dead_letter(self, entry.message, reason)

    def _settled(self, entry: Entry) -> None:
        self._runtime.backlog.size_bytes -= entry.message.size_bytes
        if entry.is_stored:
            self._host.forget(self, entry)

    def _drop(self, reason: str) -> None:
        entry = self._pop()
        self._settled(entry)
        self._host.dead_letter(self, entry.message, reason)

    def purge(self) -> int:
        """Drop all waiting messages and return how many there were."""
        entries = [item[2] for item in self._ready]
        self._ready.clear()
        self.ready_bytes = 0
        for entry in entries:
            self._settled(entry)
        return len(entries)

    # Who gets what

    def dispatch(self) -> None:
        """Give waiting messages to willing consumers, then enforce time to live and length."""
        delay_s = self._runtime.jitter_s()
        if not delay_s:
            self._dispatch()
        elif not self._is_put_off:
            self._is_put_off = True
            self._runtime.call_later(delay_s, self._dispatch)

    def _dispatch(self) -> None:
        self._is_put_off = False
        self._offer()
        if self._ready:
            self._drop_expired()
            self._trim()
            self._arm_expiry()

    def _offer(self) -> None:
        while self._ready:
            consumer = self.turns.next_willing()
            entry = self.take() if consumer else None
            if consumer is None or entry is None:
                break
            consumer.deliver(entry)

    def _is_full(self, more_count: int, more_bytes: int) -> bool:
        options = self.options
        if options.max_length is not None and len(self._ready) + more_count > options.max_length:
            return True
        return (
            options.max_length_bytes is not None and self.ready_bytes + more_bytes > options.max_length_bytes
        )

    def _trim(self) -> None:
        if self.options.overflow == "drop-head":
            while self._ready and self._is_full(0, 0):
                self._drop("maxlen")

    # Time

    def _drop_expired(self) -> None:
        """Expire from the head only: a message behind a living one waits for its turn, as on RabbitMQ."""
        while self._ready:
            at = self._ready[0][2].expires_mono_s
            if at is None or at > self._runtime.mono_s():
                return
            self._drop("expired")

    def _arm_expiry(self) -> None:
        at = self._ready[0][2].expires_mono_s if self._ready else None
        if at is None or (self._expiry and self._expiry_mono_s <= at):
            return
        if self._expiry:
            self._expiry.cancel()
        self._expiry_mono_s = at
        self._expiry = self._runtime.call_later(max(0.0, at - self._runtime.mono_s()), self._on_expiry)

    def _on_expiry(self) -> None:
        self._expiry = None
        if not self.is_deleted:
            self._dispatch()

    def touch(self) -> None:
        """Note that somebody uses the queue: its expiry time begins again."""
        if self.options.expires_s is None or self.is_deleted:
            return
        if self._idle:
            self._idle.cancel()
        self._idle = self._runtime.call_later(self.options.expires_s, self._on_idle)

    def _on_idle(self) -> None:
        if not self.turns.consumers and not self.is_deleted:
            self._host.delete_queue(self)

    # Life

    def subscribe(self, consumer: Consumer) -> None:
        """Let a consumer take from here; it may be given messages at once."""
        self.touch()
        self.turns.add(consumer)
        self.dispatch()

    def unsubscribe(self, consumer: Consumer) -> bool:
        """Remove a consumer; True when an auto-delete queue lost its last one and has to go."""
        self.touch()
        self.turns.remove(consumer)
        self.dispatch()
        return self.auto_delete and not self.turns.consumers

    def close(self) -> list[Consumer]:
        """End the queue with all that waits in it and return the consumers it had."""
        self.purge()
        self.is_deleted = True
        for timer in (self._expiry, self._idle):
            if timer:
                timer.cancel()
        return self.turns.clear()
