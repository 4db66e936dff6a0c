"""The deadline of an HTTP request holds from looking for the name on, whatever takes its time."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from reworker.errors import JobFailed
from reworker.jobs.http_call import http_call

TIMEOUT_S = 0.4


def call(url: str) -> None:
    http_call("GET", url, headers={}, body=None, timeout_s=TIMEOUT_S, limit_bytes=100)


@pytest.fixture
def deaf_port() -> Iterator[int]:
    """Give a port of 127.0.0.1 where no connection is taken and none refused: its queue is full."""
    with contextlib.ExitStack() as kept:
        listener = kept.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        place = listener.getsockname()
        for _ in range(3):
            client = kept.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(place)
        yield place[1]


def test_request_ends_in_time_when_none_of_its_addresses_answers(
    deaf_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", deaf_port))] * 100
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    begin_s = time.monotonic()
    with pytest.raises(JobFailed, match=r"^GET http://many: no answer within 0.4 s$"):
        call("http://many")
    assert time.monotonic() - begin_s < 25 * TIMEOUT_S, "it has not waited for each of them"


def test_request_ends_in_time_when_its_host_is_not_found_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    is_over = threading.Event()

    def never(*_: Any, **__: Any) -> list[Any]:
        is_over.wait(20)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", never)
    begin_s = time.monotonic()
    try:
        with pytest.raises(JobFailed, match=r"^GET http://slow: no answer within 0.4 s$"):
            call("http://slow")
        assert time.monotonic() - begin_s < 15
    finally:
        is_over.set()


def test_nothing_was_sent_when_the_server_is_silent_in_the_handshake() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(JobFailed, match=rf"^GET https://127\.0\.0\.1:{port}: no answer within 0.4 s$"):
            call(f"https://127.0.0.1:{port}")


def test_next_address_is_tried_when_the_first_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as refusing:
        refusing.bind(("127.0.0.1", 0))  # and does not listen
        places = [refusing.getsockname(), listener.getsockname()]
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", place) for place in places]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)

        def answer() -> None:
            with listener.accept()[0] as client:
                client.recv(10_000)
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nup")

        server = threading.Thread(target=answer)
        server.start()
        got = http_call("GET", "http://two", headers={}, body=None, timeout_s=20, limit_bytes=100)
        server.join()
    assert (got.status, got.body) == (200, b"up")


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 64 + ".example"])
def test_failure_names_the_host_when_it_cannot_be_found(host: str) -> None:
    with pytest.raises(JobFailed, match=f"cannot find {host}"):
        http_call("GET", f"http://{host}", headers={}, body=None, timeout_s=20, limit_bytes=100)
