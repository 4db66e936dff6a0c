"""A proxy in front of PostgreSQL that cuts a connection at its COMMIT: before the server has it, or after."""

from __future__ import annotations

import contextlib
import enum
import itertools
import socket
import threading
from collections.abc import Iterable
from typing import Self
from urllib.parse import urlsplit, urlunsplit

CHUNK_BYTES = 64 << 10
#: what a client sends to commit, and how the server says that no transaction is open (any more).
#: Source: PostgreSQL 15, 55.7: Query ('Q', length, text) and ReadyForQuery ('Z', length, status).
COMMIT, IDLE = b"Q\x00\x00\x00\x0bCOMMIT\x00", b"Z\x00\x00\x00\x05I"
#: what the rows that a core writes begin with; outside of a transaction they are one.
ROWS = b'[{"'


class Cut(enum.Enum):
    """When the connection goes."""

    #: the server never sees the COMMIT.
    BEFORE = "before"
    #: the server has committed; the client never hears of it.
    AFTER = "after"


class _State:
    """What is known of one connection."""

    def __init__(self) -> None:
        #: no transaction is open.
        self.is_idle = threading.Event()
        #: a COMMIT is under way whose answer the client must not hear.
        self.is_doomed = threading.Event()


class CommitProxy:
    """Forwards connections of a free local port. Use as a context manager.

    Args:
        url: of a database on a server.
    """

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: set[socket.socket] = set()
        self._guard = threading.Lock()
        self._cuts: Iterable[Cut | None] = itertools.repeat(None)
        #: how often each kind has struck.
        self.cut_counts = dict.fromkeys(Cut, 0)
        self._thread = threading.Thread(target=self._accept, name="commit proxy", daemon=True)

    @property
    def url(self) -> str:
        """The database's URL with our address in it."""
        login, _, _ = self._parts.netloc.rpartition("@")
        port = self._listener.getsockname()[1]
        return urlunsplit(self._parts._replace(netloc=f"{login}@127.0.0.1:{port}"))

    def cut(self, every: int) -> None:
        """Cut at every so-many-th COMMIT from now on, before and after it in turn."""
        pause: list[Cut | None] = [None] * (every - 1)
        with self._guard:
            self._cuts = itertools.cycle([*pause, Cut.BEFORE, *pause, Cut.AFTER])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        with self._guard:
            left = list(self._sockets)
        for one in left:
            close(one)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError):
                server = socket.create_connection((self._parts.hostname, self._parts.port or 5432), 5)
                server.settimeout(None)
                self._join(client, server)
                continue
            client.close()

    def _join(self, client: socket.socket, server: socket.socket) -> None:
        with self._guard:
            self._sockets |= {client, server}
        state = _State()
        for pump in (self._up, self._down):
            threading.Thread(target=pump, args=(client, server, state), daemon=True).start()

    def _up(self, client: socket.socket, server: socket.socket, state: _State) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(CHUNK_BYTES):
                is_commit = data.endswith(COMMIT) or (state.is_idle.is_set() and ROWS in data)
                cut = self._next_cut() if is_commit else None
                if cut is Cut.BEFORE:
                    break
                if cut is Cut.AFTER:
                    state.is_doomed.set()
                state.is_idle.clear()
                server.sendall(data)
        self._close(client, server)

    def _down(self, client: socket.socket, server: socket.socket, state: _State) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(CHUNK_BYTES):
                is_idle = data.endswith(IDLE)
                if is_idle and state.is_doomed.is_set():
                    break
                if is_idle:
                    state.is_idle.set()
                client.sendall(data)
        self._close(client, server)

    def _next_cut(self) -> Cut | None:
        with self._guard:
            cut = next(iter(self._cuts))
            if cut is not None:
                self.cut_counts[cut] += 1
        return cut

    def _close(self, *ends: socket.socket) -> None:
        with self._guard:
            self._sockets.difference_update(ends)
        for one in ends:
            close(one)


def close(end: socket.socket) -> None:
    """Close a socket that another thread may be reading."""
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
