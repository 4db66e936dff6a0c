"""Where a program in Conductor's style connects to: `Configuration`, with the arguments of the SDKs.

There is no server to poll. An HTTP address is taken, so that ported programs start, and is not used.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any

import msgspec

from reworker.config import MQ_VARIABLE, MqSettings, mq_settings
from reworker.errors import ConfigError
from reworker.logs import setup, without_url_passwords

logger = logging.getLogger(__name__)

#: variable in which programs of the SDK find their server.
SERVER_VARIABLE = "CONDUCTOR_SERVER_URL"
_AMQP = ("amqp://", "amqps://")


class AuthenticationSettings(msgspec.Struct):
    """Key and secret for a Conductor server; taken, and not used: the message bus has a login of its own."""

    key_id: str = ""
    key_secret: str = ""

    def __repr__(self) -> str:
        return "AuthenticationSettings(***)"


class MetricsSettings(msgspec.Struct):
    """Where metrics are told: `http_port` of this machine; there are no files of metrics."""

    directory: str | None = None
    file_name: str = "metrics.log"
    update_interval: float = 0.1
    http_port: int | None = None
    clean_directory: bool = False
    clean_dead_pids: bool = False


class Configuration:
    """Settings of a program in Conductor's style.

    Args:
        base_url: of a Conductor server: not used. An ``amqp://`` or ``amqps://`` URL is the message bus.
        debug: lines of the log at level DEBUG, too.
        authentication_settings: not used.
        server_api_url: as `base_url`, and wins over it.
        mq: message bus: a file, a URL or a mapping, as `reworker.worker.Worker` takes it; else the variable
            ``REWORKER_MQ``.
        options: `log_level`; and those of the SDKs that mean nothing here.
    """

    def __init__(
        self,
        base_url: str | None = None,
        debug: bool = False,
        authentication_settings: AuthenticationSettings | None = None,
        server_api_url: str | None = None,
        *,
        mq: Mapping[str, Any] | str | MqSettings | None = None,
        **options: Any,
    ) -> None:
        self.debug = debug
        self.authentication_settings = authentication_settings
        level = options.pop("log_level", None)
        self.log_level = logging.getLevelName(level) if isinstance(level, int) else level
        unknown = sorted(set(options) - {"auth_token_ttl_min", "register_schema"})
        if unknown:
            raise TypeError(f"Configuration: unknown option {', '.join(unknown)}")
        self._mq, self._asked = mq, server_api_url or base_url

    @property
    def host(self) -> str:
        """The address that the program gave, or that the variable ``CONDUCTOR_SERVER_URL`` has."""
        return self._asked or os.environ.get(SERVER_VARIABLE, "")

    @property
    def mq_source(self) -> Mapping[str, Any] | str | MqSettings | None:
        """What says where the message bus is; None is the variable ``REWORKER_MQ``."""
        return self._mq if self._mq is not None else self.host if self.host.startswith(_AMQP) else None

    def explain(self) -> None:
        """Say in the log where the program connects to, when it named a server that is not used.

        Raises:
            ConfigError: nothing says where the message bus is, or its settings are wrong.
        """
        is_unused = bool(self.host) and not self.host.startswith(_AMQP)
        server = without_url_passwords(self.host)
        if self.mq_source is None and not os.environ.get(MQ_VARIABLE):
            why = f"{server} is no message bus, and is not used; " if is_unused else ""
            raise ConfigError(
                f"{why}say where these workers get their tasks: set {MQ_VARIABLE}, or Configuration(mq=...), "
                "to a file or an amqp:// URL",
                key="server_api_url" if is_unused else "mq",
            )
        if is_unused:
            source = self.mq_source
            settings = source if isinstance(source, MqSettings) else mq_settings(source, os.environ)
            text = "%s is not used: tasks come from the message bus at %s"
            logger.warning(text, server, settings.masked_url())

    def apply_logging_config(self, log_format: str | None = None, level: Any = None) -> None:
        """Set the log of the process up, unless the program has done so; the format is reworker's."""
        if not logging.getLogger().handlers:
            setup(str(level or self.log_level or ("DEBUG" if self.debug else "INFO")))
            logging.getLogger("pika").setLevel(logging.WARNING)  # at DEBUG it tells of each frame

    @staticmethod
    def get_logging_formatted_name(name: str) -> str:
        """Return what a logger of a module is called."""
        return name
