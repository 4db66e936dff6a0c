"""Conductor's HTTP as bytes on a connection: bodies in pieces, answers in one, workers that have gone."""

from __future__ import annotations

import contextlib
import json
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reworker.gateway.contract import Completed, Failed
from reworker.web.conductor.exchange import BODY_BYTES
from tests.integration.conductor_support import Poller, polled
from tests.support.waiting import wait_until


@pytest.fixture
def poller(tmp_path: Path) -> Iterator[Poller]:
    with polled(tmp_path) as made:
        yield made


def test_chunked_body_is_read(poller: Poller) -> None:
    task_id = poller.taken()
    body = json.dumps({"taskId": task_id, "status": "COMPLETED"}).encode()
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:7], body[7:])) + b"0\r\n\r\n"
    with poller.socket() as one:
        one.sendall(poller.head("POST", "/api/tasks", "Transfer-Encoding: chunked"))
        one.sendall(chunks)
        assert one.recv(1000).endswith(task_id.encode())
    assert poller.gateway.updates[0].result == Completed({})


def test_body_that_is_too_large_is_refused_before_all_has_come(poller: Poller) -> None:
    with poller.socket() as one:
        one.sendall(poller.head("POST", "/api/tasks", "Content-Length: 17000000"))
        assert one.recv(1000).startswith(b"HTTP/1.1 413")
    with poller.socket() as one:
        one.sendall(poller.head("POST", "/api/tasks", "Transfer-Encoding: chunked"))
        part = b"100000\r\n" + b"x" * (1 << 20) + b"\r\n"
        with contextlib.suppress(ConnectionError):
            for _ in range(17):
                one.sendall(part)
        assert one.recv(1000).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(("path", "status"), [("tasks", 200), ("task/update-v2", 204)])
@pytest.mark.parametrize("is_chunked", [False, True])
def test_task_fails_when_its_result_is_too_large(
    poller: Poller, path: str, status: int, *, is_chunked: bool
) -> None:
    task_id = poller.taken()
    fields: list[tuple[str, object]] = [("outputData", {"x": "y" * BODY_BYTES}), ("taskId", task_id)]
    # clients in JavaScript send the id last
    body = json.dumps(dict(fields if is_chunked else reversed(fields)))
    answer = poller.http.post(f"/api/{path}", content=iter([body.encode()]) if is_chunked else body.encode())
    assert answer.status_code == status, answer.text
    reason = f"its result is not read: the body is larger than {BODY_BYTES} bytes, the limit here"
    assert [one.result for one in poller.gateway.updates] == [Failed(reason, {}, True)]


def test_result_that_is_too_large_is_refused_for_a_task_that_nobody_has(poller: Poller) -> None:
    body = json.dumps({"taskId": "x.1", "status": "COMPLETED", "outputData": {"x": "y" * BODY_BYTES}})
    assert poller.http.post("/api/tasks", content=body.encode()).status_code == 413
    assert poller.gateway.updates == []


def test_step_has_begun_when_its_poller_wants_the_connection_closed(poller: Poller) -> None:
    task_id = poller.gateway.put("closing")
    with poller.socket() as one:
        one.sendall(poller.head("GET", "/api/tasks/poll/closing", "Connection: close"))
        assert task_id.encode() in b"".join(iter(lambda: one.recv(5000), b""))
    wait_until(lambda: poller.gateway.polls[-1].state != "answered", 30)
    assert poller.gateway.polls[-1].state == "written"


def test_body_with_a_poll_is_passed_over(poller: Poller) -> None:
    poller.gateway.put()
    with poller.socket() as one:
        one.sendall(poller.head("GET", "/api/tasks/poll/t", "Content-Length: 2") + b"{}")
        assert one.recv(5000).startswith(b"HTTP/1.1 200")
        one.sendall(poller.head("GET", "/api/tasks/poll/t"))
        assert one.recv(5000).startswith(b"HTTP/1.1 204")


def test_answer_comes_in_one_piece_and_at_once(poller: Poller) -> None:
    with poller.socket() as one:
        times_s = []
        for _ in range(100):
            began_s = time.monotonic()
            one.sendall(poller.posted("/api/tasks", {"taskId": "x.1", "status": "COMPLETED"}))
            # what was sent in one piece is received in one
            assert one.recv(1000).endswith(b"\r\n\r\nx.1")
            times_s.append(time.monotonic() - began_s)
        # each would take 40 ms; some do on a busy machine
        assert statistics.median(times_s) < 0.03


def test_end_of_the_server_answers_polls_that_are_held(tmp_path: Path) -> None:
    with polled(tmp_path, hold_s=8) as poller, poller.socket() as one:
        one.sendall(poller.head("GET", "/api/tasks/poll/t"))
        wait_until(lambda: poller.gateway.polls, 30)
        began_s = time.monotonic()
    assert time.monotonic() - began_s < 7
    assert poller.gateway.polls[0].state == "cancelled"


def test_step_goes_to_somebody_else_when_its_poller_has_gone(tmp_path: Path) -> None:
    with polled(tmp_path, hold_s=8) as poller:
        with poller.socket() as dead:
            dead.sendall(poller.head("GET", "/api/tasks/poll/t"))
            wait_until(lambda: poller.gateway.polls, 30)
        wait_until(lambda: poller.gateway.polls[0].state == "cancelled", 7)
        poller.gateway.put()
        assert poller.poll().status_code == 200


def test_step_has_begun_only_when_its_poller_reads_the_answer(tmp_path: Path) -> None:
    with polled(tmp_path, hold_s=8) as poller:
        with poller.socket() as one:
            one.sendall(poller.head("GET", "/api/tasks/poll/t"))
            wait_until(lambda: poller.gateway.polls, 30)
            task_id = poller.gateway.put()
            assert task_id.encode() in one.recv(5000)
        wait_until(lambda: poller.gateway.polls[0].state == "written", 30)
        assert list(poller.gateway.leased) == [task_id]
