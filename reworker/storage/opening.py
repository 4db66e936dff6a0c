"""Which database a text names: a file, or one on a server."""

from __future__ import annotations

from reworker.errors import ConfigError
from reworker.storage.contract import LogStore, Storage
from reworker.storage.log import SqlLog, log_path
from reworker.storage.server_url import is_server
from reworker.storage.sql import SqlStorage, path_of


def open_storage(db: str) -> Storage:
    """Open the database of a file path, ``sqlite:///path`` or ``postgresql://user:password@host/database``.

    Raises:
        StorageError: another kind of database, or it cannot be opened.
        ConfigError: the URL is wrong, or the driver for the server is not installed.
    """
    if not is_server(db):
        return SqlStorage(path_of(db))
    try:
        from reworker.storage.postgres import PostgresStorage
    except ImportError as error:
        reason = f"PostgreSQL needs the driver psycopg ({error}): install reworker[server]"
        raise ConfigError(reason, key="--db") from error
    return PostgresStorage(db)


def open_logs(db: str) -> LogStore:
    """Open the lines of output that belong to a database, which is open; errors as of `open_storage`."""
    if not is_server(db):
        return SqlLog(log_path(path_of(db)))
    from reworker.storage.postgres import PostgresLog

    return PostgresLog(db)
