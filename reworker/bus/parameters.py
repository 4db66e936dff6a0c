"""Settings of the message bus as pika's parameters: addresses, TLS, heartbeat, how we introduce ourselves."""

from __future__ import annotations

import logging
import socket

import pika

from reworker import __version__
from reworker.bus.tls import tls_context
from reworker.config import MqSettings
from reworker.logs import hide

#: seconds for one address to accept a TCP connection.
TCP_TIMEOUT_S = 10.0
#: seconds for TCP, TLS and AMQP handshakes of one address together.
HANDSHAKE_TIMEOUT_S = 15.0


def connection_parameters(settings: MqSettings, name: str = "") -> list[pika.ConnectionParameters]:
    """Return parameters for each server, in the order they are tried; pika tries all addresses of each.

    Files of certificates and of the password are read now, so that each new connection uses what they hold.

    Args:
        settings: where and who.
        name: shown by the broker's management as the connection's name.

    Raises:
        ConfigError: a TLS file or the file of the password cannot be used.
    """
    tls = settings.tls
    context = tls_context(tls) if tls else None
    password = str(settings.current_password())
    hide(password)  # another one than at the start, perhaps
    credentials = pika.PlainCredentials(settings.user, password)
    properties = {
        "product": "reworker",
        "version": __version__,
        "information": "",
        "connection_name": name or f"reworker@{socket.gethostname()}",
    }
    return [
        pika.ConnectionParameters(
            host=host,
            port=port,
            virtual_host=settings.vhost,
            credentials=credentials,
            heartbeat=settings.heartbeat_s,
            ssl_options=pika.SSLOptions(context, tls.server_name or host) if tls and context else None,
            connection_attempts=1,
            socket_timeout=TCP_TIMEOUT_S,
            stack_timeout=HANDSHAKE_TIMEOUT_S,
            client_properties=properties,
        )
        for host, port in settings.addresses()
    ]


def masked_urls(settings: MqSettings) -> str:
    """Return the broker's addresses for people and logs, without the password."""
    url = settings.masked_url()
    others = [f"{host}:{port}" for host, port in settings.addresses()[1:]]
    return f"{url} (or {', '.join(others)})" if others else url


def quiet_pika() -> None:
    """Keep pika's own records out of the log unless it was set to DEBUG; the bus reports in its own words."""
    logger = logging.getLogger("pika")
    if logger.level != logging.DEBUG:
        logger.setLevel(logging.CRITICAL)
