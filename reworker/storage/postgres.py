"""The database on a server of PostgreSQL, for several cores on several machines."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import psycopg
from sqlalchemy import (
    Connection,
    Engine,
    MetaData,
    QueuePool,
    Sequence,
    create_engine,
    event,
    func,
    select,
    text,
)
from sqlalchemy.engine import URL

from reworker.clock import Clock, SystemClock
from reworker.errors import StorageError
from reworker.storage import migrations, schema, task_schema
from reworker.storage.contract import StorageReport
from reworker.storage.inspecting import server_report
from reworker.storage.locks import FENCE, TICKET
from reworker.storage.log import LogTable
from reworker.storage.packages import PackageTable
from reworker.storage.postgres_unit import ADVISORY_CLASS, PostgresUnit, advisory_key
from reworker.storage.reading import SqlReader
from reworker.storage.server_clock import ServerClock
from reworker.storage.server_url import masked_url, parsed_url
from reworker.storage.server_watch import CHANNEL, ServerWatch
from reworker.storage.translating import translated

#: connections for writing and for reading, each shared by all threads of a process.
WRITER_COUNT, READER_COUNT = 4, 4
#: seconds to wait for a connection of the pool, for a row that another core has locked, and for the server
#: to accept a connection.
POOL_WAIT_S, LOCK_WAIT_S, CONNECT_WAIT_S = 5.0, 5.0, 5
#: seconds after which the server ends a transaction whose core does nothing: one that was frozen, or whose
#: machine is gone, must not keep its rows from the other cores.
IDLE_S = 10.0
#: seconds between two looks of a core at what other cores have left; they do not say when they have written.
PEER_LOOK_S = 1.0
#: how either end notices that the other machine is gone: seconds of silence, between probes, and their count.
#: The server's own default of two hours would keep a core's name, and what it has locked, for as long.
_PROBES = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}

#: all files of SQLite's, in one database.
_METADATA = MetaData()
for _table in (*schema.metadata.sorted_tables, schema.log, task_schema.package_piece):
    for _index in _table.to_metadata(_METADATA).indexes:
        if "sqlite_where" in _index.dialect_kwargs:
            _index.dialect_kwargs["postgresql_where"] = _index.dialect_kwargs["sqlite_where"]
for _table in (_METADATA.tables["event"], _METADATA.tables["attempt"]):
    # The server would look the deployment up for each row, a fifth of its work; its row is locked already,
    # and saved in the same transaction.
    for _reference in tuple(_table.foreign_key_constraints):
        _table.constraints.discard(_reference)
for _counter in (TICKET, FENCE):
    Sequence(_counter, metadata=_METADATA)

_NOTIFY = text("SELECT pg_notify(:channel, :token)")


class PostgresStorage:
    """A database on a server; see `contract.Storage`.

    Args:
        url: ``postgresql://user:password@host:port/database``; options of libpq may follow as a query.
        clock: of this machine.
        lock_wait_s: seconds to wait for rows that another core has locked.

    Raises:
        ConfigError: the URL is wrong.
        StorageUnavailable: the server is away, or refuses the user or the database.
        StorageError: the database is not ours, or newer than this program.
    """

    def __init__(self, url: str, *, clock: Clock | None = None, lock_wait_s: float = LOCK_WAIT_S) -> None:
        place = parsed_url(url)
        self.source = masked_url(place)
        self._clock = clock or SystemClock()
        self._token = uuid.uuid4().hex
        self._writers = _engine(place, WRITER_COUNT, _writer_settings(lock_wait_s))
        self._readers = _engine(
            place, READER_COUNT, ("default_transaction_read_only = on",), is_autocommit=True
        )
        self._watch = ServerWatch(self._connect, self._token, name_wait_s=lock_wait_s)
        self._is_core, self._look_at_mono_s = False, 0.0
        self.reader = SqlReader(self._readers, translated)
        self.packages = PackageTable(self._writers, self._readers, self.source)
        try:
            prepare(self._writers, self.source)
            self._server_clock = ServerClock(self._clock, self._server_now)
        except StorageError:
            self.close()
            raise

    @contextmanager
    def begin(self) -> Iterator[PostgresUnit]:
        """Open a writing transaction; see `contract.Storage.begin`."""
        with translated(f"writing to {self.source}"), self._writers.begin() as connection:
            unit = PostgresUnit(connection)
            yield unit
            unit.finish()
            if not self._is_core:
                # Commits that notify wait for each other, too dear for a core; others write now and then.
                connection.execute(_NOTIFY, {"channel": CHANNEL, "token": self._token})

    def has_foreign_writes(self) -> bool:
        """Tell whether another process has committed; see `contract.Storage.has_foreign_writes`.

        For a core the answer is yes once in a while: other cores do not say when they have written.
        """
        has_heard = self._watch.has_heard()
        if self._is_core and self._clock.mono_s() >= self._look_at_mono_s:
            self._look_at_mono_s = self._clock.mono_s() + PEER_LOOK_S
            return True
        return has_heard

    def lock_core(self, name: str) -> None:
        """Hold the name on the server; see `contract.Storage.lock_core`."""
        self._watch.lock(name)
        self._is_core = True

    def clock_offset_s(self) -> float:
        """Return how far the server's clock is ahead; see `contract.Storage.clock_offset_s`."""
        return self._server_clock.offset_s()

    def report(self) -> StorageReport:
        """Ask the server; see `contract.Storage.report`."""
        return server_report(self._readers, self.source)

    def close(self) -> None:
        """Close every connection; see `contract.Storage.close`."""
        self._watch.close()
        self._readers.dispose()
        self._writers.dispose()

    def _server_now(self) -> datetime:
        with translated(f"reading the clock of {self.source}"), self._readers.begin() as connection:
            found: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
        return found

    def _connect(self) -> psycopg.Connection:
        """Return a connection of its own, outside the pool."""
        with translated(f"connecting to {self.source}"):
            pooled = self._readers.connect()
            connection = pooled.connection.driver_connection
            pooled.detach()
        assert isinstance(connection, psycopg.Connection)
        return connection


