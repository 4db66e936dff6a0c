"""Conductor's HTTP over a real socket: what each address answers, and what is said to the gateway."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from reworker.core.principal import Scope
from reworker.gateway.contract import CallLater, Completed, Failed, Standing, TaskType
from reworker.task_errors import NoRoomForType, TooManyTypes
from tests.integration.conductor_support import Poller, polled
from tests.support.fake_gateway import DEPLOYMENT
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Poller]:
    with polled(tmp_path_factory.mktemp("conductor")) as made:
        yield made


@pytest.fixture
def poller(server: Poller) -> Poller:
    """Give the server with nothing in its gateway."""
    server.gateway.__init__()  # type: ignore[misc]  # as if it were new; the server has only this one
    return server


def test_task_has_all_that_clients_need(poller: Poller) -> None:
    poller.gateway.put("t", retried_task_id="m0.0", output={"pc": 1}, poll_count=2, retry_count=1)
    task = poller.poll().json()
    assert task.pop("inputData") == {
        "command": "t",
        "subcommand": "Do",
        "color": "red",
        "speed": 3,  # of the step, before that of earlier ones
        "_re": {"parameters": {"command": "t", "subcommand": "Do", "speed": 3}},
    }
    assert task == {
        "taskId": "m1.1",
        "workflowInstanceId": DEPLOYMENT,
        "taskType": "t",
        "taskDefName": "t",
        "referenceTaskName": "t:Do",
        "status": "IN_PROGRESS",
        "outputData": {"pc": 1},
        "workflowType": "web",
        "correlationId": f"{DEPLOYMENT}.1",
        "workerId": "w",
        "pollCount": 2,
        "retryCount": 1,
        "responseTimeoutSeconds": 10,
        "scheduledTime": 1000500,
        "startTime": 1001250,
        "updateTime": 1002000,
        "endTime": 0,
        "callbackAfterSeconds": 0,
        "retried": False,
        "callbackFromWorker": True,
        "retriedTaskId": "m0.0",
    }


@pytest.mark.parametrize("prefix", ["/api/tasks", "/api/task", "/tasks", "/task"])
def test_both_ways_to_write_addresses_work_with_and_without_the_prefix(poller: Poller, prefix: str) -> None:
    poller.gateway.put()
    poller.gateway.put()
    task_id = poller.http.get(f"{prefix}/poll/t").json()["taskId"]
    answer = poller.say(task_id, f"{prefix}/update-v2", status="COMPLETED", outputData={"a": 1})
    second = answer.json()["taskId"]
    answer = poller.say(second, prefix, status="COMPLETED", workerId="x")
    assert (answer.text, answer.headers["content-type"]) == (second, "text/plain; charset=utf-8")
    assert [one.task_id for one in poller.gateway.updates] == [task_id, second]
    assert [one.result for one in poller.gateway.updates] == [Completed({"a": 1}), Completed({})]
    assert [one.worker_id for one in poller.gateway.updates] == ["", "x"]


def test_pages_are_where_they_were(poller: Poller) -> None:
    for path in ("/tasks", f"/tasks/{'a' * 24}", "/tasks/codes"):
        assert poller.http.get(path).headers["location"].startswith("/login")
    assert poller.http.get("/api/v1/tasks").headers["content-type"] == "application/problem+json"


def test_empty_answers_are_those_that_clients_bear(poller: Poller) -> None:
    one, batch = poller.poll(), poller.http.get("/api/tasks/poll/batch/t?workerid=w&count=5&timeout=100")
    assert (one.status_code, one.content) == (204, b"")
    assert (batch.status_code, batch.content) == (200, b"[]")
    last = poller.say(poller.taken(), "/api/tasks/update-v2", status="COMPLETED")
    assert (last.status_code, last.content) == (204, b"")
    assert poller.gateway.holds_s == [0.05, 0.05, 0.05]


@pytest.mark.parametrize(("count", "wanted"), [("3", 3), ("", 1), ("0", 1), ("-5", 1), ("1000", 100)])
def test_batch_has_no_more_than_was_asked_for(poller: Poller, count: str, wanted: int) -> None:
    for _ in range(5):
        poller.gateway.put()
    found = poller.http.get("/api/tasks/poll/batch/t", params={"count": count}).json()
    assert len(found) == min(wanted, 5)
    assert poller.gateway.polls[0].count == wanted


def test_longer_wait_than_conductor_allows_is_refused_in_its_words(poller: Poller) -> None:
    answer = poller.http.get("/api/tasks/poll/batch/t?timeout=5001")
    assert answer.status_code == 400
    assert answer.json()["message"] == "Long Poll Timeout value cannot be more than 5 seconds"
    for query in ("timeout=x", "count=1.5"):
        assert poller.http.get(f"/api/tasks/poll/batch/t?{query}").status_code == 400


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("a%2Fb", TaskType("a/b")),
        ("x%3Ay%C3%A9", TaskType("x:y\u00e9")),
        ("t?domain=blue", TaskType("t", "blue")),
        ("t?domain=", TaskType("t")),
    ],
)
def test_type_and_domain_are_read_as_they_are_written(poller: Poller, path: str, kind: TaskType) -> None:
    poller.gateway.put(kind.name, kind.domain)
    task = poller.http.get(f"/api/tasks/poll/{path}").json()
    assert (task["taskType"], task.get("domain", "")) == (kind.name, kind.domain)


def test_type_that_is_no_queue_is_refused(poller: Poller) -> None:
    for path, where in (
        ("poll/%23", "address of the poll"),
        ("poll/a%20b", "address of the poll"),
        ("poll/batch/t?domain=a%20b", "address of the poll"),
        ("queue/sizes?taskType=t&taskType=a%20b", "taskType in the address"),
        ("queue/size?taskType=a%20b", "taskType in the address"),
        ("queue/polldata?taskType=a%20b", "taskType in the address"),
    ):
        answer = poller.http.get(f"/api/tasks/{path}")
        assert (answer.status_code, answer.json()["status"], answer.json()["retryable"]) == (400, 400, False)
        assert answer.json()["message"].startswith(f"{where}: no queue can be named so: "), path
    assert poller.gateway.polls == []


@pytest.mark.parametrize(("error", "status"), [(TooManyTypes("t", 5), 429), (NoRoomForType("t", 5), 503)])
def test_type_for_which_there_is_no_room_is_to_be_polled_again_later(
    poller: Poller, error: Exception, status: int
) -> None:
    poller.gateway.refusal = error
    answer = poller.poll()
    assert (answer.status_code, answer.json()["retryable"]) == (status, True)
    assert answer.json()["message"] == str(error)
    assert answer.headers["retry-after"] == "60"
    poller.gateway.refusal = None
    assert poller.poll().status_code == 204
    # a token for an hour is no other than the one that it was given for
    secret = {"keyId": "any", "keySecret": poller.token}
    hour = poller.client(poller.client().post("/api/token", json=secret).json()["token"])
    assert hour.get("/api/tasks/poll/t").status_code == 204
    owners = set(poller.gateway.owners)
    assert len(owners) == 1
    assert owners.pop() in poller.token


@pytest.mark.parametrize("path", ["/api/tasks/poll/odd", "/api/tasks/poll/batch/odd?count=1"])
def test_step_that_cannot_be_told_goes_back(poller: Poller, path: str) -> None:
    kind = TaskType("odd")
    poller.gateway.put(kind.name, parameters={"what": object()})
    assert poller.http.get(path).status_code == 500
    wait_until(lambda: poller.gateway.polls[-1].state == "cancelled")
    assert len(poller.gateway.queues.pop(kind)) == 1


def test_task_that_goes_on_is_offered_later_and_brings_no_other(poller: Poller) -> None:
    task_id = poller.taken()
    poller.gateway.put()
    fields = {"status": "IN_PROGRESS", "callbackAfterSeconds": 2, "outputData": {"pc": 1}}
    assert poller.say(task_id, "/api/tasks/update-v2", **fields).status_code == 204
    assert poller.gateway.updates[0].result == CallLater(2, {"pc": 1})


@pytest.mark.parametrize("path", ["/api/tasks", "/api/tasks/update-v2"])
@pytest.mark.parametrize("status", ["IN_PROGRESS", "COMPLETED", "anything"])
def test_heartbeat_changes_nothing_but_the_lease(poller: Poller, path: str, status: str) -> None:
    task_id = poller.taken()
    assert poller.say(task_id, path, status=status, extendLease=True).is_success
    assert poller.say("unknown.1", path, status=status, extendLease=True).is_success
    assert (poller.gateway.extended, poller.gateway.updates) == ([task_id, "unknown.1"], [])


def test_update_of_a_task_that_nobody_has_is_no_error(poller: Poller) -> None:
    task_id = poller.taken()
    for _ in range(2):
        assert poller.say(task_id, status="COMPLETED").text == task_id
        assert poller.say(task_id, "/api/tasks/update-v2", status="COMPLETED").status_code == 204
    assert poller.say("../../x\u00e9", status="FAILED").text == "../../x\u00e9"
    assert len(poller.gateway.updates) == 5


def test_update_is_to_be_said_again_when_the_broker_is_away(poller: Poller) -> None:
    task_id = poller.taken()
    poller.gateway.standing = Standing.UNSENT
    answer = poller.say(task_id, status="COMPLETED")
    assert (answer.status_code, answer.json()["retryable"]) == (503, True)


@pytest.mark.parametrize(
    ("fields", "result"),
    [
        ({}, Failed("no status", {})),
        ({"status": None, "reasonForIncompletion": "x"}, Failed("no status: x", {})),
        ({"status": "FAILED", "reasonForIncompletion": 3}, Failed("3", {})),
        ({"status": "FAILED", "reasonForIncompletion": {"a": [None]}}, Failed('{"a": [null]}', {})),
        ({"status": "FAILED", "outputData": {"a": None}}, Failed("the worker gave no reason", {"a": None})),
        ({"status": "FAILED_WITH_TERMINAL_ERROR", "reasonForIncompletion": "x"}, Failed("x", {}, True)),
        ({"status": "completed", "outputData": [1]}, Completed({"result": [1]})),
        ({"status": "COMPLETED", "outputData": "text"}, Completed({"result": "text"})),
        ({"status": "DONE"}, Failed("the worker sent the unknown status 'DONE'", {})),
        ({"status": "IN_PROGRESS", "callbackAfterSeconds": "soon"}, CallLater(0, {})),
        ({"status": "IN_PROGRESS", "callbackAfterSeconds": -1}, CallLater(0, {})),
    ],
)  # fmt: skip
def test_dirty_result_is_taken_as_well_as_can_be(
    poller: Poller, fields: dict[str, Any], result: object
) -> None:
    poller.say(poller.taken(), **fields)
    assert poller.gateway.updates[0].result == result


def test_result_that_is_no_strict_json_is_taken(poller: Poller) -> None:
    task_id = poller.taken()
    body = f'{{"taskId": "{task_id}", "status": "COMPLETED", "outputData": {{"a": NaN, "b": "\\ud800x"}}}}'
    assert poller.http.post("/api/tasks", content=body).text == task_id
    assert poller.gateway.updates[0].result == Completed({"a": None, "b": "?x"})


def test_logs_of_a_result_become_lines(poller: Poller) -> None:
    logs = [{"log": "one\ntwo", "createdTime": 5}, "three", {"log": 4}, None, {"log": None}]
    poller.say(poller.taken(), status="COMPLETED", logs=logs)
    poller.say("x.1", status="COMPLETED", logs="none")
    assert [list(one.lines) for one in poller.gateway.updates] == [["one", "two", "three", "4"], []]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b"{}", b'{"taskId": 3}', b"[" * 100_000, b"\xff\x00"]
)
def test_body_that_is_no_result_is_refused(poller: Poller, body: bytes) -> None:
    for path in ("/api/tasks", "/api/tasks/update-v2"):
        answer = poller.http.post(path, content=body)
        assert (answer.status_code, answer.json()["retryable"]) == (400, False)
        assert answer.json()["message"]
    assert poller.gateway.updates == []


@pytest.mark.parametrize(
    ("body", "lines"),
    [
        (b'"hello log"', ["hello log"]),
        (b'hello \\"q\\" log', ['hello "q" log']),
        (b"plain\ntext", ["plain", "text"]),
        (b'say "x', ['say "x']),
        (b"\xff", ["\ufffd"]),
        (b"", []),
    ],
)
def test_log_is_never_read_strictly(poller: Poller, body: bytes, lines: list[str]) -> None:
    answer = poller.http.post(
        "/api/tasks/m1.1/log", content=body, headers={"Content-Type": "application/json"}
    )
    assert (answer.status_code, poller.gateway.said) == (200, [("m1.1", lines)])


def test_task_is_shown_while_somebody_has_it(poller: Poller) -> None:
    task_id = poller.taken()
    assert poller.http.get(f"/api/tasks/{task_id}").json()["taskId"] == task_id
    assert poller.http.get(f"/api/tasks/{task_id}/log").status_code == 204
    assert poller.http.post(f"/api/tasks/{task_id}/ack?workerid=w").json() is True
    answer = poller.http.get("/api/tasks/unknown.1")
    assert (answer.status_code, answer.json()["status"]) == (404, 404)


def test_task_is_updated_by_its_name(poller: Poller) -> None:
    task_id = poller.taken()
    path = f"/api/tasks/{DEPLOYMENT}/t%3ADo/COMPLETED?workerid=w"
    assert poller.http.post(path, json={"a": 1}).text == task_id
    (update,) = poller.gateway.updates
    assert (update.task_id, update.result, update.worker_id) == (task_id, Completed({"a": 1}), "w")
    assert poller.http.post(f"/api/tasks/{DEPLOYMENT}/t%3ADo/DONE", json={}).status_code == 404


def test_queues_are_counted_and_pollers_named(poller: Poller) -> None:
    poller.poll()
    poller.gateway.put()
    poller.gateway.put("u")
    ask = poller.http.get
    assert ask("/api/tasks/queue/sizes?taskType=t&taskType=u&taskType=v").json() == {"t": 1, "u": 1, "v": 0}
    assert ask("/api/tasks/queue/size?taskType=t").json() == 1
    assert ask("/api/tasks/queue/all").json() == {"t": 1}
    wanted = [{"queueName": "t", "domain": "", "workerId": "w", "lastPollTime": 5500}]
    for word in ("polldata", "poll-data"):
        assert ask(f"/api/task/queue/{word}?taskType=t").json() == wanted
    assert ask("/api/tasks/queue/polldata?taskType=u").json() == []


def test_other_addresses_of_conductor_are_told_in_its_words(poller: Poller) -> None:
    for method, path in (
        ("POST", "/api/schema"),
        ("GET", "/api/tasks/externalstoragelocation/a/b/c/d"),
        ("PATCH", "/api/tasks"),
        ("POST", "/api/workflow/a/b/c"),
        ("GET", "/api/tasks/poll/"),
    ):
        answer = poller.http.request(method, path)
        assert (answer.status_code, answer.json()["status"], answer.json()["retryable"]) == (404, 404, False)


def test_health_is_told_to_everybody(poller: Poller) -> None:
    for path in ("/health", "/api/health"):
        assert poller.client().get(path).json()["healthy"] is True


def test_rights_are_asked_for(poller: Poller) -> None:
    reader = poller.client(poller.api.token(Scope.READ))
    for method, path in (
        ("GET", "/api/tasks/poll/t"),
        ("POST", "/api/tasks"),
        ("PUT", "/api/metadata/taskdefs"),
        ("POST", "/api/workflow"),
        ("DELETE", f"/api/workflow/{DEPLOYMENT}"),
    ):
        answer = reader.request(method, path)
        assert (answer.status_code, answer.json()["error"]) == (403, "FORBIDDEN")
    worker = poller.http.post("/api/workflow", json={"name": "x"})
    assert (worker.status_code, worker.json()["error"]) == (403, "FORBIDDEN")
