"""The composition root: builds buses, storage, cores and workers, and closes them in order.

Imports stand in the functions that need them: `reworker ls` need not load an AMQP client.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from reworker.errors import ConfigError

if TYPE_CHECKING:
    from reworker.bus.contract import Bus
    from reworker.cli.asked import Asked
    from reworker.cli.asked_work import AskedWork
    from reworker.config import MqSettings
    from reworker.core.core import Core
    from reworker.core.settings import CoreSettings
    from reworker.pool.pool import WorkerPool
    from reworker.storage.contract import LogStore, Storage

#: seconds a command looks for the broker before it gives up; the user waits for it.
CONNECT_S = 10.0
#: workers of `up` and `demo`: bundled, and useful without settings of their own.
LOCAL_WORKERS = ("noop", "sleep", "megafrobber")


@contextmanager
def connected_bus(
    mq: str | MqSettings, *, name: str, timeout_s: float = CONNECT_S, canary_queue: str = ""
) -> Iterator[Bus]:
    """Open a bus for the block.

    Args:
        mq: file, URL or settings.
        name: of the connection, as the broker shows it.
        timeout_s: how long to look for the broker.
        canary_queue: for messages of the bus to itself, by which it sees that the broker delivers; empty is
            none.

    Raises:
        ConfigError, CannotConnect: see `mq_settings` and `Bus.open`.
    """
    from reworker.bus.canary import canary_of
    from reworker.bus.connection import PikaBus
    from reworker.bus.own_name import require_own_name
    from reworker.config import mq_settings, with_password_of
    from reworker.pool.signals import leave_on_signals

    settings = with_password_of(mq_settings(mq) if isinstance(mq, str) else mq, os.environ)
    bus = PikaBus(settings, name=name, canary=canary_of(settings, canary_queue) if canary_queue else None)
    try:
        with leave_on_signals():
            bus.open(timeout_s=timeout_s)
        require_own_name(bus)
        yield bus
    finally:
        bus.close()


@contextmanager
def opened_storage(db: str) -> Iterator[tuple[Storage, LogStore]]:
    """Open the database and the lines of output that belong to it; missing ones are made.

    Raises:
        StorageError, ConfigError: see `open_storage`; or the server's dependencies are not installed.
    """
    try:
        from reworker.storage.opening import open_logs, open_storage
    except ModuleNotFoundError as error:
        reason = f"{error.name} is missing; only workers do without it: install reworker[server]"
        raise ConfigError(reason, key="--db") from error

    with ExitStack() as stack:
        storage = open_storage(_prepared(db))
        stack.callback(storage.close)
        logs = open_logs(db)
        stack.callback(logs.close)
        yield storage, logs


@contextmanager
def existing_storage(db: str) -> Iterator[tuple[Storage, LogStore]]:
    """Open a database as `opened_storage` does, but make no file.

    Raises:
        ConfigError: there is no database file; a core makes it, so that a command in a wrong folder does not.
    """
    place = path_of_database(db)
    if place is not None and not place.exists():
        reason = f"there is no database at {place}; start `reworker core` or `reworker up` on it first"
        raise ConfigError(f"{reason}, or name another one", key="--db")
    with opened_storage(db) as found:
        yield found


@contextmanager
def opened_service(db: str) -> Iterator[Asked]:
    """Open what commands ask: the core's service, straight on a database, or on the server at an address.

    Raises:
        ConfigError: see `existing_storage` and `token_for`.
    """
    if is_server_of_ours(db):
        from reworker.cli.remote import RemoteCore
        from reworker.cli.server_client import ServerClient
        from reworker.cli.token_store import token_for

        yield RemoteCore(ServerClient(db, token_for(db.rstrip("/"), os.environ)))
        return
    from reworker.cli.asked import LocalCore
    from reworker.clock import SystemClock

    with existing_storage(db) as (storage, logs):
        yield LocalCore(storage, logs, SystemClock())


@contextmanager
def opened_work(db: str) -> Iterator[AskedWork]:
    """Open what commands ask of codes, tasks and schedules; see `opened_service`.

    Raises:
        ConfigError: see `existing_storage` and `token_for`.
    """
    if is_server_of_ours(db):
        from reworker.cli.remote_work import RemoteWork
        from reworker.cli.server_client import ServerClient
        from reworker.cli.token_store import token_for

        yield RemoteWork(ServerClient(db, token_for(db.rstrip("/"), os.environ)))
        return
    from reworker.cli.asked_work import LocalWork
    from reworker.cli.options import user_name
    from reworker.clock import SystemClock
    from reworker.core.service import Service

    with existing_storage(db) as (storage, logs):
        yield LocalWork(Service(storage, logs, SystemClock()), user_name())


def is_server_of_ours(db: str) -> bool:
    """Tell whether a text names a server of ours and no database."""
    return db.startswith(("http://", "https://"))


@contextmanager
def running_core(
    mq: str | MqSettings, db: str, settings: CoreSettings, *, timeout_s: float, takes_jobs: bool = True
) -> Iterator[Core]:
    """Run a core for the block, with a connection for replies and one for lines of output."""
    from reworker.clock import SystemClock
    from reworker.core.core import Core
    from reworker.drill.faults import faulty_bus, faulty_storage, fuse_of
    from reworker.ids import new_id
    from reworker.topology import names

    fuse = fuse_of("core", os.environ)
    name = f"reworker core {settings.name}"
    canary = names.control_queue(names.CORE, new_id(SystemClock().now()))
    with (
        opened_storage(db) as (storage, logs),
        connected_bus(mq, name=name, timeout_s=timeout_s, canary_queue=canary) as bus,
        connected_bus(mq, name=f"{name} output", timeout_s=timeout_s) as output_bus,
    ):
        core = Core(
            faulty_bus(bus, fuse), faulty_storage(storage, fuse), logs, settings, output_bus=output_bus
        )
        core.start(takes_jobs=takes_jobs)
        try:
            yield core
        finally:
            core.stop()


@contextmanager
def running_worker(name: str, url: str) -> Iterator[WorkerPool]:
    """Run one instance of a worker type as a thread of this process."""
    from reworker.config import mq_mapping, mq_settings
    from reworker.host.plugins import load_worker
    from reworker.pool.pool import WorkerPool, open_bus

    mapping = mq_mapping(url, os.environ)
    worker = load_worker(name)(mapping)
    bus = open_bus(mq_settings(mapping), f"worker {name}", worker._settings.suffix)
    pool = WorkerPool(bus, [worker])
    try:
        pool.start()
        yield pool
    finally:
        pool.stop()


@dataclass(frozen=True)
class LocalSystem:
    """Everything in one place: a broker beside us, a core and workers within."""

    url: str
    db: str
    core: Core
    pools: list[WorkerPool]


@contextmanager
def local_system(state: Path, workers: Sequence[str], *, port: int = 0) -> Iterator[LocalSystem]:
    """Run the embedded broker, a core and one instance of each worker.

    Args:
        state: folder for the database and the broker's durable messages; made if missing.
        workers: names as `load_worker` takes them.
        port: of the broker; 0 takes a free one.
    """
    from reworker.cli.local_broker import LocalBroker
    from reworker.core.settings import core_settings

    state.mkdir(parents=True, exist_ok=True)
    db = f"sqlite:///{state / 'reworker.db'}"
    with ExitStack() as stack:
        url = stack.enter_context(LocalBroker(port, state / "broker.db")).url
        core = stack.enter_context(running_core(url, db, core_settings(), timeout_s=CONNECT_S))
        pools = [stack.enter_context(running_worker(name, url)) for name in workers]
        yield LocalSystem(url, db, core, pools)


def path_of_database(db: str) -> Path | None:
    """Return the absolute path of a database file; None when the database is on a server.

    Raises:
        StorageError: it is another kind of database.
    """
    from reworker.storage.server_url import is_server
    from reworker.storage.sql import path_of

    return None if is_server(db) else path_of(db).absolute()


def name_of_database(db: str) -> str:
    """Return what people may see of a database: an absolute path, or a URL without its password."""
    if is_server_of_ours(db):
        return db
    from reworker.storage.server_url import masked_url

    place = path_of_database(db)
    return masked_url(db) if place is None else str(place)


def secrets_of(mq: str | MqSettings, db: str) -> list[str]:
    """Return what a log must not show: the passwords of the broker and of the database.

    Raises:
        ConfigError: the settings of the broker cannot be read.
    """
    from reworker.config import mq_settings, with_password_of

    settings = with_password_of(mq_settings(mq) if isinstance(mq, str) else mq, os.environ)
    parts = urlsplit(db)
    return [str(settings.current_password()), unquote(parts.password or "")]


def _prepared(db: str) -> str:
    """Make the folder of a database file, so that the default works in an empty folder."""
    file = db.removeprefix("sqlite:///")
    folder = Path(file).parent
    if "://" not in file:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"cannot make the folder {folder}: {error.strerror}", key="db") from error
    return db
