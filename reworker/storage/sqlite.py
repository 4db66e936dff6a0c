"""How SQLite is opened: on a local disk, write-ahead log, one writer, readers beside it."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, QueuePool, create_engine, event

from reworker.clock import Clock
from reworker.errors import StorageError

#: seconds a writer waits for one of another process before it gives up.
BUSY_TIMEOUT_S = 5.0
#: connections for reading, shared by all threads.
READER_COUNT = 4
#: SQLite's page cache of one connection, KiB.
CACHE_KIB = 8192
#: seconds that a file system may give the same time to two writes, and a lot more.
#: Source: current_time() of Linux: a tick of the kernel, 10 ms at most.
TICK_S = 0.1
#: file systems that other machines write to: locks and the write-ahead log are not safe there.
#: Source: SQLite's documentation of WAL ("does not work over a network filesystem").
NETWORK_FILE_SYSTEMS = frozenset(
    {
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "ceph", "lustre", "glusterfs"),
        *("beegfs", "orangefs", "gpfs", "gfs2", "ocfs2", "davfs"),
        *("fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.s3fs", "fuse.davfs2", "fuse.smbnetfs"),
    }
)


def require_local(path: Path, mounts: str | None = None) -> None:
    """Refuse a database on a network file system.

    Args:
        path: the database file, which need not exist.
        mounts: text of ``/proc/self/mounts``; None reads it. Without one nothing is refused.

    Raises:
        StorageError: names the file system and what to do.
    """
    text = _mounts() if mounts is None else mounts
    kind = file_system_of(os.path.realpath(path), text)
    if kind in NETWORK_FILE_SYSTEMS:
        raise StorageError(
            f"{path} is on a network file system ({kind}), where SQLite loses data; use a local disk"
        )


def file_system_of(path: str, mounts: str) -> str:
    """Return the type of the file system that holds an absolute path, or an empty text.

    Args:
        path: absolute, links resolved.
        mounts: lines ``device mountpoint type options 0 0`` with octal escapes.
    """
    best, kind = "", ""
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = _unescaped(fields[1])
        is_inside = path == point or path.startswith(point.rstrip("/") + "/")
        if is_inside and len(point) >= len(best):
            best, kind = point, fields[2]
    return kind


def _mounts() -> str:
    try:
        return Path("/proc/self/mounts").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""


def _unescaped(text: str) -> str:
    return text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")


class Journal:
    """Tells for a tenth of a query whether a database may have changed: each commit writes to its log.

    One thread.

    Args:
        path: of the database file.
        clock: its monotonic part is used.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path, self._clock = f"{path}-wal", clock
        self._mark: tuple[int, int] | None = None
        self._since_mono_s, self._is_looked_at = 0.0, False

    def is_still(self) -> bool:
        """Tell that nothing was committed since a look that found no change either.

        A file that was written just now says nothing: the next commit may fall into the same tick.
        """
        now_mono_s = self._clock.mono_s()
        try:
            found = os.stat(self._path)
        except OSError:
            self._mark = None
            return False
        mark = found.st_mtime_ns, found.st_size
        if mark != self._mark:
            self._mark, self._since_mono_s, self._is_looked_at = mark, now_mono_s, False
            return False
        is_still, self._is_looked_at = self._is_looked_at, now_mono_s - self._since_mono_s > TICK_S
        return is_still


def writer_engine(path: Path, *, synchronous: str, busy_timeout_s: float = BUSY_TIMEOUT_S) -> Engine:
    """Return an engine of one connection whose transactions hold the write lock from their beginning.

    Args:
        path: the database file; created, readable by its owner only.
        synchronous: ``FULL`` syncs each commit to the disk, ``NORMAL`` leaves that to the checkpoint.
        busy_timeout_s: seconds to wait for a writer of another process.
    """
    pragmas = ("journal_mode = WAL", f"synchronous = {synchronous}")
    engine = _engine(path, 1, busy_timeout_s, pragmas)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    return engine


def reader_engine(path: Path, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> Engine:
    """Return an engine whose connections cannot write."""
    engine = _engine(path, READER_COUNT, busy_timeout_s, ("query_only = ON",))
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    return engine


def _engine(path: Path, size: int, busy_timeout_s: float, pragmas: tuple[str, ...]) -> Engine:
    engine = create_engine(
        f"sqlite:///{path}",
        poolclass=QueuePool,
        pool_size=size,
        max_overflow=0,
        pool_timeout=busy_timeout_s,
        connect_args={"check_same_thread": False, "timeout": busy_timeout_s},
    )

    def on_connect(connection: Any, _record: Any) -> None:
        # sqlite3 must not begin transactions by itself: the "begin" event says which kind.
        connection.isolation_level = None
        for pragma in (f"cache_size = -{CACHE_KIB}", "foreign_keys = ON", *pragmas):
            connection.execute(f"PRAGMA {pragma}")

    event.listen(engine, "connect", on_connect)
    return engine


def create_private(path: Path) -> None:
    """Create the file for its owner alone, if it is not there.

    One that is there is never opened: to close it would drop all locks that this process has on it, those of
    SQLite's other connections among them, and the next process to come would take it for unused.
    Source: SQLite's "How To Corrupt An SQLite Database File", on POSIX advisory locks.

    Raises:
        StorageError: its folder is missing, or it or its folder is closed to us.
    """
    place = os.path.realpath(path)
    reason = ""
    try:
        os.close(os.open(place, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        if os.path.isdir(place):
            reason = os.strerror(errno.EISDIR)
        elif not os.access(place, os.R_OK | os.W_OK):
            reason = os.strerror(errno.EACCES)
    except OSError as error:
        raise StorageError(f"cannot open the database {path}: {error.strerror or error}") from error
    if reason:
        raise StorageError(f"cannot open the database {path}: {reason}")
