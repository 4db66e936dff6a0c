"""The endpoint against clients that send anything: it answers the next one, and costs the process nothing."""

from __future__ import annotations

import contextlib
import resource
import select
import socket
import threading
from collections.abc import Iterator

import pytest

from reworker.host.endpoint import CONNECTION_COUNT, EXCHANGE_S, EXHAUSTED_PAUSE_S, REQUEST_BYTES, Endpoint
from reworker.host.health import Report
from reworker.testing import FakeClock
from tests.support.waiting import wait_until


class State:
    """What the endpoint is to tell; may fail."""

    def __init__(self) -> None:
        self.report = Report("worker w", state="consuming")
        self.error: Exception | None = None

    def __call__(self) -> Report:
        if self.error is not None:
            raise self.error
        return self.report


@pytest.fixture
def state() -> State:
    return State()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def port(state: State, clock: FakeClock) -> Iterator[int]:
    with Endpoint("0", state, clock=clock) as endpoint:
        yield int(endpoint.url.rpartition(":")[2])


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def answer(port: int, request: bytes) -> bytes:
    """Send a request and return all that comes; nothing when the connection is reset."""
    received = b""
    with connected(port) as client:
        try:
            client.sendall(request)
            while part := client.recv(65536):
                received += part
        except ConnectionError:
            pass
    return received


def status(port: int, request: bytes) -> int:
    words = answer(port, request).split(b" ", 2)
    return int(words[1]) if len(words) > 1 else 0


GOOD = b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (GOOD, 200),
        (b"GET /readyz?x=1 HTTP/1.0\r\n\r\n", 200),
        (b"GET /metrics HTTP/1.1\r\n\r\n", 200),
        (b"GET / HTTP/1.1\r\n\r\n", 404),
        (b"GET /../etc/passwd HTTP/1.1\r\n\r\n", 404),
        (b"POST /readyz HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", 405),
        (b"BREW /readyz HTTP/1.1\r\n\r\n", 405),
        (b"GET /readyz\r\n\r\n", 400),
        (b"GET /readyz HTTP/2.0\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
        (b"\x00" * 500 + b"\r\n\r\n", 400),
        (b"\xff\xfe \xff HTTP/1.1\r\n\r\n", 405),
        (b"GET /readyz HTTP/1.1\r\nX: " + b"x" * (100 * REQUEST_BYTES) + b"\r\n\r\n", 431),
        (b"GET /" + b"x" * (100 * REQUEST_BYTES), 431),
        (GOOD * 1000, 200),
    ],
)
def test_anything_that_a_client_sends_is_answered_or_refused(
    port: int, request_: bytes, expected: int
) -> None:
    assert status(port, request_) == expected
    assert status(port, GOOD) == 200


def test_head_has_no_body(port: int) -> None:
    head, _, body = answer(port, b"HEAD /readyz HTTP/1.1\r\n\r\n").partition(b"\r\n\r\n")
    assert (head[:15], body) == (b"HTTP/1.1 200 OK", b"")


def test_reasons_are_told_whatever_they_hold(port: int, state: State) -> None:
    state.report = Report("w", state="consuming", dead=('it is "deaf"\r\nX-Evil: 1',))
    assert answer(port, b"GET /healthz HTTP/1.1\r\n\r\n").count(b"\r\nX-Evil") == 0
    assert (status(port, b"GET /healthz HTTP/1.1\r\n\r\n"), status(port, GOOD)) == (503, 503)


def test_state_that_cannot_be_told_is_an_error_and_no_end(port: int, state: State) -> None:
    state.error = ZeroDivisionError("x")
    assert status(port, GOOD) == 500
    state.error = None
    assert status(port, GOOD) == 200


def test_slow_clients_keep_nobody_waiting(port: int) -> None:
    slow = [connected(port) for _ in range(CONNECTION_COUNT - 1)]
    for client in slow:
        client.sendall(b"GET /readyz HTTP/1.1\r\nX: ")
    assert status(port, GOOD) == 200
    for client in slow:
        client.close()


def test_clients_above_the_bound_are_let_go_and_the_rest_in_time(port: int, clock: FakeClock) -> None:
    slow = [connected(port) for _ in range(CONNECTION_COUNT)]
    wait_until(lambda: status(port, GOOD) == 0, 20, "the first that is too many")
    for client in slow[:2]:
        client.close()
    wait_until(lambda: status(port, GOOD) == 200, 20, "room again")
    clock.advance(EXCHANGE_S + 0.1)
    assert slow[-1].recv(1) == b"", "a client that says nothing has had its time"
    for client in slow:
        client.close()


def test_clients_that_go_at_any_moment_cost_nothing(port: int) -> None:
    for length in range(0, len(GOOD) + 1, 3):
        with connected(port) as client:
            client.sendall(GOOD[:length])
    assert status(port, GOOD) == 200


def test_close_ends_its_thread_and_is_safe_twice(state: State) -> None:
    Endpoint("0", state).close()
    endpoint = Endpoint("0", state)
    endpoint.start()
    with connected(int(endpoint.url.rpartition(":")[2])):
        endpoint.close()
        endpoint.close()
    assert "health" not in {one.name for one in threading.enumerate()}


def test_address_of_another_family_is_answered(state: State) -> None:
    with Endpoint("[::1]:0", state) as endpoint:
        port = int(endpoint.url.rpartition(":")[2])
        assert endpoint.url.startswith("http://[::1]:")
        with socket.create_connection(("::1", port), timeout=20) as client:
            client.sendall(GOOD)
            assert client.recv(12) == b"HTTP/1.1 200"


@contextlib.contextmanager
def no_more_descriptors() -> Iterator[None]:
    """Let this process open nothing more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_clients_wait_without_a_spin_when_the_process_is_out_of_descriptors(
    port: int, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    def complaints() -> int:
        return caplog.text.count("cannot take a connection, trying on: [Errno 24]")

    assert status(port, GOOD) == 200  # what it needs for itself, it has
    with socket.socket() as client:
        client.settimeout(20)
        with no_more_descriptors():
            client.connect(("127.0.0.1", port))
            client.sendall(GOOD)
            wait_until(complaints, 20, "a client that cannot be taken")
        assert not select.select([client], [], [], 0.3)[0], "it looked again before the pause was over"
        clock.advance(EXHAUSTED_PAUSE_S)
        assert client.recv(12) == b"HTTP/1.1 200"
    assert complaints() == 1
