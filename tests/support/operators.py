"""What operators look at: the endpoint of a process, and the socket of systemd."""

from __future__ import annotations

import json
import re
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from tests.support.processes import Process
from tests.support.waiting import wait_until

_ADDRESS = re.compile(r"health and metrics at (http://[\w.:\[\]]+\d)")


class Page(NamedTuple):
    """An answer of an endpoint."""

    status: int
    body: str

    @property
    def reasons(self) -> str:
        """Why it is not well, in words."""
        return "; ".join(json.loads(self.body)["reasons"])


class Endpoint:
    """The endpoint of a process that was started with ``--health 0``."""

    def __init__(self, process: Process) -> None:
        found = wait_until(lambda: _ADDRESS.search(process.output), 60.0, "the address of the endpoint")
        self.url = found[1]

    def get(self, path: str) -> Page:
        """Return an answer, good or bad."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=30) as answer:
                return Page(answer.status, answer.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return Page(error.code, error.read().decode())

    def wait_for(self, path: str, status: int, words: str = "", timeout_s: float = 60.0) -> None:
        """Wait for an answer of this status whose body has these words."""

        def is_so() -> bool:
            self.seen = self.get(path)
            return self.seen.status == status and words in self.seen.body

        try:
            wait_until(is_so, timeout_s)
        except TimeoutError:
            raise AssertionError(f"{path}: expected {status} {words!r}, saw {self.seen}") from None

    def figure(self, name: str, **labels: str) -> float | None:
        """Return the value of one line of the figures, or None when there is none."""
        for family in text_string_to_metric_families(self.get("/metrics").body):
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    return float(sample.value)
        return None


class FakeSystemd:
    """The socket that systemd would listen on; keeps every datagram."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self.words: list[str] = []

    def hear(self) -> list[str]:
        """Return everything that was told so far."""
        while True:
            try:
                self.words += self._listener.recv(65536).decode().split("\n")
            except BlockingIOError:
                return self.words

    def wait_for(self, word: str, count: int = 1, timeout_s: float = 60.0) -> None:
        """Wait until something that begins so was told so often."""

        def has_come() -> bool:
            return sum(one.startswith(word) for one in self.hear()) >= count

        wait_until(has_come, timeout_s, f"{count} times {word!r}; told so far: {self.words}")


@contextmanager
def fake_systemd(address: str) -> Iterator[FakeSystemd]:
    """Listen where ``NOTIFY_SOCKET`` says; ``@NAME`` is the abstract namespace."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        listener.setblocking(False)
        yield FakeSystemd(listener)


def json_lines(text: str) -> list[dict[str, Any]]:
    """Return the objects of a log in JSON."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]
