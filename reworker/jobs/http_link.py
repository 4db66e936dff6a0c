"""The connection of one HTTP request: name, TCP and TLS together have one deadline, as all that follows."""

from __future__ import annotations

import contextlib
import queue
import socket
import ssl
import threading
from collections.abc import Sequence
from typing import Any

from reworker.clock import Clock, SystemClock


class Deadline:
    """Cuts a connection when the time for all of a request is up: each single wait may be shorter.

    A context: the time runs from its beginning, and nothing is cut after its end.
    """

    def __init__(self, timeout_s: float, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._end_mono_s = self._clock.mono_s() + timeout_s
        self._socket: socket.socket | None = None
        self._is_fired = False
        self._timer = threading.Timer(timeout_s, self._cut)
        self._timer.daemon = True

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def watch(self, open_socket: socket.socket) -> None:
        """From here on, this is what to cut; the HTTP connection itself forgets its socket too early.

        Raises:
            TimeoutError: the time is up already.
        """
        self._socket = open_socket
        self.check()

    def check(self) -> None:
        """Raise when the time is up: an answer that was cut short may look like a whole one.

        Raises:
            TimeoutError: it is.
        """
        if self._is_fired:
            raise TimeoutError

    def left_s(self) -> float:
        """Return the seconds that are left.

        Raises:
            TimeoutError: there are none.
        """
        left_s = self._end_mono_s - self._clock.mono_s()
        if left_s <= 0:
            raise TimeoutError
        return left_s

    def is_over(self, error: Exception) -> bool:
        """Tell whether an error came because the time was up."""
        return self._is_fired or isinstance(error, TimeoutError)

    def _cut(self) -> None:
        self._is_fired = True
        if self._socket is not None:
            with contextlib.suppress(OSError):
                # Not the method of a TLS socket, which takes away what the other thread uses just now.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


def opened(host: str, port: int, deadline: Deadline, tls: ssl.SSLContext | None) -> socket.socket:
    """Return a connection, with TLS unless that is None; the deadline watches it.

    Raises:
        OSError: it cannot be made, or is not trusted; TimeoutError when the time is up.
    """
    link = _connected(_addresses_of(host, port, deadline), deadline)
    try:
        if tls is not None:
            link = tls.wrap_socket(link, server_hostname=host, do_handshake_on_connect=False)
            deadline.watch(link)
            link.settimeout(deadline.left_s())
            link.do_handshake()
        link.settimeout(deadline.left_s())
    except BaseException:
        link.close()
        raise
    return link


def _addresses_of(host: str, port: int, deadline: Deadline) -> Sequence[Any]:
    """Return what `getaddrinfo` finds. It cannot be stopped, so that another thread waits for it."""
    answers: queue.SimpleQueue[Sequence[Any] | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            answers.put(error)

    threading.Thread(target=ask, name=f"look for {host}", daemon=True).start()
    try:
        answer = answers.get(timeout=deadline.left_s())
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(answer, Exception):
        raise OSError(f"cannot find {host}: {answer}") from answer
    return answer


def _connected(addresses: Sequence[Any], deadline: Deadline) -> socket.socket:
    """Connect to the first address that answers; each gets its share of the time that is left."""
    problem = OSError("it has no address")
    for index, (family, kind, protocol, _, address) in enumerate(addresses):
        link = socket.socket(family, kind, protocol)
        try:
            deadline.watch(link)
            link.settimeout(deadline.left_s() / (len(addresses) - index))
            link.connect(address)
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return link
        except OSError as error:
            problem = error
            link.close()
        except BaseException:
            link.close()
            raise
    raise problem
