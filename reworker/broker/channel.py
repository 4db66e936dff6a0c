"""One channel of a connection: publishing, delivering, settling. It knows frames but no socket."""

from __future__ import annotations

from typing import Any, Protocol

from reworker.broker import codec, properties
from reworker.broker.codec import spec
from reworker.broker.confirms import Confirms
from reworker.broker.consumers import Consumer, Source
from reworker.broker.errors import precondition_failed, refused
from reworker.broker.intake import Intake, Publish
from reworker.broker.ledger import Ledger, Unacked
from reworker.broker.model import Entry, Message
from reworker.broker.queues import Queue
from reworker.broker.replies import DIRECT_REPLY_TO, DirectReplies, deliver, is_reply
from reworker.broker.vhost import VHost


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
        self.confirms = Confirms(number)
        self.ledger = Ledger(self.wake)
        self.intake = Intake()
        self.replies = DirectReplies(self._send_reply, vhost)
        self._next_tag = 1
        self._parked: list[Consumer] = []

    def reply(self, method: Any) -> None:
        """Send a method to the client."""
        self.link.send(codec.encode_method(self.number, method))

    # Publishing

    def publish(self, publish: Publish) -> None:
        """Route a publish, or keep it until the transaction is committed.

        Raises:
            BrokerError: 403 for an internal exchange, 404 for an unknown one, 406 for bad properties.
        """
        self.link.published(self)
        exchange = self.vhost.exchange(publish.exchange)
        if exchange.internal:
            name, vhost = exchange.name, self.vhost.name
            raise refused(f"cannot publish to internal exchange '{name}' in vhost '{vhost}'")
        props = publish.props
        facts = properties.facts(props)
        if facts.user_id is not None and codec.text(facts.user_id) != self.link.user:
            raise precondition_failed(
                f"user_id property set to '{codec.text(facts.user_id)}' "
                f"but authenticated user was '{self.link.user}'"
            )
        if facts.reply_to == DIRECT_REPLY_TO.encode():
            props = self.replies.addressed(props)
        message = Message(publish.exchange, publish.routing_key, props, publish.body, facts)
        if self.ledger.is_transactional:
            self.ledger.do(lambda: self._route(message, mandatory=publish.mandatory))
        else:
            self._route(message, mandatory=publish.mandatory)

    def _route(self, message: Message, *, mandatory: bool) -> None:
        if is_reply(message):
            # RabbitMQ passes it on and calls it unroutable all the same: there is no queue
            deliver(self.vhost, message)
            found, taken = False, True
        else:
            exchange = self.vhost.exchanges.get(message.exchange)
            found, taken = self.vhost.publish(exchange, message) if exchange else (False, True)
        if mandatory and not found:
            head = codec.encode_return(self.number, message.address)
            self.link.send(head + self._content(message.props, message.body))
        self.confirms.settle_next(is_taken=taken)

    def _content(self, props: bytes, body: bytes) -> bytes:
        return codec.encode_content(self.number, props, body, self.link.frame_max)

    # Delivering

    def has_room(self, consumer: Consumer) -> bool:
        """Tell whether this consumer may be sent another delivery."""
        is_limited = self.global_prefetch and not consumer.no_ack
        if is_limited and self.ledger.consumer_count >= self.global_prefetch:
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
            self.ledger.add(Unacked(tag, queue, entry, consumer))

    def deliver_get(self, queue: Queue, entry: Entry, *, no_ack: bool) -> None:
        """Answer a basic.get."""
        tag, left, address = self._new_tag(), queue.ready_count, entry.message.address
        head = codec.encode_get_ok(self.number, tag, entry.is_redelivered, address, left)
        self._send_entry(head, queue, entry, is_get=True)
        if no_ack:
            queue.ack(entry)
        else:
            self.ledger.add(Unacked(tag, queue, entry, None))

    def _new_tag(self) -> int:
        tag = self._next_tag
        self._next_tag += 1
        return tag

    def _send_entry(self, head: bytes, queue: Source, entry: Entry, *, is_get: bool = False) -> None:
        props = entry.message.props
        if queue.counts_deliveries and (entry.delivery_count or is_get):
            headers = properties.headers_of(props)
            headers[b"x-delivery-count"] = properties.int_value(entry.delivery_count)
            props = properties.with_headers(props, headers)
        self.link.send(head + self._content(props, entry.message.body))
        entry.is_redelivered = True

    def _send_reply(self, consumer_tag: str, message: Message) -> None:
        head = codec.encode_deliver(
            self.number, codec.short(consumer_tag), self._new_tag(), False, message.address
        )
        self.link.send(head + self._content(message.props, message.body))

    def park(self, consumer: Consumer) -> None:
        """Remember a consumer that could not take."""
        self._parked.append(consumer)

    def wake(self) -> None:
        """Let parked consumers try again: something was settled, or the client reads again."""
        if not self._parked:
            return
        parked, self._parked = self._parked, []
        for consumer in parked:
            consumer.queue.turns.enlist(consumer)
        for consumer in parked:
            consumer.queue.dispatch()

    # Life

    def cancel_notify(self, consumer: Consumer) -> None:
        """Tell the client that its consumer is gone with the queue, if it can be told."""
        self.consumers.pop(consumer.tag, None)
        if self.link.has_capability("consumer_cancel_notify"):
            self.reply(spec.Basic.Cancel(consumer.tag, nowait=True))

    def cancel(self, tag: str) -> None:
        """End a consumer; an unknown tag is no error."""
        self.replies.cancel(tag)
        consumer = self.consumers.pop(tag, None)
        if consumer is not None:
            queue = self.vhost.queues.get(consumer.queue.name)
            if queue is consumer.queue:
                self.vhost.unsubscribe(queue, consumer)

    def cancel_all(self) -> None:
        """End all consumers: the channel takes no more."""
        for tag in [*self.consumers, self.replies.tag]:
            self.cancel(tag)

    def close(self) -> None:
        """End the channel: consumers are cancelled, unacknowledged messages go back."""
        self.cancel_all()
        if self.ledger.is_transactional:
            self.ledger.rollback()
        self.ledger.requeue_all()
