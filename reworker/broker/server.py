"""The broker as a whole: its listening socket, vhosts and connections, and what tests may do to it."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack
from urllib.parse import quote

from reworker.broker.connection import Connection
from reworker.broker.errors import BrokerError
from reworker.broker.inspection import describe
from reworker.broker.model import Backlog
from reworker.broker.runtime import LoopRuntime
from reworker.broker.settings import PRODUCT, Options, Settings
from reworker.broker.vhost import VHost, restored_vhosts
from reworker.errors import StorageUnavailable

if TYPE_CHECKING:
    from reworker.broker.store import Store

log = logging.getLogger(__name__)

#: share of the backlog's limit below which publishers go on.
UNBLOCK_SHARE = 0.8
#: seconds that clients have to read the goodbye of a broker that stops.
GOODBYE_S = 0.5
#: seconds a call into the broker's thread may take; it answers in microseconds unless it is broken.
CALL_TIMEOUT_S = 10.0

T = TypeVar("T")


class Broker:
    """An AMQP 0-9-1 broker for development and tests, on the running asyncio loop.

    `stop` and `start` again is a restart on the same port: what the store keeps survives, the rest is gone.

    Args:
        host: address to bind; one that is not loopback needs a password of its own.
        port: 0 takes a free one; read it from `port` after `start`.
        options: see `Settings`.

    Raises:
        ConfigError: the host can be reached from other machines and no password was given.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0, **options: Unpack[Options]) -> None:
        self.settings = Settings(host, port, **options)
        self.settings.check()
        self.port = port
        self.is_paused = False
        self.vhosts: dict[str, VHost] = {}
        self.connections: dict[Connection, None] = {}
        self.runtime: LoopRuntime
        self._server: asyncio.Server | None = None
        self._store: Store | None = None
        self._blocked_by_test = ""
        self._is_full = False

    def url(self, vhost: str = "/") -> str:
        """Return the address for clients, password included."""
        settings = self.settings
        scheme = "amqps" if settings.tls else "amqp"
        login = f"{quote(settings.user, safe='')}:{quote(settings.password, safe='')}"
        return f"{scheme}://{login}@{settings.host}:{self.port}/{quote(vhost, safe='')}"

    async def start(self) -> None:
        """Load what the store keeps and listen.

        Raises:
            OSError: the port is taken.
            ConfigError: the store cannot be used.
        """
        settings = self.settings
        self.runtime = LoopRuntime(Backlog(settings.max_backlog_bytes), settings.jitter_s, self._before_flush)
        self.is_paused = False
        if settings.store_path is not None:
            from reworker.broker.store import Store  # first now: SQLite costs memory that few brokers need

            self._store = Store(settings.store_path, self.runtime.mono_s() - self.runtime.unix_s())
            self.vhosts = restored_vhosts(self._store, self.runtime)
        self.add_vhost("/")
        try:
            await self._listen(settings)
        except OSError:
            self._close_store()
            raise

    async def _listen(self, settings: Settings) -> None:
        self._server = await asyncio.get_running_loop().create_server(
            lambda: Connection(self, self.runtime),
            settings.host,
            self.port,
            ssl=settings.tls,
            backlog=1024,
            reuse_address=True,
        )
        self.port = self._server.sockets[0].getsockname()[1]
        log.info("%s listens on %s:%d", PRODUCT, settings.host, self.port)

    async def stop(self) -> None:
        """Say goodbye to all clients and close; safe twice."""
        if self._server is None:
            return
        self._server.close()
        for connection in list(self.connections):
            connection.close(BrokerError(320, "broker forced connection closure with reason 'shutdown'"))
            connection.close_socket()
        give_up_mono_s = self.runtime.mono_s() + GOODBYE_S
        while self.connections:
            if self.runtime.mono_s() > give_up_mono_s:
                self.drop_connections()
            await asyncio.sleep(0.001)
        self._server = None
        self._close_store()

    def _close_store(self) -> None:
        self.vhosts.clear()
        if self._store:
            self._store.close()
            self._store = None

    # What a connection asks for

    def find_vhost(self, name: str) -> VHost:
        """Return a vhost; raises 530 when there is none."""
        found = self.vhosts.get(name)
        if found is None and self.settings.auto_vhosts and name.startswith("test"):
            found = self.add_vhost(name)
        if found is None:
            raise BrokerError(530, f"vhost {name} not found")
        return found

    def add_vhost(self, name: str) -> VHost:
        """Create a vhost, or return the one of that name."""
        if name not in self.vhosts:
            self.vhosts[name] = VHost(name, self.runtime, self._store)
            if self._store:
                self._store.definitions.add_vhost(name)
        return self.vhosts[name]

    def joined(self, connection: Connection) -> None:
        """Note a new connection."""
        self.connections[connection] = None

    def left(self, connection: Connection) -> None:
        """Note that a connection is gone."""
        self.connections.pop(connection, None)

    def blocked_reason(self) -> str:
        """Return why publishers must wait; empty when they need not."""
        if self.runtime.backlog.is_full:
            self._is_full = True
        return self._blocked_by_test or ("low on memory" if self._is_full else "")

    def _before_flush(self) -> bool:
        backlog = self.runtime.backlog
        if self._is_full and backlog.size_bytes < UNBLOCK_SHARE * backlog.limit_bytes:
            self._is_full = False
            self._unblock_all()
        try:
            if self._store:
                self._store.commit()
        except StorageUnavailable:
            # nobody is told that anything is safe: clients come back and find what was committed
            log.exception("the store cannot commit; cutting all clients")
            self.drop_connections()
            return False
        return True

    def _unblock_all(self) -> None:
        if not self.blocked_reason():
            for connection in list(self.connections):
                connection.unblock()

    # What a test may do to it; on the broker's loop

    def inspect(self) -> dict[str, Any]:
        """Return queues, depths, consumers and bindings as plain values; see `inspection`."""
        return describe(self.vhosts, self.connections)

    def drop_connections(self) -> int:
        """Cut all sockets without a word and return how many there were."""
        connections = list(self.connections)
        for connection in connections:
            connection.abort()
        return len(connections)

    def block(self, reason: str = "blocked by a test") -> None:
        """Make publishers wait, as a broker without memory or disk does."""
        self._blocked_by_test = reason

    def unblock(self) -> None:
        """Let publishers go on."""
        self._blocked_by_test = ""
        self._unblock_all()

    def pause(self) -> None:
        """Freeze reading and writing: to a client the connection is half open."""
        self.is_paused = True
        for connection in self.connections:
            connection.pause(True)

    def resume(self) -> None:
        """End `pause`."""
        self.is_paused = False
        for connection in self.connections:
            connection.pause(False)


