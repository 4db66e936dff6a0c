"""Looking through a queue without taking from it: over a connection of its own, for commands of people."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import TracebackType

import msgspec
import pika
from pika.exceptions import (
    AMQPError,
    ChannelClosedByBroker,
    ConnectionBlockedTimeout,
    NackError,
    UnroutableError,
)

from reworker.bus.contract import Outgoing, Properties
from reworker.bus.link import reason_of
from reworker.bus.parameters import connection_parameters, masked_urls
from reworker.config import MqSettings
from reworker.errors import (
    BusError,
    CannotConnect,
    ConfigError,
    ConnectionLost,
    PublishNotConfirmed,
    QueueNotFound,
    Unroutable,
)

#: seconds that a broker may refuse to take messages before we give up.
BLOCKED_S = 30.0
#: seconds between two looks whether messages that were given back are in the queue, and how many without
#: progress are enough: somebody else may be taking them.
LOOK_AGAIN_S, PATIENCE_COUNT = 0.02, 25


class Found(msgspec.Struct, frozen=True):
    """One message as it lies in a queue; `tag` stands for it as long as the look at the queue lasts."""

    tag: int
    routing_key: str
    properties: Properties
    body: bytes


class QueueBrowser:
    """One look through one queue, as a context; blocks, so not for a thread that has other work.

    Duties: fetch messages without acknowledging them; at the end give back, in their old places, those that
    were not removed. When this process dies, the broker does that.
    Threads: one.

    Args:
        settings: of the broker.
        queue: name of an existing queue.

    Raises:
        CannotConnect: on entering: the broker is away, or refuses the login.
        QueueNotFound: on entering: there is no such queue.
        ConfigError: on entering: we may not read it.
    """

    def __init__(self, settings: MqSettings, queue: str) -> None:
        self._settings, self._queue = settings, queue
        #: messages that were ready when the look began.
        self.ready_count = 0
        self._held_count = 0

    def __enter__(self) -> QueueBrowser:
        parameters = connection_parameters(self._settings, "reworker browser")
        for one in parameters:
            one.blocked_connection_timeout = BLOCKED_S
        try:
            self._connection = pika.BlockingConnection(parameters)
            self._reading = self._connection.channel()
            self.ready_count = self._reading.queue_declare(self._queue, passive=True).method.message_count
        except ChannelClosedByBroker as error:
            self._connection.close()
            raise self._refused(error) from error
        except (AMQPError, OSError) as error:
            raise CannotConnect(masked_urls(self._settings), reason_of(error), 1) from error
        self._writing = self._open_writing()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(AMQPError, OSError):
            if self._reading.is_open and self._held_count:
                self._reading.basic_nack(0, multiple=True, requeue=True)
                self._wait_until_back()
            self._connection.close()

    def _wait_until_back(self) -> None:
        """Wait until what was given back is there: brokers take their time, who looks next must find it."""
        best_count, patience = -1, PATIENCE_COUNT
        while best_count < self._held_count and patience:
            count = self._reading.queue_declare(self._queue, passive=True).method.message_count
            patience = PATIENCE_COUNT if count > best_count else patience - 1
            best_count = max(count, best_count)
            if best_count < self._held_count:
                self._connection.sleep(LOOK_AGAIN_S)

    def messages(self, limit: int) -> Iterator[Found]:
        """Yield what is there, in order, `limit` messages at most, and none that came later than that many.

        Raises:
            ConnectionLost: the broker went away; nothing is lost.
        """
        for _ in range(min(limit, self.ready_count)):
            try:
                method, properties, body = self._reading.basic_get(self._queue)
            except ChannelClosedByBroker as error:
                raise self._refused(error) from error
            except (AMQPError, OSError) as error:
                raise self._lost(error) from error
            if method is None:
                return  # somebody else takes them as well
            self._held_count += 1
            yield Found(method.delivery_tag, method.routing_key, _plain(properties), body)

    def move(self, found: Found, message: Outgoing) -> None:
        """Publish a message and, once the broker has confirmed it, remove the one that it stands for.

        Raises:
            Unroutable: no queue takes it; the old one stays.
            PublishNotConfirmed: the broker refused it; the old one stays.
            ConnectionLost: the broker went away; the old one stays, and the new one may be there too.
        """
        stamp = {"user_id": self._settings.stamp_user or None}
        properties = pika.BasicProperties(**msgspec.structs.asdict(message.properties) | stamp)
        try:
            self._writing.basic_publish(
                message.exchange, message.routing_key, message.body, properties, mandatory=True
            )
        except UnroutableError as error:
            raise Unroutable(message.exchange, message.routing_key) from error
        except NackError as error:
            raise PublishNotConfirmed(message.properties.message_id or "", "refused", is_sent=True) from error
        except ChannelClosedByBroker as error:
            self._writing = self._open_writing()
            raise _unpublished(message, error) from error
        except (AMQPError, OSError) as error:
            raise self._lost(error) from error
        self.remove(found)

    def remove(self, found: Found) -> None:
        """Take a message away for good."""
        try:
            self._reading.basic_ack(found.tag)
            self._held_count -= 1
        except (AMQPError, OSError) as error:
            raise self._lost(error) from error

    def _open_writing(self) -> pika.adapters.blocking_connection.BlockingChannel:
        channel = self._connection.channel()
        channel.confirm_delivery()
        return channel

    def _refused(self, error: ChannelClosedByBroker) -> ConfigError:
        hint = "; a worker or a core declares it when it starts" if error.reply_code == 404 else ""
        where = f"{masked_urls(self._settings)} answers {error.reply_code}: {error.reply_text}"
        kind = QueueNotFound if error.reply_code == 404 else ConfigError
        return kind(f"cannot look into the queue {self._queue}: {where}{hint}")

    def _lost(self, error: Exception) -> BusError:
        if isinstance(error, ConnectionBlockedTimeout):
            return ConnectionLost("the broker takes no messages: free its memory or disk, then try again")
        return ConnectionLost(
            f"the broker went away ({reason_of(error)}); what was not removed stays in {self._queue}"
        )


def _unpublished(message: Outgoing, error: ChannelClosedByBroker) -> BusError:
    if error.reply_code == 404:
        return Unroutable(message.exchange, message.routing_key)
    reason = f"{error.reply_code} {error.reply_text}"
    return PublishNotConfirmed(message.properties.message_id or "", reason, is_sent=True)


def _plain(properties: pika.BasicProperties) -> Properties:
    return Properties(**{name: getattr(properties, name) for name in Properties.__struct_fields__})
