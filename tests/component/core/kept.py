"""Open databases that worlds use one after the other: to open and close them takes half of a short test."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from sqlalchemy import Engine

from reworker.storage.log import SqlLog, log_path
from reworker.storage.sql import packages_path
from tests.component.core.kit import FusedStorage, Lent, World, fresh_database, fresh_packages

AnyWorld = TypeVar("AnyWorld", bound=World)


@cache
def _templates() -> tuple[sqlite3.Connection, ...]:
    """Return a fresh database, its log and its packages, in memory."""
    return tuple(map(_in_memory, (*fresh_database(), fresh_packages())))


def _in_memory(data: bytes) -> sqlite3.Connection:
    with TemporaryDirectory() as name:
        path = Path(name) / "x.db"
        path.write_bytes(data)
        source, made = sqlite3.connect(path), sqlite3.connect(":memory:", check_same_thread=False)
        source.backup(made)
        source.close()
    return made


class Kept:
    """Lends databases that are as new, and takes back those that nobody has closed or left at work.

    Args:
        folder: for the files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._idle: list[Lent] = []
        self._made_count = 0

    def lend(self) -> Lent:
        """Give one that holds what a fresh one does."""
        if not self._idle:
            return self._made()
        found = self._idle.pop()
        for template, (writer, _) in zip(_templates(), _engines(found), strict=True):
            raw = writer.raw_connection()
            try:
                assert raw.driver_connection is not None
                template.backup(raw.driver_connection)
            finally:
                raw.close()
        found.storage._data_version = None
        return found

    def _made(self) -> Lent:
        self._made_count += 1
        folder = self._folder / f"kept-{self._made_count}"
        folder.mkdir()
        path = folder / "core.db"
        paths = path, log_path(path), packages_path(path)
        for one, data in zip(paths, (*fresh_database(), fresh_packages()), strict=True):
            one.write_bytes(data)
        return Lent(path, FusedStorage(path), SqlLog(log_path(path)))

    def take_back(self, lent: Lent) -> None:
        """Take one back; it is closed when a query is under way, as a failed test may leave it."""
        while lent.storage._lock_files:
            lent.storage._lock_files.pop().close()
        pools = [engine.pool for pair in _engines(lent) for engine in pair]
        if any(one.checkedout() for one in pools):  # type: ignore[attr-defined]  # of the kind `QueuePool`
            lent.close()
        else:
            self._idle.append(lent)

    def close(self) -> None:
        """Close all of them."""
        while self._idle:
            self._idle.pop().close()


def borrowed(kept: Kept, kind: type[AnyWorld]) -> Iterator[AnyWorld]:
    """Give a world of this kind with a core that runs."""
    made = kind(kept.lend())
    made.start()
    yield made
    found = made.give_back()
    if found is not None:
        kept.take_back(found)


def _engines(lent: Lent) -> list[tuple[Engine, Engine]]:
    """Return writer and readers of the three files."""
    stores = (lent.storage, lent.logs, lent.storage.packages)
    return [(one._writer, one._readers) for one in stores]
