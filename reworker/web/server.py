"""The application on a socket, on a thread of its own: so that it runs beside a core, or alone."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import threading
from collections.abc import Callable
from functools import partial
from typing import Self

import uvicorn
from starlette.types import ASGIApp

from reworker.errors import ConfigError
from reworker.web.protocol import HEAD_S, PatientProtocol
from reworker.web.settings import DEFAULT_PORT, WebSettings

logger = logging.getLogger(__name__)

#: connections that wait to be taken.
BACKLOG_COUNT = 512
#: seconds that requests at work may take once the end was asked for; streams are cut then.
STOP_S = 3
#: bytes of a request's line and headers.
HEAD_BYTES = 32 << 10
#: seconds between two settings of the date that answers have.
TICK_S = 1.0
#: seconds without a request after which a connection is closed.
IDLE_S = 30


def _nothing() -> None:
    return None


class _Server(uvicorn.Server):
    """The library's server, which would cut long answers only after `STOP_S`."""

    def __init__(self, config: uvicorn.Config, on_stop: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_stop = on_stop
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending = asyncio.Event()

    async def main_loop(self) -> None:
        """Wait for the end, and set the date of answers meanwhile; the library's looks ten times a second."""
        self._loop = asyncio.get_running_loop()
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self._ending.wait()

    def end(self) -> None:
        """Ask for the end. Any thread."""
        self.should_exit = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # it has ended by itself
                self._loop.call_soon_threadsafe(self._ending.set)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End what has no end of its own, then the rest."""
        self._on_stop()
        await super().shutdown(sockets)


class WebServer:
    """Serves an application until closed; a context.

    `__enter__` binds on the caller's thread, so that an address in use is an error there.

    Args:
        app: to serve.
        settings: where.
        head_s: seconds that a client may take for the head of a request.
        on_stop: called on the event loop once the end was asked for: answers without an end have to end then.

    Raises:
        ConfigError: on entering: it cannot listen there.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: WebSettings,
        *,
        head_s: float = HEAD_S,
        on_stop: Callable[[], None] = _nothing,
    ) -> None:
        self._settings, self._head_s = settings, head_s
        self._config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            log_level="warning",
            lifespan="off",
            ws="none",
            loop="asyncio",
            proxy_headers=False,
            server_header=False,
            h11_max_incomplete_event_size=HEAD_BYTES,
            timeout_keep_alive=IDLE_S,
            timeout_graceful_shutdown=STOP_S,
            ssl_certfile=settings.tls_certificate,
            ssl_keyfile=settings.tls_key,
        )
        self._server = _Server(self._config, on_stop)
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)

    @property
    def url(self) -> str:
        """Where it answers, once entered."""
        host, port = self._listener.getsockname()[:2]
        scheme = "https" if self._settings.tls_certificate else "http"
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    def __enter__(self) -> Self:
        try:
            self._config.load()
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"cannot be used: {error}", key="tls_certificate") from error
        self._config.http_protocol_class = partial(PatientProtocol, head_s=self._head_s)  # type: ignore[assignment]  # it is only called
        self._listener = _listen(self._settings)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.end()
        self._thread.join()
        self._listener.close()

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._listener])
        except Exception:  # top of the thread
            logger.exception("the HTTP side has ended")


def _listen(settings: WebSettings) -> socket.socket:
    ports = (DEFAULT_PORT, 0) if settings.port < 0 else (settings.port,)
    for port in ports[:-1]:
        with contextlib.suppress(OSError):
            return _bound(settings.host, port)
    try:
        return _bound(settings.host, ports[-1])
    except (OSError, UnicodeError) as error:
        place = f"{settings.host}:{ports[-1]}"
        reason = f"cannot listen on {place}: {error}; give an address that is ours and free"
        raise ConfigError(reason, key="port") from error


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host.strip("[]"), port), family=family, backlog=BACKLOG_COUNT)
