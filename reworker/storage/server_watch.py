"""A connection to PostgreSQL that listens for writes of others and holds the name of a core."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

import psycopg

from reworker.errors import StorageError, StorageUnavailable
from reworker.storage.postgres_unit import ADVISORY_CLASS, advisory_key

#: channel on which writers other than cores say that they have written.
CHANNEL = "reworker"


class ServerWatch:
    """One connection, made when it is needed and again when it was lost; any thread.

    Args:
        connect: returns a connection in autocommit mode.
        token: what our own notifications say; they are not counted.
        name_wait_s: seconds to wait for a core's name: one that was killed may not be gone for the server.
    """

    def __init__(self, connect: Callable[[], psycopg.Connection], token: str, *, name_wait_s: float) -> None:
        self._connect, self._token, self._name_wait_s = connect, token, name_wait_s
        self._connection: psycopg.Connection | None = None
        self._names: list[str] = []
        self._lock = threading.Lock()

    def has_heard(self) -> bool:
        """Tell whether somebody has written since the last call; true when nobody listened for a while.

        Raises:
            StorageUnavailable: the server is away, or does not give a core its name back yet.
        """
        with self._lock:
            if self._connection is None:
                self._open()
                return True
            with self._translated(self._connection):
                heard = list(self._connection.notifies(timeout=0))
            return any(one.payload != self._token for one in heard)

    def lock(self, name: str) -> None:
        """Hold a core's name until `close`, also over a loss of the connection.

        Raises:
            StorageError: another core has it.
        """
        with self._lock:
            connection = self._connection or self._open()
            with self._translated(connection):
                is_granted = _has_waited_for(connection, name)
            if not is_granted:
                raise StorageError(
                    f"another core named {name!r} runs on this database; stop it, or give one another name "
                    "(REWORKER_CORE_NAME, or `name` in its settings)"
                )
            self._names.append(name)

    def close(self) -> None:
        """Close the connection. Safe twice."""
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                # The server drops the names of a closed connection, but a moment later.
                with contextlib.suppress(psycopg.Error):
                    connection.execute("SELECT pg_advisory_unlock_all()")
                connection.close()
            self._names.clear()

    def _open(self) -> psycopg.Connection:
        connection = self._connect()
        with self._translated(connection):
            connection.execute(f"LISTEN {CHANNEL}")
            connection.execute(f"SET lock_timeout = '{self._name_wait_s * 1000:.0f}ms'")
        for name in self._names:
            # The server may not have noticed yet that our connection before is gone.
            with self._translated(connection):
                is_granted = _is_granted(connection, name)
            if not is_granted:
                connection.close()
                raise StorageUnavailable(f"another connection still holds the name of core {name!r}")
        self._connection = connection
        return connection

    @contextlib.contextmanager
    def _translated(self, connection: psycopg.Connection) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            connection.close()
            self._connection = None
            reason = " ".join(str(error).split())
            raise StorageUnavailable(f"watching the database: {reason}") from error


def _is_granted(connection: psycopg.Connection, name: str) -> bool:
    row = connection.execute("SELECT pg_try_advisory_lock(%s, %s)", _key_of(name)).fetchone()
    return bool(row and row[0])


def _has_waited_for(connection: psycopg.Connection, name: str) -> bool:
    try:
        connection.execute("SELECT pg_advisory_lock(%s, %s)", _key_of(name))
    except psycopg.errors.LockNotAvailable:
        return False
    return True


def _key_of(name: str) -> tuple[int, int]:
    return ADVISORY_CLASS, advisory_key(f"core {name}")
