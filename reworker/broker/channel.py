"""One channel of a connection: publishing, delivering, settling. It knows frames but no socket."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol

from reworker.broker import codec, properties
from reworker.broker.codec import spec
from reworker.broker.confirms import Confirms
from reworker.broker.consumers import Consumer, Source
from reworker.broker.errors import BrokerError, precondition_failed, refused
from reworker.broker.model import MAX_BODY_BYTES, Entry, Message
from reworker.broker.queues import Queue
from reworker.broker.vhost import VHost

#: the pseudo queue of direct reply-to. Source: RabbitMQ, direct reply-to.
DIRECT_REPLY_TO = "amq.rabbitmq.reply-to"


class Link(Protocol):
    """What a channel asks of its connection."""

    frame_max: int
    user: str

    def send(self, data: bytes) -> None:
        """Queue frames for the socket; they leave after the store has committed."""
        ...

    def has_room(self) -> bool:
        """Tell whether the client reads fast enough for more deliveries."""
        ...

    def has_capability(self, name: str) -> bool:
        """Tell whether the client said that it can do this."""
        ...

    def published(self, channel: Channel) -> None:
        """Note that a publish arrived, which may have to be throttled."""
        ...


class Unacked(NamedTuple):
    """A delivery that waits to be settled; `consumer` is None for basic.get."""

    queue: Source
    entry: Entry
    consumer: Consumer | None


class Publish(NamedTuple):
    """A basic.publish whose content is still arriving."""

    exchange: str
    routing_key: str
    mandatory: bool


class Channel:
    """A channel; everything in it happens on the broker's loop.

    Args:
        number: from 1.
        link: its connection; also the owner of exclusive queues.
        vhost: the connection's vhost.
    """

    def __init__(self, number: int, link: Link, vhost: VHost) -> None:
        self.number, self.link, self.vhost = number, link, vhost
        self.method_id = 0
        self.last_queue = ""
        self.prefetch = self.global_prefetch = 0
        self.consumers: dict[str, Consumer] = {}
        self.unacked: dict[int, Unacked] = {}
        self.confirms: Confirms | None = None
        #: what a transaction will do when it is committed; None outside of tx mode.
        self.pending: list[Callable[[], None]] | None = None
        self._pending_unacked: list[tuple[int, Unacked]] = []
        self.reply_consumer = ""
        self.reply_token = ""
        self._next_tag = 1
        self._consumer_unacked_count = 0
        self._parked: list[Consumer] = []
        self._publish: Publish | None = None
        self._props = b""
        self._size = -1
        self._parts: list[bytes] = []

    def reply(self, method: Any) -> None:
        """Send a method to the client."""
        self.link.send(codec.encode_method(self.number, method))

    # Publishing

    @property
    def expects_content(self) -> bool:
        """Whether a content frame has to come next."""
        return self._publish is not None

    def begin_publish(self, payload: bytes) -> None:
        """Take a basic.publish; its content follows."""
        exchange, key, mandatory, immediate = codec.decode_publish(payload)
        if immediate:
            raise BrokerError(540, "immediate=true", self.method_id)
        self._publish, self._size = Publish(exchange, key, mandatory), -1

    def take_header(self, payload: bytes) -> None:
        """Take a content header."""
        if self._publish is None or self._size >= 0:
            raise BrokerError(505, "expected method frame, got content header frame instead")
        class_id, self._size, self._props = codec.decode_header(payload)
        if class_id != spec.Basic.INDEX:
            raise BrokerError(
                505, f"expected content header for class 60, got one for class {class_id} instead"
            )
        if self._size > MAX_BODY_BYTES:
            self._publish = None
            raise precondition_failed(
                f"message size {self._size} is larger than configured max size {MAX_BODY_BYTES}"
            )
        self._parts = []
        if not self._size:
            self._finish_publish(b"")

    def take_body(self, payload: bytes) -> None:
        """Take a piece of a body."""
        if self._publish is None or self._size < 0:
            raise BrokerError(505, "expected content header or method frame, got content body frame instead")
        self._parts.append(payload)
        self._size -= len(payload)
        if self._size < 0:
            raise BrokerError(505, "content body is longer than its header said")
        if not self._size:
            self._finish_publish(self._parts[0] if len(self._parts) == 1 else b"".join(self._parts))

    def _finish_publish(self, body: bytes) -> None:
        publish, self._publish = self._publish, None
        if publish is None:
            return
        self._parts = []
        self.link.published(self)
        exchange = self.vhost.exchange(publish.exchange)
        if exchange.internal:
            raise refused(
                f"cannot publish to internal exchange '{exchange.name}' in vhost '{self.vhost.name}'"
            )
        facts = properties.facts(self._props)
        if facts.user_id is not None and codec.text(facts.user_id) != self.link.user:
            raise precondition_failed(
                f"user_id property set to '{codec.text(facts.user_id)}' "
                f"but authenticated user was '{self.link.user}'"
            )
        props = (
            self._with_reply_address(self._props)
            if facts.reply_to == DIRECT_REPLY_TO.encode()
            else self._props
        )
        message = Message(publish.exchange, publish.routing_key, props, body, facts)
        if self.pending is not None:
            self.pending.append(lambda: self._route(message, mandatory=publish.mandatory))
        else:
            self._route(message, mandatory=publish.mandatory)

    def _with_reply_address(self, props: bytes) -> bytes:
        if not self.reply_token:
            raise precondition_failed("fast reply consumer does not exist")
        return properties.with_property(
            props, "reply_to", codec.short(f"{DIRECT_REPLY_TO}.{self.reply_token}")
        )

    def _route(self, message: Message, *, mandatory: bool) -> None:
        if message.exchange == "" and message.routing_key.startswith(DIRECT_REPLY_TO + "."):
            sink = self.vhost.reply_sinks.get(message.routing_key.removeprefix(DIRECT_REPLY_TO + "."))
            found, taken = sink is not None, True
            if sink is not None:
                sink.deliver_reply(message)
        else:
            exchange = self.vhost.exchanges.get(message.exchange)
            found, taken = self.vhost.publish(exchange, message) if exchange else (False, True)
        if mandatory and not found:
            self.link.send(
                codec.encode_return(self.number, message.address) + self._content(message.props, message.body)
            )
        if self.confirms is not None:
            self.confirms.settle_next(is_taken=taken)

    def _content(self, props: bytes, body: bytes) -> bytes:
        return codec.encode_content(self.number, props, body, self.link.frame_max)

    # Delivering

    def has_room(self, consumer: Consumer) -> bool:
        """Tell whether this consumer may be sent another delivery."""
        is_limited = self.global_prefetch and not consumer.no_ack
        if is_limited and self._consumer_unacked_count >= self.global_prefetch:
            return False
        return self.link.has_room()

    def deliver(self, consumer: Consumer, entry: Entry) -> None:
        """Send a delivery; it is unacknowledged unless the consumer said no_ack."""
        tag, queue, address = self._new_tag(), consumer.queue, entry.message.address
        head = codec.encode_deliver(self.number, consumer.raw_tag, tag, entry.is_redelivered, address)
        self._send_entry(head, queue, entry)
        if consumer.no_ack:
            queue.ack(entry)
        else:
            self.unacked[tag] = Unacked(queue, entry, consumer)
            consumer.unacked_count += 1
            self._consumer_unacked_count += 1

    def deliver_get(self, queue: Queue, entry: Entry, *, no_ack: bool) -> None:
        """Answer a basic.get."""
        tag, left, address = self._new_tag(), queue.ready_count, entry.message.address
        self._send_entry(
            codec.encode_get_ok(self.number, tag, entry.is_redelivered, address, left), queue, entry
        )
        if no_ack:
            queue.ack(entry)
        else:
            self.unacked[tag] = Unacked(queue, entry, None)

    def _new_tag(self) -> int:
        tag = self._next_tag
        self._next_tag += 1
        return tag

    def _send_entry(self, head: bytes, queue: Source, entry: Entry) -> None:
        props = entry.message.props
        if entry.delivery_count and queue.counts_deliveries:
            headers = properties.headers_of(props)
            headers[b"x-delivery-count"] = properties.int_value(entry.delivery_count)
            props = properties.with_headers(props, headers)
        self.link.send(head + self._content(props, entry.message.body))
        entry.is_redelivered = True

    def deliver_reply(self, message: Message) -> None:
        """Send a direct reply to this channel's consumer."""
        consumer = codec.short(self.reply_consumer)
        head = codec.encode_deliver(self.number, consumer, self._new_tag(), False, message.address)
        self.link.send(head + self._content(message.props, message.body))

    def park(self, consumer: Consumer) -> None:
        """Remember a consumer that could not take."""
        self._parked.append(consumer)

    def wake(self) -> None:
        """Let parked consumers try again: something was settled, or the client reads again."""
        parked, self._parked = self._parked, []
        for consumer in parked:
            consumer.queue.turns.enlist(consumer)
        for consumer in parked:
            consumer.queue.dispatch()

    # Settling

    def settle(self, tag: int, *, multiple: bool, how: Callable[[Source, Entry], None]) -> None:
        """Settle one delivery, or all up to one; tag 0 with multiple means all there are.

        Args:
            tag: delivery tag of this channel.
            multiple: whether earlier ones are meant too.
            how: what to do with each, for example `Source.ack`.

        Raises:
            BrokerError: 406, the tag is unknown or settled already.
        """
        taken = self._collect(tag, multiple=multiple)
        if self.pending is not None:
            self._pending_unacked.extend(taken)
            self.pending.append(lambda: self._apply(taken, how))
        else:
            self._apply(taken, how)

    def _collect(self, tag: int, *, multiple: bool) -> list[tuple[int, Unacked]]:
        if multiple and tag == 0:
            taken = list(self.unacked.items())
            self.unacked.clear()
            return taken
        if tag not in self.unacked:
            raise precondition_failed(f"unknown delivery tag {tag}")
        if not multiple:
            return [(tag, self.unacked.pop(tag))]
        tags = [earlier for earlier in self.unacked if earlier <= tag]
        return [(earlier, self.unacked.pop(earlier)) for earlier in tags]

    def _apply(self, taken: Iterable[tuple[int, Unacked]], how: Callable[[Source, Entry], None]) -> None:
        queues: dict[int, Source] = {}
        for _, (queue, entry, consumer) in taken:
            how(queue, entry)
            queues[id(queue)] = queue
            if consumer:
                consumer.unacked_count -= 1
                self._consumer_unacked_count -= 1
        if self._parked:
            self.wake()
        if how is not ack:
            for queue in queues.values():
                queue.dispatch()

    def recover(self) -> None:
        """Requeue everything that is unacknowledged."""
        taken = list(self.unacked.items())
        self.unacked.clear()
        self._apply(taken, requeue)

    def commit(self) -> None:
        """Do what the transaction collected."""
        pending, self.pending, self._pending_unacked = self.pending or [], None, []
        for action in pending:
            action()
        self.pending = []

    def rollback(self) -> None:
        """Forget what the transaction collected; its deliveries are unacknowledged again."""
        self.unacked = dict(sorted([*self.unacked.items(), *self._pending_unacked]))
        self.pending, self._pending_unacked = [], []

    # Life

    def cancel_notify(self, consumer: Consumer) -> None:
        """Tell the client that its consumer is gone with the queue, if it can be told."""
        self.consumers.pop(consumer.tag, None)
        if self.link.has_capability("consumer_cancel_notify"):
            self.reply(spec.Basic.Cancel(consumer.tag, nowait=True))

    def cancel(self, tag: str) -> None:
        """End a consumer; an unknown tag is no error."""
        if self.reply_token and tag == self.reply_consumer:
            self.vhost.reply_sinks.pop(self.reply_token, None)
            self.reply_token = self.reply_consumer = ""
        consumer = self.consumers.pop(tag, None)
        if consumer is not None:
            queue = self.vhost.queues.get(consumer.queue.name)
            if queue is consumer.queue:
                self.vhost.unsubscribe(queue, consumer)

    def cancel_all(self) -> None:
        """End all consumers: the channel takes no more."""
        for tag in [*self.consumers, self.reply_consumer]:
            self.cancel(tag)

    def flush_confirms(self) -> bytes:
        """Return the confirms that are due."""
        return self.confirms.flush() if self.confirms is not None else b""

    def close(self) -> None:
        """End the channel: consumers are cancelled, unacknowledged messages go back."""
        self.cancel_all()
        self._publish, self._parts = None, []
        if self.pending is not None:
            self.rollback()
        self.recover()


def ack(queue: Source, entry: Entry) -> None:
    """Settle as done."""
    queue.ack(entry)


def reject(queue: Source, entry: Entry) -> None:
    """Settle as refused for ever."""
    queue.reject(entry)


def requeue(queue: Source, entry: Entry) -> None:
    """Settle as not done: it goes back to its place."""
    queue.requeue(entry)
