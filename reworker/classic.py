"""How a worker of 2014 is driven by its test-suite: by hand, through its connection's callbacks.

A test-suite puts a mock in the place of ``pika.SelectConnection``, builds the worker, calls `_on_open` and
`_on_channel_open` with mocks, then `_process`. Nothing of this runs in production.
Source: the public plugins of the Release Engine and their tests; docs/compatibility.md.
"""

from __future__ import annotations

import inspect
import json
from logging import Logger
from typing import Any, NamedTuple

from reworker.clock import SystemClock, iso
from reworker.config import MqSettings, mq_settings
from reworker.errors import ConnectionLost
from reworker.messages import decode_object


class Names(NamedTuple):
    """Globals of the module `reworker.worker` that a test-suite may have replaced."""

    amqp: Any
    output: Any


class ClassicHooks:
    """The private names that test-suites of 2014 use; mixed into `Worker`."""

    app_logger: Logger
    dynamic: Any
    _mq_config: Any
    _output_level: int
    _queue: str
    _connection: Any = None
    _channel: Any = None
    _consumer_tag: Any = None
    _closing = False
    _notify_table: Any = None

    def _names(self) -> Names:
        raise NotImplementedError

    def _is_driven(self) -> bool:
        """Tell whether a mock stands in the place of pika's connection class."""
        return not inspect.isclass(self._names().amqp.SelectConnection)

    def _open_driven(self) -> None:
        """Call the mock like a connection class, so that `_connection` is there for the callbacks."""
        parameters, _ = self._parse_connect_params(self._mq_config)
        self._connection = self._names().amqp.SelectConnection(
            parameters, on_open_callback=self._on_open, on_close_callback=self._on_close
        )

    def _parse_connect_params(self, mq_config: Any) -> tuple[Any, str]:
        """Return (pika parameters, a text about them).

        The text is word for word that of 2014, TLS version included, because suites compare it; the
        connection itself uses today's TLS, and the log says so in words of its own.
        """
        from reworker.bus.parameters import connection_parameters  # loads pika; nobody else here needs it

        settings = mq_config if isinstance(mq_config, MqSettings) else mq_settings(mq_config)
        host, port = settings.addresses()[0]
        tls = "t&ssl_options={ssl_version=ssl.PROTOCOL_TLSv1}" if settings.tls else "f"
        text = f"Connection params set as amqp://{settings.user}:***@{host}:{port}{settings.vhost}?ssl={tls}"
        return connection_parameters(settings)[0], text

    def _on_open(self, connection: Any) -> None:
        """The connection is open: ask ours, not the one passed, for a channel."""
        self._connection.channel(on_open_callback=self._on_channel_open)

    def _on_channel_open(self, channel: Any) -> None:
        """The channel is open: consume."""
        self._channel = channel
        self._consumer_tag = channel.basic_consume(self._queue, self._process)

    def _on_close(self, connection: Any, code: Any, text: Any) -> None:
        """The connection is closed.

        Raises:
            SystemExit: it was meant to be.
        """
        if self._closing:
            self._connection.close()
            raise SystemExit(0)
        self.app_logger.warning("connection closed (%s): %s", code, text)
        self._connection.ioloop.stop()

    def _process(self, channel: Any, basic_deliver: Any, properties: Any, body: Any) -> None:
        """Run `process()` for one message, at once and on this thread; its exceptions go to the caller."""
        name, corr_id = type(self).__name__, str(properties.correlation_id)
        message = decode_object(body)
        self._notify_table = message.get("notify")
        output = self._names().output(self.send, corr_id, self._output_level)
        output.debug(f"Starting {name}.{corr_id} - {iso(SystemClock().now())}")
        try:
            self.process(channel, basic_deliver, properties, message, output)
        except KeyError as error:
            text = f"{name} failed due to missing key: {error}."
            output.debug(text)
            data = f"{text} Required Keys: {','.join(self.dynamic)}"
            self.send(properties.reply_to, corr_id, {"status": "failed", "data": data}, exchange="")
        output.debug(f"Finished {name}.{corr_id} - {iso(SystemClock().now())}\n\n")

    def _send_driven(self, topic: Any, corr_id: Any, struct: Any, exchange: str, reply_to: str) -> None:
        """Publish on the channel, at once. Attributes are set one by one: a mock has no constructor."""
        properties = self._names().amqp.spec.BasicProperties()
        properties.app_id = type(self).__name__.lower()
        properties.correlation_id = corr_id
        properties.reply_to = reply_to
        self._open_channel().basic_publish(
            exchange=exchange, routing_key=topic, body=json.dumps(struct), properties=properties
        )

    def _open_channel(self) -> Any:
        if self._channel is None:
            raise ConnectionLost(
                "the worker is not running: call run_forever(), or use reworker.testing.deliver"
            )
        return self._channel

    def process(self, channel: Any, basic_deliver: Any, properties: Any, body: Any, output: Any) -> Any:
        """See `Worker.process`."""
        raise NotImplementedError

    def send(
        self, topic: Any, corr_id: Any, struct: Any, exchange: str = "re", reply_to: str = "log"
    ) -> None:
        """See `Worker.send`."""
        raise NotImplementedError


class JobChannel:
    """What `process()` gets as `channel`: the few calls that plugins make on it, for the running job."""

    def __init__(self, worker: Any) -> None:
        self._worker = worker

    def basic_ack(self, delivery_tag: int = 0, multiple: bool = False) -> None:
        """See `Worker.ack`."""
        self._worker.ack(delivery_tag)

    def basic_reject(self, delivery_tag: int = 0, requeue: bool = True) -> None:
        """See `Worker.reject`."""
        self._worker.reject(delivery_tag, requeue=requeue)

    def basic_nack(self, delivery_tag: int = 0, multiple: bool = False, requeue: bool = True) -> None:
        """See `Worker.reject`."""
        self._worker.reject(delivery_tag, requeue=requeue)

    def basic_publish(
        self, exchange: str, routing_key: str, body: str | bytes, properties: Any = None, **_options: Any
    ) -> None:
        """See `Worker.send`; the body has to be a JSON object."""
        corr_id = getattr(properties, "correlation_id", None)
        self._worker.send(routing_key, corr_id, decode_object(body), exchange=exchange)
