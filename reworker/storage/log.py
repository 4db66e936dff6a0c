"""Lines of output, in a table; on SQLite in a file of their own beside the database."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Engine, Select, delete, func, insert, select

from reworker.errors import StorageError
from reworker.storage import migrations, schema, sqlite
from reworker.storage.contract import LogRow
from reworker.storage.translating import translated

_L = schema.log
_SELECT = select(_L.c.deployment_id, _L.c.first_no, _L.c.line_count, _L.c.lines)


def log_path(database: str | os.PathLike[str]) -> Path:
    """Return the file of lines that belongs to a database: ``x.db`` has ``x.log.db``."""
    path = Path(database)
    return path.with_name(f"{path.stem}.log{path.suffix or '.db'}")


class LogTable:
    """Lines in a table; see `contract.LogStore`.

    Args:
        writer: whose commits need not be synced.
        readers: may be the same.
        source: name of the database for errors.
    """

    def __init__(self, writer: Engine, readers: Engine, source: str) -> None:
        self._writer, self._readers, self._source = writer, readers, source

    def last_nos(self, deployment_ids: Collection[str]) -> dict[str, tuple[int, int]]:
        """Return (last line, bytes) by deployment; see `contract.LogStore.last_nos`."""
        last_no = func.max(_L.c.first_no + _L.c.line_count - 1)
        query = select(_L.c.deployment_id, last_no, func.sum(_L.c.size_bytes)).group_by(_L.c.deployment_id)
        with translated(f"reading {self._source}"), self._readers.begin() as connection:
            rows = connection.execute(query.where(_L.c.deployment_id.in_(list(deployment_ids))))
            return {row[0]: (row[1], row[2]) for row in rows}

    def add(self, rows: Iterable[LogRow]) -> None:
        """Append lines; see `contract.LogStore.add`."""
        values = [{**msgspec.structs.asdict(row), "size_bytes": len(row.lines)} for row in rows]
        if values:
            with translated(f"writing to {self._source}"), self._writer.begin() as connection:
                connection.execute(insert(_L), values)

    def lines(self, deployment_id: str, *, after_no: int = 0, limit: int = 1000) -> list[LogRow]:
        """Return chunks of lines; see `contract.LogStore.lines`."""
        is_own, is_after = _L.c.deployment_id == deployment_id, _L.c.first_no + _L.c.line_count > after_no + 1
        # From the chunk that holds the next line on: a follower must not read the whole log each time.
        start = select(func.max(_L.c.first_no)).where(is_own, _L.c.first_no <= after_no + 1)
        is_from = _L.c.first_no >= func.coalesce(start.scalar_subquery(), 0)
        return self._until(_SELECT.where(is_own, is_from, is_after).order_by(_L.c.first_no), limit, after_no)

    def last_lines(self, deployment_id: str, *, limit: int) -> list[LogRow]:
        """Return the last chunks, in order; see `contract.LogStore.last_lines`."""
        query = _SELECT.where(_L.c.deployment_id == deployment_id).order_by(_L.c.first_no.desc())
        return self._until(query, limit)[::-1]

    def heads(self, deployment_ids: Collection[str]) -> dict[str, int]:
        """Return the first number of the last chunk of each; see `contract.LogStore.heads`."""
        query = select(_L.c.deployment_id, func.max(_L.c.first_no)).group_by(_L.c.deployment_id)
        with translated(f"reading {self._source}"), self._readers.begin() as connection:
            rows = connection.execute(query.where(_L.c.deployment_id.in_(list(deployment_ids))))
            return {row[0]: row[1] for row in rows}

    def _until(self, query: Select[Any], limit: int, after_no: int = 0) -> list[LogRow]:
        """Return rows until they hold so many lines after a number; each holds one at least."""
        found: list[LogRow] = []
        count = 0
        with translated(f"reading {self._source}"), self._readers.begin() as connection:
            for row in connection.execute(query.limit(limit)):
                found.append(LogRow(*row))
                count += found[-1].line_count - max(after_no + 1 - found[-1].first_no, 0)
                if count >= limit:
                    break
        return found

    def remove(self, deployment_id: str, *, limit: int) -> bool:
        """Delete some lines; see `contract.LogStore.remove`."""
        is_own = _L.c.deployment_id == deployment_id
        first = select(_L.c.first_no).where(is_own).order_by(_L.c.first_no).limit(limit)
        with translated(f"writing to {self._source}"), self._writer.begin() as connection:
            count = connection.execute(delete(_L).where(is_own, _L.c.first_no.in_(first))).rowcount
        return count >= limit

    def close(self) -> None:
        """Close every connection; see `contract.LogStore.close`."""
        self._readers.dispose()
        self._writer.dispose()


class SqlLog(LogTable):
    """A file of lines; see `contract.LogStore`. Commits are not synced: a power cut may take the last."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).absolute()
        sqlite.require_local(self.path)
        sqlite.create_private(self.path)
        writer = sqlite.writer_engine(self.path, synchronous="NORMAL")
        super().__init__(writer, sqlite.reader_engine(self.path), self.path.name)
        try:
            with translated(f"opening {self.path}"), self._writer.begin() as connection:
                steps = migrations.LOG_MIGRATIONS
                version = schema.LOG_SCHEMA_VERSION
                migrations.migrate(connection, schema.log_metadata, version, steps, str(self.path))
        except StorageError:
            self.close()
            raise
