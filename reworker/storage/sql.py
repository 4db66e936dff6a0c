"""The database as a file of SQLite, for one machine."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from sqlalchemy import Engine

from reworker.clock import SystemClock
from reworker.errors import StorageError, StorageUnavailable
from reworker.storage import migrations, schema, sqlite
from reworker.storage.contract import StorageReport
from reworker.storage.inspecting import file_report
from reworker.storage.packages import SqlPackages
from reworker.storage.reading import SqlReader
from reworker.storage.translating import translated
from reworker.storage.writing import SqlUnit

SQLITE_PREFIX = "sqlite:///"


class SqlStorage:
    """A database file; see `contract.Storage`.

    Args:
        path: the SQLite file, made if missing.
        busy_timeout_s: seconds to wait for a writer of another process.

    Raises:
        StorageError: cannot be opened, is not ours, is newer than this program, or is on a network disk.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, busy_timeout_s: float = sqlite.BUSY_TIMEOUT_S
    ) -> None:
        self.path = Path(path).absolute()
        sqlite.require_local(self.path)
        sqlite.create_private(self.path)
        self._identity = _identity(self.path)
        self._writer = sqlite.writer_engine(self.path, synchronous="FULL", busy_timeout_s=busy_timeout_s)
        self._readers = sqlite.reader_engine(self.path, busy_timeout_s=busy_timeout_s)
        self._data_version: int | None = None
        self._journal = sqlite.Journal(self.path, SystemClock())
        self._lock_files: list[IO[str]] = []
        self.reader = SqlReader(self._readers, translated)
        try:
            prepare(self._writer, self.path)
            self.packages = SqlPackages(packages_path(self.path))
        except StorageError:
            self.close()
            raise

    @contextmanager
    def begin(self) -> Iterator[SqlUnit]:
        """Open a writing transaction; see `contract.Storage.begin`."""
        if _identity(self.path) != self._identity:
            raise StorageUnavailable(
                f"the database file {self.path} was removed or replaced while open; put it back and restart"
            )
        with translated(f"writing to {self.path.name}"), self._writer.begin() as connection:
            yield SqlUnit(connection)

    def has_foreign_writes(self) -> bool:
        """Tell whether another process has committed since the last call; see `contract.Storage`."""
        if self._journal.is_still():
            return False
        with translated(f"looking at {self.path.name}"):
            raw = self._writer.raw_connection()
            try:
                row = raw.cursor().execute("PRAGMA data_version").fetchone()
            finally:
                raw.close()
        before, self._data_version = self._data_version, row[0]
        return before != self._data_version

    def lock_core(self, name: str) -> None:
        """Lock the file beside the database; see `contract.Storage.lock_core`."""
        path = self.path.with_name(f"{self.path.name}.{name}.lock")
        file = path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            pid = file.read().strip() or "unknown"
            file.close()
            raise StorageError(
                f"another core (process {pid}) runs on {self.path}; stop it, or use its database from there"
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        self._lock_files.append(file)

    def clock_offset_s(self) -> float:
        """Return 0: a file has its machine's clock; see `contract.Storage.clock_offset_s`."""
        return 0.0

    def report(self) -> StorageReport:
        """Check the whole file; see `contract.Storage.report`."""
        return file_report(self._readers, self.path)

    def close(self) -> None:
        """Close every connection; see `contract.Storage.close`."""
        self._readers.dispose()
        self._writer.dispose()
        if hasattr(self, "packages"):
            self.packages.close()
        while self._lock_files:
            self._lock_files.pop().close()


def prepare(engine: Engine, path: Path) -> None:
    """Make or bring up the tables of the main database."""
    with translated(f"opening {path}"), engine.begin() as connection:
        steps = migrations.MIGRATIONS
        migrations.migrate(connection, schema.metadata, schema.SCHEMA_VERSION, steps, str(path))


def packages_path(database: Path) -> Path:
    """Return the file of packages that belongs to a database: ``x.db`` has ``x.packages.db``."""
    return database.with_name(f"{database.stem}.packages{database.suffix or '.db'}")


def path_of(url: str) -> Path:
    """Return the file that a path or ``sqlite:///path`` names.

    Raises:
        StorageError: it names another kind of database.
    """
    if url.startswith(SQLITE_PREFIX):
        return Path(url.removeprefix(SQLITE_PREFIX))
    if "://" in url:
        kind = url.partition(":")[0]
        raise StorageError(
            f"databases of kind {kind!r} are not supported; use {SQLITE_PREFIX}PATH or postgresql://..."
        )
    return Path(url)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
