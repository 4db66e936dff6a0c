"""What a broker is started with."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from reworker.errors import ConfigError

#: the answer to "is this RabbitMQ": the behaviour is that of this version, the product text says what it is.
VERSION = "3.10.0"
PRODUCT = "reworker embedded broker (development and tests only)"
DEFAULT_USER = DEFAULT_PASSWORD = "guest"


class Options(TypedDict, total=False):
    """The keyword arguments of `Broker` and `BrokerThread`; see `Settings` for what they mean."""

    user: str
    password: str
    store_path: str | Path | None
    tls: ssl.SSLContext | None
    heartbeat_s: int
    frame_max: int
    max_backlog_bytes: int
    auto_vhosts: bool
    jitter_s: float


@dataclass(frozen=True)
class Settings:
    """What a broker is started with; a non-loopback host needs a user and password of its own."""

    host: str = "127.0.0.1"
    #: 0 takes a free one.
    port: int = 0
    user: str = DEFAULT_USER
    password: str = field(default=DEFAULT_PASSWORD, repr=False)
    #: SQLite file for durable definitions and persistent messages; None keeps everything in memory.
    store_path: str | Path | None = None
    tls: ssl.SSLContext | None = None
    #: proposed to clients; the smaller of both is used, 0 is none.
    heartbeat_s: int = 60
    #: largest frame, proposed to clients. Source: RabbitMQ's default.
    frame_max: int = 131072
    #: Source: RabbitMQ's default.
    channel_max: int = 2047
    #: waiting and unsettled bytes above which publishers are blocked.
    max_backlog_bytes: int = 512 * 1024 * 1024
    #: create a vhost whose name begins with "test" when it is first used.
    auto_vhosts: bool = False
    #: put off, by up to this many seconds, what a real broker may reorder; 0 is off.
    jitter_s: float = 0.0

    def check(self) -> None:
        """Refuse to be reachable from other machines with the well-known password.

        Raises:
            ConfigError: the host is not a loopback address and no password was given.
        """
        if not _is_loopback(self.host) and self.password == DEFAULT_PASSWORD:
            raise ConfigError(
                f"{self.host} can be reached from other machines: give a user and password, or use 127.0.0.1",
                key="host",
            )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
