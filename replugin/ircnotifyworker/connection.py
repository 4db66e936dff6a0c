"""One connection to an IRC server: registers, joins, says, answers PING; knows nothing of jobs."""

from __future__ import annotations

import contextlib
import itertools
import re
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from replugin.ircnotifyworker.settings import CHANNEL, IrcSettings
from reworker.errors import JobFailed

#: bytes of one line with its end. Source: RFC 2812.
LINE_BYTES = 512
#: seconds that the reader may take to end.
CLOSE_S = 2.0
#: other nicks that are tried when ours is taken.
NICK_TRIES = 4
#: answers of a server: our nick is taken; it does not want us; it does not want this in that channel.
NICK_TAKEN = frozenset({"433", "436", "437"})
UNWANTED = frozenset({"432", "464", "465", "ERROR"})
NOT_THERE = frozenset({"401", "403", "404", "405", "407", "471", "473", "474", "475", "476", "477"})
_LINE = re.compile(
    r"(?::(?P<prefix>\S+) +)?(?P<command>\S+)(?P<middle>(?: +[^: ]\S*)*)(?: +:(?P<text>.*))? *"
)


class Line(NamedTuple):
    """One line of a server."""

    nick: str
    command: str
    words: list[str]


class IrcConnection:
    """A connection that has been made, with its nick; not used again once it is lost.

    Threads: one of its own reads and answers PING; `tell` belongs to the worker's thread.
    End of life: `close`, or the server's end of it; then everything raises OSError.

    Raises:
        OSError: no server, no trust, or the server does not want us.
    """

    def __init__(self, settings: IrcSettings, tls: ssl.SSLContext) -> None:
        self._settings, self._keys = settings, settings.keys()
        self._news, self._writing = threading.Condition(), threading.Lock()
        self._joined: set[str] = set()
        self._pongs: set[str] = set()
        self._refusals: dict[str, str] = {}
        self._numbers = itertools.count(1)
        self._nick, self._nick_tries, self._is_welcome, self._end = settings.nick, 0, False, ""
        self._due_mono_s = 0.0
        address = (settings.host, settings.port_or_default())
        connected = socket.create_connection(address, settings.server_timeout_s)
        try:
            self._socket = (
                tls.wrap_socket(connected, server_hostname=settings.host) if settings.tls else connected
            )
        except BaseException:
            connected.close()
            raise
        self._socket.setblocking(False)
        self._reader = threading.Thread(target=self._read, name="irc", daemon=True)
        self._reader.start()
        try:
            self._register()
        except BaseException:
            self.close()
            raise

    @property
    def is_open(self) -> bool:
        """Whether it has not been lost yet, as far as one can know."""
        return not self._end

    def tell(self, target: str, texts: list[str]) -> None:
        """Say lines to a channel, which is joined if need be, or to a person; wait until the server has them.

        Raises:
            JobFailed: the server does not let us.
            OSError: the connection is lost.
        """
        self._refusals.pop(target.lower(), None)
        if CHANNEL.fullmatch(target):
            self._join(target)
        for text in texts:
            self._send(f"PRIVMSG {target} :{text}")
        token = f"reworker-{next(self._numbers)}"
        self._send(f"PING :{token}", is_paced=False)
        self._wait(lambda: token in self._pongs)
        self._check(target)

    def close(self) -> None:
        """Say goodbye and end it. Safe twice."""
        with contextlib.suppress(OSError):
            self._write(b"QUIT\r\n")
        self._lost("it was closed")
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._reader.join(CLOSE_S)
        self._socket.close()

    def _register(self) -> None:
        if self._settings.password is not None:
            self._send(f"PASS :{self._settings.password}", is_paced=False)
        self._send(f"NICK {self._nick}", is_paced=False)
        self._send("USER reworker 0 * :reworker", is_paced=False)
        self._wait(lambda: self._is_welcome)

    def _join(self, channel: str) -> None:
        name = channel.lower()
        if name not in self._joined:
            self._send(f"JOIN {channel} {self._keys.get(name, '')}".rstrip())
            self._wait(lambda: name in self._joined or name in self._refusals)
        self._check(channel)

    def _check(self, target: str) -> None:
        refusal = self._refusals.get(target.lower())
        if refusal is not None:
            raise JobFailed(f"the server says: {refusal}")

    def _wait(self, is_done: Callable[[], bool]) -> None:
        with self._news:
            if not self._news.wait_for(lambda: is_done() or self._end, self._settings.server_timeout_s):
                raise TimeoutError(f"no answer within {self._settings.server_timeout_s:g} s")
            if not is_done():
                raise ConnectionError(self._end)

    def _send(self, line: str, *, is_paced: bool = True) -> None:
        if is_paced:
            self._pace()
        self._write(f"{line}\r\n".encode(errors="replace"))

    def _pace(self) -> None:
        """Flood control: some lines at once, then one after each pause."""
        pause_s = self._settings.line_pause_s
        self._due_mono_s = max(self._due_mono_s, time.monotonic()) + pause_s
        wait_s = self._due_mono_s - time.monotonic() - self._settings.burst_lines * pause_s
        if wait_s > 0:
            with self._news:
                self._news.wait_for(lambda: bool(self._end), wait_s)

    def _write(self, data: bytes) -> None:
        """Any thread. With TLS nobody may read while another writes: both take turns, and neither waits."""
        if self._end:
            raise ConnectionError(self._end)
        deadline_mono_s = time.monotonic() + self._settings.server_timeout_s
        while data:
            with (
                self._writing,
                contextlib.suppress(BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError),
            ):
                data = data[self._socket.send(data) :]
            if data and not _is_ready(self._socket, select.POLLOUT, deadline_mono_s - time.monotonic()):
                raise TimeoutError("the server takes nothing")

    def _read(self) -> None:
        """On the reader's thread: until the connection is lost."""
        try:
            for line in self._lines():
                self._on_line(line)
            self._lost("the server has closed the connection")
        except (OSError, ValueError) as error:  # ValueError: it was closed here
            self._lost(f"the connection is lost: {error}")

    def _lines(self) -> Iterator[Line]:
        rest = b""
        while True:
            with self._writing:
                data = self._received()
            if data is None:
                _is_ready(self._socket, select.POLLIN, None)
                continue
            if not data:
                return
            *whole, rest = (rest + data).split(b"\n")
            rest = rest[-LINE_BYTES * 16 :]  # a line without an end
            yield from (found for one in whole if (found := parsed(one.decode(errors="replace"))))

    def _received(self) -> bytes | None:
        try:
            return self._socket.recv(4096)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None

    def _on_line(self, line: Line) -> None:
        """Note what a line says, and answer what must be answered."""
        if line.command == "PING":
            self._send(f"PONG :{line.words[-1] if line.words else ''}", is_paced=False)
        elif line.command in NICK_TAKEN and not self._is_welcome:
            self._take_other_nick(line)
        elif line.command in UNWANTED:
            self._lost(f"the server says: {' '.join(line.words)[:200]}")
        else:
            self._note(line)

    def _note(self, line: Line) -> None:
        words, is_ours = line.words, line.nick.lower() == self._nick.lower()
        with self._news:
            match line.command:
                case "001":
                    self._nick, self._is_welcome = (words or [self._nick])[0], True
                case "NICK" if words and is_ours:
                    self._nick = words[0]
                case "PONG" if words:
                    self._pongs = {words[-1]}
                case "JOIN" if words and is_ours:
                    self._joined.add(words[0].lower())
                case "PART" if words and is_ours:
                    self._joined.discard(words[0].lower())
                case "KICK" if len(words) > 1 and words[1].lower() == self._nick.lower():
                    self._joined.discard(words[0].lower())
                case number if number in NOT_THERE and len(words) > 1:
                    self._refusals[words[1].lower()] = " ".join(words[2:])[:200]
            self._news.notify_all()

    def _take_other_nick(self, line: Line) -> None:
        self._nick_tries += 1
        if self._nick_tries > NICK_TRIES:
            self._lost(f"the server says: {' '.join(line.words)[:200]}")
            return
        self._nick = f"{self._settings.nick[:26]}{'_' * self._nick_tries}"
        self._send(f"NICK {self._nick}", is_paced=False)

    def _lost(self, why: str) -> None:
        with self._news:
            self._end = self._end or why
            self._news.notify_all()


def parsed(text: str) -> Line | None:
    """Return a line of a server, or None when it is none."""
    found = _LINE.fullmatch(text.rstrip("\r"))
    if found is None:
        return None
    words = [*found["middle"].split(), *([] if found["text"] is None else [found["text"]])]
    return Line((found["prefix"] or "").partition("!")[0], found["command"].upper(), words)


def _is_ready(one: socket.socket, event: int, timeout_s: float | None) -> bool:
    poll = select.poll()
    poll.register(one, event)
    return bool(poll.poll(None if timeout_s is None else max(0.0, timeout_s * 1000)))
