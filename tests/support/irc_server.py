"""A small IRC server for tests: registers, joins, keeps what is said, and misbehaves when told to."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import ssl
import threading
import time
from typing import NamedTuple

from tests.support.ports import free_port


class Said(NamedTuple):
    """One PRIVMSG, with the line as it came."""

    nick: str
    target: str
    text: str
    line: bytes
    at_mono_s: float


class IrcServer:
    """Listens on a free port of localhost while it is entered.

    Args:
        tls: speak only TLS.
        password: wanted with PASS; empty is none.
    """

    def __init__(self, tls: ssl.SSLContext | None = None, password: str = "") -> None:
        self.port = free_port()
        self.said: list[Said] = []
        self.lines: list[str] = []
        self.taken_nicks: set[str] = set()
        #: keys of channels, and numbered answers to a JOIN of one or to a PRIVMSG to one.
        self.keys: dict[str, str] = {}
        self.join_errors: dict[str, str] = {}
        self.say_errors: dict[str, str] = {}
        self.is_mute = False
        #: PINGs that a client gets for each of its PRIVMSG.
        self.pings_per_said = 0
        self.clients: list[Client] = []
        self._tls, self.password = tls, password
        outer = self

        class Visit(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                outer._serve(self.request)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", self.port), Visit)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> IrcServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self.drop_all()
        self._server.server_close()
        self._thread.join()

    def drop_all(self) -> None:
        """Close all connections."""
        while self.clients:
            self.clients.pop().drop()

    def say_to_all(self, line: str) -> None:
        """Send a line to every client."""
        for client in list(self.clients):
            client.send(line)

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            spoken = self._tls.wrap_socket(connection, server_side=True) if self._tls else connection
            client = Client(self, spoken)
            self.clients.append(client)
            with spoken, spoken.makefile("rb") as file:
                for line in file:
                    client.on_line(line)


class Client:
    """One connection of the server."""

    def __init__(self, server: IrcServer, connection: socket.socket) -> None:
        self._server, self._socket = server, connection
        self.nick = self._password = ""
        self._has_user = self.is_registered = False
        self.channels: set[str] = set()

    def drop(self) -> None:
        """Close the connection."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def send(self, line: str) -> None:
        """Send a line."""
        with contextlib.suppress(OSError):
            self._socket.sendall(f"{line}\r\n".encode())

    def on_line(self, line: bytes) -> None:
        """Do what a client says."""
        text = line.decode().rstrip("\r\n")
        self._server.lines.append(text)
        if self._server.is_mute:
            return
        command, _, rest = text.partition(" ")
        middle, _, trailing = rest.partition(":") if " :" in f" {rest}" else (rest, "", "")
        words = [*middle.split(), *([trailing] if trailing else [])]
        action = getattr(self, f"_on_{command.lower()}", None)
        if action is not None:
            action(words, line)

    def _on_pass(self, words: list[str], _line: bytes) -> None:
        self._password = words[0]

    def _on_nick(self, words: list[str], _line: bytes) -> None:
        if words[0] in self._server.taken_nicks:
            self.send(f":irc.test 433 * {words[0]} :Nickname is already in use")
            return
        self.nick = words[0]
        self._welcome()

    def _on_user(self, _words: list[str], _line: bytes) -> None:
        self._has_user = True
        self._welcome()

    def _welcome(self) -> None:
        if not self.nick or not self._has_user or self.is_registered:
            return
        if self._password != self._server.password:
            self.send(f":irc.test 464 {self.nick} :Password incorrect")
            self.drop()
            return
        self.is_registered = True
        self.send("PING :before")  # as real servers do
        self.send(f":irc.test 001 {self.nick} :Welcome {self.nick}!u@h")
        self.send(f":irc.test 372 {self.nick} :- message of the day")

    def _on_ping(self, words: list[str], _line: bytes) -> None:
        self.send(f":irc.test PONG irc.test :{words[0]}")

    def _on_join(self, words: list[str], _line: bytes) -> None:
        channel, key = words[0], (words[1] if len(words) > 1 else "")
        error = self._server.join_errors.get(channel, "")
        if self._server.keys.get(channel, key) != key:
            error = f"475 {self.nick} {channel} :Cannot join channel (+k)"
        if error:
            self.send(f":irc.test {error}")
            return
        self.channels.add(channel)
        self.send(f":{self.nick}!u@h JOIN :{channel}")

    def _on_privmsg(self, words: list[str], line: bytes) -> None:
        if words[0] in self._server.say_errors:
            self.send(f":irc.test {self._server.say_errors[words[0]]}")
            return
        self._server.said.append(Said(self.nick, words[0], words[-1], line, time.monotonic()))
        for _ in range(self._server.pings_per_said):
            self.send("PING :are you there")

    def _on_quit(self, _words: list[str], _line: bytes) -> None:
        self.send("ERROR :Closing link")
        self.drop()
