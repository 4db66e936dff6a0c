"""Settings of the message bus as pika's parameters: addresses, TLS, heartbeat, how we introduce ourselves."""

from __future__ import annotations

import logging
import socket
import ssl

import pika

from reworker import __version__
from reworker.config import MqSettings, TlsSettings
from reworker.errors import ConfigError

#: seconds for one address to accept a TCP connection.
TCP_TIMEOUT_S = 10.0
#: seconds for TCP, TLS and AMQP handshakes of one address together.
HANDSHAKE_TIMEOUT_S = 15.0


def connection_parameters(settings: MqSettings, name: str = "") -> list[pika.ConnectionParameters]:
    """Return parameters for each server, in the order they are tried; pika tries all addresses of each.

    Args:
        settings: where and who.
        name: shown by the broker's management as the connection's name.

    Raises:
        ConfigError: a TLS file cannot be used.
    """
    context = tls_context(settings.tls) if settings.tls else None
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
            credentials=pika.PlainCredentials(settings.user, str(settings.password)),
            heartbeat=settings.heartbeat_s,
            ssl_options=pika.SSLOptions(context, host) if context else None,
            connection_attempts=1,
            socket_timeout=TCP_TIMEOUT_S,
            stack_timeout=HANDSHAKE_TIMEOUT_S,
            client_properties=properties,
        )
        for host, port in settings.addresses()
    ]


def tls_context(tls: TlsSettings) -> ssl.SSLContext:
    """Return how to speak TLS: version 1.2 or newer, the server's name and certificate checked.

    Raises:
        ConfigError: a certificate or key file cannot be read or used.
    """
    try:
        context = ssl.create_default_context(cafile=tls.ca)
        if tls.cert:
            context.load_cert_chain(tls.cert, tls.key)
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(name for name in (tls.ca, tls.cert, tls.key) if name)
        raise ConfigError(f"cannot use {files}: {error}", key="ssl") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


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
