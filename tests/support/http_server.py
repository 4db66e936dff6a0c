"""A real HTTP server for tests: keeps the requests it gets, and answers as its test wants."""

from __future__ import annotations

import contextlib
import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.ports import free_port


@dataclass
class Answer:
    """What is answered.

    Args:
        status: of the answer; 0 hangs up without one.
        headers: beside its length.
        body: of the answer.
        is_slow: send the first byte, then a byte now and then without an end.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"ok"
    is_slow: bool = False


@dataclass
class Request:
    """One request as it came; names of headers are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class HttpServer:
    """Listens on a free port of localhost while it is entered; `answers` are those of paths, or 200."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Request] = []
        self.answers: dict[str, Answer] = {}
        self.port = free_port()
        self.url = f"{'https' if tls else 'http'}://localhost:{self.port}"
        self._end = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), self._handler_class())
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients hang up here
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> HttpServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler_class(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Responder(BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None:
                pass

            def respond(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                headers = {name.lower(): value for name, value in self.headers.items()}
                outer.requests.append(Request(self.command, self.path, headers, self.rfile.read(length)))
                outer._answer(self, outer.answers.get(self.path.partition("?")[0], Answer()))

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = respond  # noqa: N815  named by http.server

        return Responder

    def _answer(self, responder: BaseHTTPRequestHandler, answer: Answer) -> None:
        responder.close_connection = True
        if not answer.status:
            return
        responder.send_response(answer.status)
        for name, value in answer.headers.items():
            responder.send_header(name, value)
        if not answer.is_slow:
            responder.send_header("Content-Length", str(len(answer.body)))
        responder.end_headers()
        with contextlib.suppress(OSError):
            responder.wfile.write(answer.body)
            while answer.is_slow and not self._end.wait(0.02):
                responder.wfile.write(b".")
