"""The bytes of code packages, in a file of their own or on the server; see `task_contract.PackageStore`.

Apart from the database of deployments: an upload of 100 MB must not hold up a transition.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Engine, delete, insert, select

from reworker.errors import StorageError
from reworker.storage import migrations, schema, sqlite, task_schema
from reworker.storage.translating import translated

_P = task_schema.package_piece


class PackageTable:
    """The pieces as a table; see `task_contract.PackageStore`."""

    def __init__(self, writer: Engine, readers: Engine, source: str) -> None:
        self._writer, self._readers, self._source = writer, readers, source

    def add(self, package_id: str, number: int, data: bytes) -> None:
        """Store a piece; see `PackageStore.add`."""
        values = {"package_id": package_id, "number": number, "data": data}
        with translated(f"writing to {self._source}"), self._writer.begin() as connection:
            connection.execute(insert(_P), [values])

    def pieces(self, package_id: str) -> Iterator[bytes]:
        """Yield the pieces in order, one in memory at a time; see `PackageStore.pieces`."""
        number = 0
        while (piece := self._piece(package_id, number)) is not None:
            yield piece
            number += 1

    def _piece(self, package_id: str, number: int) -> bytes | None:
        query = select(_P.c.data).where(_P.c.package_id == package_id, _P.c.number == number)
        with translated(f"reading {self._source}"), self._readers.begin() as connection:
            found: bytes | None = connection.execute(query).scalar()
            return None if found is None else bytes(found)

    def ids(self, after: str, limit: int) -> list[str]:
        """Return the ids of packages; see `PackageStore.ids`."""
        query = select(_P.c.package_id).where(_P.c.package_id > after, _P.c.number == 0)
        with translated(f"reading {self._source}"), self._readers.begin() as connection:
            found = connection.execute(query.order_by(_P.c.package_id).limit(limit))
            return [row[0] for row in found]

    def remove(self, package_id: str) -> None:
        """Delete a package; see `PackageStore.remove`."""
        with translated(f"writing to {self._source}"), self._writer.begin() as connection:
            connection.execute(delete(_P).where(_P.c.package_id == package_id))

    def close(self) -> None:
        """Close every connection; see `PackageStore.close`."""
        self._readers.dispose()
        self._writer.dispose()


class SqlPackages(PackageTable):
    """A file of packages beside the database."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).absolute()
        sqlite.create_private(self.path)
        writer = sqlite.writer_engine(self.path, synchronous="FULL")
        super().__init__(writer, sqlite.reader_engine(self.path), self.path.name)
        try:
            with translated(f"opening {self.path}"), self._writer.begin() as connection:
                version = schema.PACKAGE_SCHEMA_VERSION
                migrations.migrate(connection, task_schema.package_metadata, version, (), str(self.path))
        except StorageError:
            self.close()
            raise
