"""A server that refuses a request before it has read all of it: its reason reaches the person."""

from __future__ import annotations

import io
import json
import socket
import threading

import pytest

from reworker.cli.sent_form import SentForm
from reworker.cli.server_client import ServerClient
from reworker.errors import Forbidden, ServerAway

PROBLEM = json.dumps(
    {"type": "urn:reworker:problem:forbidden", "title": "Forbidden", "status": 403, "detail": "not for you"}
).encode()
ANSWER = b"HTTP/1.1 403 Forbidden\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(PROBLEM) + PROBLEM
#: bytes of a file that no buffer on the way takes.
FILE_BYTES = 8 << 20


def serve_once(listener: socket.socket, answer: bytes) -> None:
    """Answer the first request by its head alone, and hang up: what is unread makes that a reset."""
    client, _ = listener.accept()
    with client:
        client.recv(4096)
        client.sendall(answer)


@pytest.mark.parametrize(("answer", "expected"), [(ANSWER, Forbidden), (b"", ServerAway)])
def test_refusal_is_heard_though_nobody_reads_the_file(answer: bytes, expected: type[Exception]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve_once, args=(listener, answer))
        server.start()
        client = ServerClient(f"http://127.0.0.1:{listener.getsockname()[1]}", "rw_x")
        with pytest.raises(expected):
            client.send_form("/codes", SentForm({"name": "large"}, io.BytesIO(b"x" * FILE_BYTES)))
        server.join()
