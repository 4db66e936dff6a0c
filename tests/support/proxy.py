"""A TCP proxy that plays the faults of a network: cuts, freezes, delays, refusals."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from types import TracebackType
from urllib.parse import urlsplit, urlunsplit

CHUNK_BYTES = 64 << 10
#: close with a reset instead of a goodbye.
_RESET = struct.pack("ii", 1, 0)


class Proxy:
    """Forwards connections of a free local port to a server; one thread per direction.

    Use as a context manager, or `close` it. ``delay_s`` (per chunk) and ``chunk_bytes``
    may be set at any time.

    Args:
        host: the server's host.
        port: the server's port.
    """

    def __init__(self, host: str, port: int) -> None:
        self.delay_s = 0.0
        self.chunk_bytes = CHUNK_BYTES
        self.accepted_count = 0
        self._server = (host, port)
        self._links: set[_Link] = set()
        self._guard = threading.Lock()
        self._is_closed = self._is_refusing = False
        self._up_gate, self._down_gate = threading.Event(), threading.Event()
        self.thaw()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, name=f"proxy {self.port}", daemon=True)
        self._thread.start()

    @classmethod
    def for_url(cls, url: str) -> Proxy:
        """Return a proxy before the server that a URL names."""
        parts = urlsplit(url)
        assert parts.hostname
        assert parts.port
        return cls(parts.hostname, parts.port)

    def url(self, url: str) -> str:
        """Return the URL with this proxy's address in place of the server's."""
        parts = urlsplit(url)
        login = f"{parts.username}:{parts.password}@" if parts.username else ""
        return urlunsplit(parts._replace(netloc=f"{login}127.0.0.1:{self.port}"))

    @property
    def link_count(self) -> int:
        """How many connections are open."""
        with self._guard:
            return len(self._links)

    def cut(self, *, is_reset: bool = False) -> int:
        """Close all connections, with a goodbye of TCP or with a reset; return how many there were."""
        with self._guard:
            links, self._links = self._links, set()
        for link in links:
            link.close(is_reset=is_reset)
        return len(links)

    def refuse(self) -> None:
        """Close new connections at once."""
        self._is_refusing = True

    def accept(self) -> None:
        """Take new connections again."""
        self._is_refusing = False

    def freeze(self, *, up: bool = True, down: bool = True) -> None:
        """Hold bytes back, to the server (`up`) and to the client (`down`); connections stay open."""
        if up:
            self._up_gate.clear()
        if down:
            self._down_gate.clear()

    def thaw(self) -> None:
        """Let bytes through again, those that were held back first."""
        self._up_gate.set()
        self._down_gate.set()

    def close(self) -> None:
        """Cut everything and stop listening; safe twice."""
        self._is_closed = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(30)
        self.thaw()
        self.cut()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _accept(self) -> None:
        while not self._is_closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.accepted_count += 1
            self._take(client)

    def _take(self, client: socket.socket) -> None:
        if self._is_refusing:
            client.close()
            return
        try:
            server = socket.create_connection(self._server, 30)
        except OSError:
            client.close()
            return
        server.settimeout(None)
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link = _Link(client, server)
        with self._guard:
            self._links.add(link)
        if self._is_refusing:  # since we have begun to take it
            link.close()
            return
        for source, target, gate in ((client, server, self._up_gate), (server, client, self._down_gate)):
            threading.Thread(target=self._pump, args=(link, source, target, gate), daemon=True).start()

    def _pump(self, link: _Link, source: socket.socket, target: socket.socket, gate: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(self.chunk_bytes):
                if self.delay_s:
                    time.sleep(self.delay_s)
                gate.wait()
                target.sendall(data)
        with self._guard:
            self._links.discard(link)
        link.close()


class _Link:
    """The two sockets of one connection."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self._sockets = (client, server)
        self._guard = threading.Lock()
        self._is_closed = False

    def close(self, *, is_reset: bool = False) -> None:
        """Close both; safe twice."""
        with self._guard:
            if self._is_closed:
                return
            self._is_closed = True
        for one in self._sockets:
            with contextlib.suppress(OSError):
                if is_reset:
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                # ends the thread that reads it, without which the socket stays open
                one.shutdown(socket.SHUT_RD if is_reset else socket.SHUT_RDWR)
            one.close()
