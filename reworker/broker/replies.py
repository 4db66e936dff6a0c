"""Direct reply-to: a pseudo queue per channel, so that an answer needs no queue. Source: RabbitMQ."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from reworker.broker import codec, properties
from reworker.broker.errors import precondition_failed
from reworker.broker.model import Message
from reworker.broker.vhost import VHost

#: the pseudo queue's name; followed by a dot and a token it is a reply address.
DIRECT_REPLY_TO = "amq.rabbitmq.reply-to"
_PREFIX = DIRECT_REPLY_TO + "."


class DirectReplies:
    """The reply consumer of one channel, if it has one.

    Args:
        send: sends a delivery that needs no acknowledgement to the consumer of this tag.
        vhost: the channel's vhost.
    """

    def __init__(self, send: Callable[[str, Message], None], vhost: VHost) -> None:
        self._send, self._sinks = send, vhost.reply_sinks
        self.tag = self._token = ""

    def consume(self, tag: str, *, no_ack: bool) -> None:
        """Start the consumer; raises 406 for a second one, or one that would acknowledge."""
        if not no_ack:
            raise precondition_failed("reply consumer cannot acknowledge")
        if self._token:
            raise precondition_failed("reply consumer already set")
        self.tag, self._token = tag, secrets.token_urlsafe(24)
        self._sinks[self._token] = self._deliver

    def cancel(self, tag: str) -> None:
        """End the consumer if it has this tag."""
        if self._token and tag == self.tag:
            del self._sinks[self._token]
            self.tag = self._token = ""

    def addressed(self, props: bytes) -> bytes:
        """Return raw properties with the real reply address; raises 406 when nobody would hear."""
        if not self._token:
            raise precondition_failed("fast reply consumer does not exist")
        return properties.with_property(props, "reply_to", codec.short(_PREFIX + self._token))

    def _deliver(self, message: Message) -> None:
        self._send(self.tag, message)


def is_reply(message: Message) -> bool:
    """Tell whether a message is addressed to a reply consumer."""
    return message.exchange == "" and message.routing_key.startswith(_PREFIX)


def deliver(vhost: VHost, message: Message) -> None:
    """Give a reply to its consumer, if that is still there."""
    sink = vhost.reply_sinks.get(message.routing_key.removeprefix(_PREFIX))
    if sink is not None:
        sink(message)


def exists(vhost: VHost, name: str) -> bool:
    """Tell whether `name` is the pseudo queue or the address of a living reply consumer."""
    return name == DIRECT_REPLY_TO or name.removeprefix(_PREFIX) in vhost.reply_sinks
