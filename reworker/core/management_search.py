"""Where a broker's management plugin may be, and who asks it."""

from __future__ import annotations

from collections.abc import Iterator

from reworker.bus.tls import tls_context
from reworker.config import MqSettings
from reworker.topology.management import PORT, SEARCH_S, TLS_PORT, Login, Management


def plugins_beside(settings: MqSettings) -> Iterator[tuple[Management, int]]:
    """Yield the plugin at its usual port of each server, with that server's port for AMQP.

    Nobody has said that they are there: see `Management.recognise`.
    """
    for host, port in settings.addresses():
        name = f"[{host}]" if ":" in host else host
        url = f"https://{name}:{TLS_PORT}" if settings.tls else f"http://{name}:{PORT}"
        yield Management(url, login_of(settings), SEARCH_S), port


def login_of(settings: MqSettings) -> Login:
    """Return who asks: the same user as in AMQP.

    Raises:
        ConfigError: the file of the password or of a certificate cannot be read.
    """
    tls = tls_context(settings.tls) if settings.tls else None
    return Login(settings.user, str(settings.current_password()), tls)