class BrokerThread:
    """A `Broker` on an event loop of its own in a thread of its own; for tests.

    Used as a context manager or with `start` and `stop`; `start` after `stop` is a restart on the same port.
    All methods may be called from any thread. The arguments are those of `Broker`.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0, **options: Unpack[Options]) -> None:
        self._broker = Broker(host, port, **options)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port it listens on; known after the first `start`."""
        return self._broker.port

    def url(self, vhost: str = "/") -> str:
        """Return the address for clients, password included."""
        return self._broker.url(vhost)

    def start(self) -> Self:
        """Start the thread and listen; after `stop` on the same port again."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="reworker-broker", daemon=True)
        self._thread.start()
        try:
            self._run(self._broker.start())
        except BaseException:
            self._end()
            raise
        return self

    def stop(self) -> None:
        """Close all connections and end the thread; safe twice."""
        if self._loop is not None:
            try:
                self._run(self._broker.stop())
            finally:
                self._end()

    def _end(self) -> None:
        loop, self._loop = self._loop, None
        if loop and self._thread:
            loop.call_soon_threadsafe(loop.stop)
            self._thread.join(CALL_TIMEOUT_S)
            loop.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        if self._loop is None:
            coroutine.close()
            raise RuntimeError("the broker thread is not running")
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(CALL_TIMEOUT_S)

    def _call(self, function: Callable[[], T]) -> T:
        async def call() -> T:
            return function()

        return self._run(call())

    def add_vhost(self, name: str) -> None:
        """Create a vhost; no effect when it exists."""
        self._call(lambda: self._broker.add_vhost(name))

    def inspect(self) -> dict[str, Any]:
        """Return queues, depths, consumers and bindings as plain values; see `inspection.describe`."""
        return self._call(self._broker.inspect)

    def drop_connections(self) -> int:
        """Cut all sockets without a word and return how many there were."""
        return self._call(self._broker.drop_connections)

    def block(self, reason: str = "blocked by a test") -> None:
        """Make publishers wait, as a broker without memory or disk does; told at their next publish."""
        self._call(lambda: self._broker.block(reason))

    def unblock(self) -> None:
        """Let publishers go on."""
        self._call(self._broker.unblock)

    def pause(self) -> None:
        """Freeze reading and writing: to a client the connection is half open."""
        self._call(self._broker.pause)

    def resume(self) -> None:
        """End `pause`."""
        self._call(self._broker.resume)


def serve(
    host: str = "127.0.0.1", port: int = 0, store_path: str | Path | None = None, **options: Any
) -> int:
    """Run a broker until SIGTERM or SIGINT; prints its address, password masked, when it is ready.

    Returns:
        the exit code, 0.

    Raises:
        ConfigError: see `Broker`.
        OSError: the port is taken.
    """
    asyncio.run(_serve(Broker(host, port, store_path=store_path, **options)))
    return 0


async def _serve(broker: Broker) -> None:
    loop, is_stopped = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, is_stopped.set)
    await broker.start()
    try:
        shown = (
            broker.url().replace(f":{quote(broker.settings.password, safe='')}@", ":***@").replace("%2F", "")
        )
        sys.stdout.write(f"listening on {shown}\n")
        sys.stdout.flush()
        await is_stopped.wait()
    finally:
        await broker.stop()
