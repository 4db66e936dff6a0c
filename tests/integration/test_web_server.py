"""The HTTP server against clients that are slow, say too much, or do not speak HTTP."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from reworker.errors import ConfigError
from reworker.web.server import WebServer
from reworker.web.settings import WebSettings
from tests.support.certificates import make_certificate
from tests.support.waiting import wait_until

HEAD_S = 0.5


async def _echo(request: Request) -> Response:
    return PlainTextResponse(await request.body())


async def _refuse(_: Request) -> Response:
    return PlainTextResponse("no", 401)


@pytest.fixture
def server() -> Iterator[WebServer]:
    """Serve an application that says what it was told, or refuses it; heads may take half a second."""
    routes = [Route("/", _echo, methods=["GET", "POST"]), Route("/no", _refuse, methods=["POST"])]
    app = Starlette(routes=routes)
    with WebServer(app, WebSettings(port=0), head_s=HEAD_S) as made:
        yield made


def client(server: WebServer) -> socket.socket:
    parts = urlsplit(server.url)
    made = socket.create_connection((parts.hostname, parts.port), 30)
    made.settimeout(30)
    return made


def read_until(one: socket.socket, end: bytes) -> bytes:
    found = b""
    while not found.endswith(end):
        found += (more := one.recv(1000))
        assert more, f"it ended with {found!r}"
    return found


def test_connection_is_closed_when_no_request_comes(server: WebServer) -> None:
    with client(server) as silent:
        assert silent.recv(1) == b""


def test_connection_is_closed_when_a_head_never_ends(server: WebServer) -> None:
    with client(server) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-A: ")
        assert slow.recv(100) == b""


def test_connection_is_closed_when_a_second_head_never_ends(server: WebServer) -> None:
    with client(server) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_until(slow, b"\r\n\r\n").startswith(b"HTTP/1.1 200")
        slow.sendall(b"GET / HTTP/1.1\r\n")
        assert slow.recv(100) == b""


def test_connection_is_closed_when_a_body_never_ends_that_was_answered(server: WebServer) -> None:
    with client(server) as slow:
        slow.sendall(b"POST /no HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\na")
        assert read_until(slow, b"\r\n\r\nno").startswith(b"HTTP/1.1 401")
        wait_until(lambda: is_closed_on_another_byte(slow), 30, "a connection that is closed")


def is_closed_on_another_byte(one: socket.socket) -> bool:
    one.setblocking(False)
    try:
        one.sendall(b"a")
        return one.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def test_body_may_take_longer_than_a_head(server: WebServer) -> None:
    with client(server) as slow, client(server) as silent:
        slow.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\na")
        assert silent.recv(1) == b"", "more than the time for a head has passed"
        slow.sendall(b"b")
        assert read_until(slow, b"\r\n\r\nab")


@pytest.mark.parametrize(
    "said",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"AMQP\x00\x00\x09\x01\r\n\r\n",
        b"\r\n" * 40_000,
    ],
)
def test_server_answers_on_when_a_client_does_not_speak_http(server: WebServer, said: bytes) -> None:
    with client(server) as wrong:
        wrong.sendall(said)
        found = wrong.recv(1000)
        assert found == b"" or found.startswith(b"HTTP/1.1 400")
    assert httpx.get(server.url, timeout=30).status_code == 200


def test_head_is_refused_when_it_is_too_large(server: WebServer) -> None:
    with client(server) as wrong:
        with contextlib.suppress(ConnectionError):  # it may have heard enough before all is sent
            wrong.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 2_000_000)
        assert wrong.recv(1000).startswith(b"HTTP/1.1 400")


def test_server_says_so_when_its_address_is_taken(server: WebServer) -> None:
    port = int(urlsplit(server.url).port or 0)
    with (
        pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port}"),
        WebServer(Starlette(), WebSettings(port=port)),
    ):
        pass


def test_all_requests_end_when_the_server_closes(server: WebServer) -> None:
    held = client(server)
    held.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    held.recv(1000)
    server.__exit__()
    wait_until(lambda: held.recv(1) == b"", 30, "the connection to end")
    held.close()


def test_server_speaks_tls_with_its_certificate(tmp_path: Path) -> None:
    made = make_certificate(tmp_path)
    settings = WebSettings(port=0, tls_certificate=str(made.cert), tls_key=str(made.key))
    app = Starlette(routes=[Route("/", _echo)])
    with WebServer(app, settings) as server:
        url = server.url.replace("127.0.0.1", "localhost")
        assert url.startswith("https://")
        trusting = ssl.create_default_context(cafile=str(made.cert))
        assert httpx.get(url, verify=trusting, timeout=30).status_code == 200


def test_server_says_so_when_its_certificate_is_none(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("no certificate")
    settings = WebSettings(port=0, tls_certificate=str(wrong), tls_key=str(wrong))
    with (
        pytest.raises(ConfigError, match="tls_certificate: cannot be used"),
        WebServer(Starlette(), settings),
    ):
        pass


def test_second_piece_of_an_answer_does_not_wait_for_the_first_to_arrive(server: WebServer) -> None:
    with client(server) as one:
        one.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        read_until(one, b"\r\n\r\n")
        (connection,) = server._server.server_state.connections
        taken = connection.transport.get_extra_info("socket")
        assert taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