class PostgresLog(LogTable):
    """Lines in the same database, on connections of their own; see `contract.LogStore`.

    Commits are not synced: a crash of the server may take the last.
    """

    def __init__(self, url: str) -> None:
        place = parsed_url(url)
        writer = _engine(place, 1, (*_writer_settings(LOCK_WAIT_S), "synchronous_commit = off"))
        readers = _engine(place, 2, ("default_transaction_read_only = on",), is_autocommit=True)
        super().__init__(writer, readers, masked_url(place))
        try:
            prepare(writer, self._source)
        except StorageError:
            self.close()
            raise


def prepare(engine: Engine, source: str) -> None:
    """Make or bring up the tables; of several cores that start at once, one does it."""
    with translated(f"opening {source}"), engine.begin() as connection:
        key = advisory_key("schema")
        connection.execute(text(f"SELECT pg_advisory_xact_lock({ADVISORY_CLASS}, {key})"))
        _require_utf8(connection, source)
        steps = migrations.MIGRATIONS
        migrations.migrate(connection, _METADATA, schema.SCHEMA_VERSION, steps, source)


def _require_utf8(connection: Connection, source: str) -> None:
    encoding = connection.execute(text("SHOW server_encoding")).scalar()
    if encoding != "UTF8":
        raise StorageError(f"{source} has the encoding {encoding}; make a database with ENCODING 'UTF8'")


def _writer_settings(lock_wait_s: float) -> tuple[str, ...]:
    return (
        "default_transaction_isolation = 'read committed'",
        f"lock_timeout = '{lock_wait_s * 1000:.0f}ms'",
        f"idle_in_transaction_session_timeout = '{IDLE_S * 1000:.0f}ms'",
    )


def _engine(place: URL, size: int, settings: tuple[str, ...], *, is_autocommit: bool = False) -> Engine:
    """Return an engine whose connections have these settings.

    Those that read ask the server whether it is there before each use; writers do not spend that time, and
    the first failure makes the pool forget all its connections.
    """
    options: dict[str, Any] = {"isolation_level": "AUTOCOMMIT"} if is_autocommit else {}
    engine = create_engine(
        place,
        poolclass=QueuePool,
        pool_size=size,
        max_overflow=0,
        pool_timeout=POOL_WAIT_S,
        pool_pre_ping=is_autocommit,
        connect_args={"connect_timeout": CONNECT_WAIT_S, **_PROBES},
        **options,
    )
    probes = (f"tcp_{name} = {value}" for name, value in _PROBES.items())
    event.listen(engine, "connect", _on_connect("; ".join(f"SET {one}" for one in (*probes, *settings))))
    return engine


def _on_connect(statements: str) -> Callable[[Any, Any], None]:
    def apply(connection: Any, _record: Any) -> None:
        was_autocommit = connection.autocommit
        connection.autocommit = True
        connection.execute(statements)
        connection.autocommit = was_autocommit

    return apply
