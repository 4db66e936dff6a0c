"""The IronWorker client against a server that answers late, wrongly, or not at all."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reworker.errors import Forbidden, NotAuthenticated, ServerAway
from reworker.iron import IronWorker, PackageInvalid, Task, TaskNotOver, TaskRefused, ThingNotFound
from reworker.iron.link import Link
from tests.support.http_server import Answer, HttpServer
from tests.support.ports import free_port

TASK = "4eb1b471cddb136065000010"
TASKS = "/2/projects/p/tasks"


@pytest.fixture
def server() -> Iterator[HttpServer]:
    with HttpServer() as started:
        yield started


def told(status: int = 200, /, **values: Any) -> Answer:
    return Answer(status, {"Content-Type": "application/json"}, json.dumps(values).encode())


def client_of(
    server: HttpServer, pause: Callable[[float], object] = lambda _: None, **rest: Any
) -> IronWorker:
    made = IronWorker(token="t", project_id="p", cloud=server.url, **rest)
    made._link = Link(made._link.settings, pause=pause, rand=lambda: 1.0)
    return made


def test_request_says_who_asks_in_the_way_of_ironworker(server: HttpServer) -> None:
    server.answers[TASKS] = told(tasks=[{"id": TASK}], msg="Queued up")
    task = client_of(server).queue("Fib", {"max": 10}, timeout_s=60)
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", TASKS)
    assert request.headers["authorization"] == "OAuth t"
    assert request.headers["content-type"] == "application/json"
    expected = {"tasks": [{"code_name": "Fib", "payload": '{"max": 10}', "timeout": 60}]}
    assert json.loads(request.body) == expected
    assert (task.id, task.code_name, task.status) == (TASK, "Fib", "queued")


@pytest.mark.parametrize("status", [503, 504])
def test_request_is_made_again_with_growing_waits_when_the_server_says_later(
    server: HttpServer, status: int
) -> None:
    waits: list[float] = []

    def pause(wait_s: float) -> None:
        waits.append(wait_s)
        if len(waits) == 3:
            server.answers[TASKS] = told(tasks=[{"id": TASK}])

    server.answers[TASKS] = told(status, msg="busy")
    assert client_of(server, pause).queue("Fib").id == TASK
    assert waits == [1.0, 2.0, 4.0]


def test_server_says_how_long_to_wait_when_it_knows(server: HttpServer) -> None:
    waits: list[float] = []
    server.answers[TASKS] = Answer(503, {"Retry-After": "7"}, b"{}")
    with pytest.raises(ServerAway, match="status 503"):
        client_of(server, waits.append).queue("Fib")
    assert waits == [7.0] * 5


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (
            401,
            NotAuthenticated,
            "does not take the token, from argument token, for project 'p': no; `reworker",
        ),
        (403, Forbidden, "the token is not for this, in project 'p' of"),
        (404, ThingNotFound, f"there is no task '{TASK}' in project 'p' of"),
        (400, TaskRefused, "refused it: no"),
        (406, TaskRefused, "refused it: no"),
        (302, ServerAway, "it sends elsewhere"),
        (500, ServerAway, "status 500: no"),
    ],
)
def test_refusal_becomes_an_error_that_says_what_and_where_when_it_is_one(
    server: HttpServer, status: int, kind: type[Exception], words: str
) -> None:
    server.answers[f"{TASKS}/{TASK}"] = told(status, msg="no")
    with pytest.raises(kind) as error:
        client_of(server).task(TASK)
    assert words in str(error.value)
    assert len(server.requests) == 1


def test_thing_that_is_missing_is_named_when_it_is_no_task(server: HttpServer) -> None:
    client = client_of(server)
    server.answers[TASKS] = told(404, msg="there is no code 'Fib'")
    with pytest.raises(ThingNotFound, match="there is no code 'Fib' in project 'p'"):
        client.queue("Fib")
    server.answers["/2/projects/p/codes"] = told(404, msg="there is no project 'p'")
    with pytest.raises(ThingNotFound, match="there is no project 'p' on http"):
        client.codes()
    server.answers["/2/projects/p/codes"] = told(404, msg="Not found")
    with pytest.raises(ServerAway, match=r"no codes there \(Not found\); is it a reworker server"):
        client.codes()
    server.answers[f"{TASKS}/{TASK}/log"] = told(404, msg="there is no log yet")
    with pytest.raises(ThingNotFound, match=f"there is no log yet of task '{TASK}'"):
        client.getLog(TASK)


def test_status_is_refused_when_there_is_none_of_that_name(server: HttpServer) -> None:
    with pytest.raises(TaskRefused, match="status 'done': there are queued, preparing"):
        client_of(server).tasks("queued", "done")
    assert server.requests == []


@pytest.mark.parametrize("body", [b"<html>", b"", b"\xff", b"[]", b"null"])
def test_answer_that_is_no_json_is_told_apart_when_another_server_gives_it(
    server: HttpServer, body: bytes
) -> None:
    server.answers[f"{TASKS}/{TASK}"] = Answer(body=body)
    with pytest.raises(ServerAway, match="is it a reworker server"):
        client_of(server).task(TASK)


def test_nobody_answers_when_no_server_is_there() -> None:
    waits: list[float] = []
    client = IronWorker(token="t", port=free_port())
    client._link = Link(client._link.settings, pause=waits.append)
    with pytest.raises(ServerAway, match=r"http://127\.0\.0\.1:\d+ gives no answer: Connection refused$"):
        client.queue("Fib")
    assert len(waits) == 2


def test_name_that_leads_nowhere_is_told_when_the_server_is_asked_for() -> None:
    client = IronWorker(token="t", cloud="http://nowhere.invalid:1")
    client._link = Link(client._link.settings, pause=lambda _: None)
    with pytest.raises(ServerAway, match=r"http://nowhere\.invalid:1 gives no answer"):
        client.codes()


def test_question_is_asked_again_and_order_is_not_when_the_server_hangs_up(server: HttpServer) -> None:
    server.answers[TASKS] = Answer(0)
    client = client_of(server)
    with pytest.raises(ServerAway, match="it may have been carried out all the same"):
        client.queue("Fib")
    assert len(server.requests) == 1
    with pytest.raises(ServerAway):
        client.tasks()
    assert [request.method for request in server.requests] == ["POST", "GET", "GET", "GET"]


def test_answer_is_given_up_when_it_takes_too_long() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        client = IronWorker(token="t", port=deaf.getsockname()[1], timeout_s=0.1)
        client._link = Link(client._link.settings, pause=lambda _: None)
        with pytest.raises(ServerAway, match=r"it took too long$"):
            client.codes()


def test_answer_is_no_good_when_it_breaks_off() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf"
        thread = threading.Thread(target=_answer_once, args=(listener, answer))
        thread.start()
        with pytest.raises(ServerAway, match="its answer broke off"):
            IronWorker(token="t", port=listener.getsockname()[1]).log(TASK)
        thread.join()


def _answer_once(listener: socket.socket, answer: bytes) -> None:
    opened, _ = listener.accept()
    with opened:
        opened.recv(65536)
        opened.sendall(answer)


def test_wait_looks_until_the_task_is_over(server: HttpServer) -> None:
    place, waits = f"{TASKS}/{TASK}", []

    def pause(wait_s: float) -> None:
        waits.append(wait_s)
        if len(waits) == 2:
            server.answers[place] = told(id=TASK, status="timeout")

    server.answers[place] = told(id=TASK, status="running")
    assert client_of(server, pause).wait(Task(TASK)).status == "timeout"
    assert waits == [0.05, pytest.approx(0.075)]


def test_wait_ends_with_an_error_when_its_time_is_over(server: HttpServer) -> None:
    server.answers[f"{TASKS}/{TASK}"] = told(id=TASK, status="queued")
    with pytest.raises(TaskNotOver, match=f"task {TASK} is still queued after 0.05 s; it goes on"):
        client_of(server).wait(TASK, timeout_s=0.05)


def test_log_is_followed_without_a_gap_when_letters_are_cut_in_the_middle(server: HttpServer) -> None:
    place, whole, looks = f"{TASKS}/{TASK}", "zwölf\n€uro\n".encode(), []

    def pause(wait_s: float) -> None:
        looks.append(wait_s)
        server.answers[f"{place}/log"] = Answer(body=whole[: [3, 8, 20][min(len(looks) - 1, 2)]])
        if len(looks) == 3:
            server.answers[place] = told(id=TASK, status="complete")

    server.answers[place] = told(id=TASK, status="running")
    server.answers[f"{place}/log"] = told(404, msg="no log yet")
    pieces = list(client_of(server, pause).follow_log(TASK))
    assert pieces == ["zw", "ölf\n", "€uro\n"]


def test_package_is_sent_as_a_form_and_again_from_its_start_when_the_server_says_later(
    server: HttpServer, tmp_path: Path
) -> None:
    def pause(_: float) -> None:
        server.answers["/2/projects/p/codes"] = told(id="c", msg="Upload successful.")

    (tmp_path / "hello.sh").write_text("echo hello\n")
    server.answers["/2/projects/p/codes"] = told(503)
    server.answers["/2/projects/p/codes/c"] = told(id="c", name="Hello", rev=2)
    code = client_of(server, pause).upload(tmp_path / "hello.sh", "Hello", config={"a": 1}, retries_delay_s=3)
    first, second, _ = server.requests
    assert (code.name, code.rev) == ("Hello", 2)
    assert len(first.body) == len(second.body)
    assert second.headers["content-type"].startswith("multipart/form-data; boundary=")
    for text in (
        b'"name": "Hello"',
        b'"runtime": "sh"',
        b'"config": "{\\"a\\": 1}"',
        b'"retries_delay": 3',
        b"PK",
    ):
        assert text in second.body


def test_program_is_not_sent_when_it_cannot_be_run(server: HttpServer, tmp_path: Path) -> None:
    client = client_of(server)
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "main.py").touch()
    (tmp_path / "notes.txt").touch()
    cases: list[tuple[tuple[Any, ...], str]] = [
        ((tmp_path / "app",), "say which file of"),
        ((tmp_path / "app", "App", "gone.py"), f"there is no 'gone.py' in '{tmp_path}/app'"),
        ((tmp_path / "notes.txt", "App"), "what runs 'notes.txt'"),
        ((tmp_path / "gone",), "is no file"),
        ((tmp_path / "gone.zip", "App", "main.py"), "is no file"),
        ((tmp_path / "gone", "App", "main.py"), "is no file"),
    ]
    for arguments, words in cases:
        with pytest.raises(PackageInvalid, match=words):
            client.upload(*arguments)
    assert server.requests == []


def test_one_payload_is_not_taken_for_a_list_of_them(server: HttpServer) -> None:
    for payload in ("abc", b"abc", {"max": 3}):
        with pytest.raises(TaskRefused, match="payloads: takes a list of them"):
            client_of(server).queue_many("Hello", payload)  # type: ignore[arg-type]  # what people do
    assert server.requests == []


def test_error_says_how_a_code_is_named_when_a_name_was_given(server: HttpServer) -> None:
    for key in ("Hello", "c" * 24):
        server.answers[f"/2/projects/p/codes/{key}"] = told(404, msg="there is no such code")
    with pytest.raises(ThingNotFound, match="here a code is given by its id"):
        client_of(server).code("Hello")
    with pytest.raises(ThingNotFound) as found:
        client_of(server).code("c" * 24)
    assert "by its id" not in str(found.value)


def test_download_has_the_name_of_the_server_without_its_folders(server: HttpServer, tmp_path: Path) -> None:
    place = "/2/projects/p/codes/c/download"
    server.answers[place] = Answer(headers={"Content-Disposition": "filename=../../x/Fib_1.zip"}, body=b"PK")
    client = client_of(server)
    assert client.download("c", tmp_path) == tmp_path / "Fib_1.zip"
    assert client.download("c", tmp_path / "own.zip", revision=3).read_bytes() == b"PK"
    assert server.requests[-1].path == f"{place}?revision=3"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Fib_1.zip", "own.zip"]
    with pytest.raises(PackageInvalid, match="cannot be written"):
        client.download("c", tmp_path / "gone" / "own.zip")
