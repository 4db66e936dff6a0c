"""Opening a connection: start, tune, open. Methods in, methods out; no socket."""

from __future__ import annotations

import hmac
import struct
from collections.abc import Callable
from typing import Any

from reworker.broker.codec import decode_table, raw_text, spec, text
from reworker.broker.errors import BrokerError, refused
from reworker.broker.settings import PRODUCT, VERSION, Settings
from reworker.broker.vhost import VHost

#: smallest frame size a client may ask for. Source: AMQP 0-9-1, frame-min-size.
MIN_FRAME_BYTES = 4096

SERVER_PROPERTIES = {
    "product": PRODUCT,
    "version": VERSION,
    "platform": "Python asyncio",
    "information": "For development and tests; use RabbitMQ in production.",
    "capabilities": {
        "publisher_confirms": True,
        "exchange_exchange_bindings": True,
        "basic.nack": True,
        "consumer_cancel_notify": True,
        "connection.blocked": True,
        "consumer_priorities": True,
        "authentication_failure_close": True,
        "per_consumer_qos": True,
        "direct_reply_to": True,
    },
}


class Handshake:
    """The negotiation of one connection and what came out of it.

    Args:
        settings: of the broker.
        find_vhost: returns a vhost by name or raises 530.
    """

    def __init__(self, settings: Settings, find_vhost: Callable[[str], VHost]) -> None:
        self._settings, self._find_vhost = settings, find_vhost
        self._expected: tuple[int, Callable[[Any], Any]] = (spec.Connection.StartOk.INDEX, self._start_ok)
        self.user = ""
        self.capabilities: dict[str, Any] = {}
        self.frame_max, self.channel_max = settings.frame_max, settings.channel_max
        self.heartbeat_s = 0
        self.vhost: VHost | None = None

    def start(self) -> Any:
        """Return the first method of the server."""
        return spec.Connection.Start(
            server_properties=SERVER_PROPERTIES, mechanisms="PLAIN AMQPLAIN", locales="en_US"
        )

    def take(self, method: Any) -> Any | None:
        """Return the answer to the client's next method, or None when it needs none.

        Raises:
            BrokerError: 403 refused login, 503 wrong method, 530 wrong limits or vhost.
        """
        index, step = self._expected
        if index != method.INDEX:
            raise BrokerError(503, f"unexpected method {method.NAME} while opening the connection")
        return step(method)

    def _start_ok(self, method: Any) -> Any:
        capabilities = (method.client_properties or {}).get("capabilities")
        self.capabilities = capabilities if isinstance(capabilities, dict) else {}
        user, password = _credentials(method.mechanism, method.response)
        settings = self._settings
        is_user = hmac.compare_digest(raw_text(user), raw_text(settings.user))
        is_password = hmac.compare_digest(password, raw_text(settings.password))
        if not (is_user and is_password):
            raise refused(
                f"Login was refused using authentication mechanism {method.mechanism}. "
                "For details see the broker logfile."
            )
        self.user = user
        self._expected = (spec.Connection.TuneOk.INDEX, self._tune_ok)
        return spec.Connection.Tune(settings.channel_max, settings.frame_max, settings.heartbeat_s)

    def _tune_ok(self, method: Any) -> None:
        self.frame_max = _negotiated("frame_max", method.frame_max, self._settings.frame_max)
        if self.frame_max and self.frame_max < MIN_FRAME_BYTES:
            raise BrokerError(530, f"frame_max={self.frame_max} < {MIN_FRAME_BYTES} min size")
        self.channel_max = _negotiated("channel_max", method.channel_max, self._settings.channel_max)
        self.heartbeat_s = method.heartbeat
        self._expected = (spec.Connection.Open.INDEX, self._open)

    def _open(self, method: Any) -> Any:
        self.vhost = self._find_vhost(method.virtual_host)
        self._expected = (-1, self._open)
        return spec.Connection.OpenOk()


def _negotiated(name: str, wanted: int, limit: int) -> int:
    if limit and (wanted == 0 or wanted > limit):
        raise BrokerError(
            530, f"negotiated {name} = {wanted} is greater than the maximum allowed value ({limit})"
        )
    return wanted


def _credentials(mechanism: str, response: bytes) -> tuple[str, bytes]:
    if mechanism == "PLAIN":
        parts = response.split(b"\x00")
        if len(parts) == 3:
            return text(parts[1]), parts[2]
    elif mechanism == "AMQPLAIN":
        table = decode_table(struct.pack(">I", len(response)) + response)
        user, password = table.get("LOGIN"), table.get("PASSWORD")
        if isinstance(user, str) and isinstance(password, str):
            return user, raw_text(password)
    else:
        raise BrokerError(530, f"unsupported authentication mechanism {mechanism}")
    raise refused(f"Login was refused using authentication mechanism {mechanism}: the response is malformed")
