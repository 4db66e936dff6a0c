"""Workflows of Conductor: playbooks that are started by their names, and their deployments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest

from reworker.core.principal import Limits, Scope
from reworker.ids import is_id
from reworker.storage.contract import LogRow
from tests.integration.conductor_support import Poller, polled
from tests.support.api import playbook

#: a playbook with a value.
PAINT = """\
group: web
name: paint
params:
  color: {type: string}
execution:
- hosts: [web1]
  steps:
  - megafrobber:Frob: {speed: 2, dynamic: [color]}
"""


@pytest.fixture(scope="module")
def poller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Poller]:
    with polled(tmp_path_factory.mktemp("workflows")) as made:
        # on a host of its own it waits for nobody
        steered = playbook(name="steered", hosts="[web9]")
        alone = PAINT.replace("name: paint", "name: alone").replace("web1", "web8")
        twice = (playbook(group="db", name="twice"), playbook(name="twice"))
        for text in (playbook(), PAINT, alone, steered, *twice):
            made.api.service.library.store(text)
        yield made


@pytest.fixture
def ask(poller: Poller) -> httpx.Client:
    """Give a client that may start and end deployments."""
    return poller.client(poller.api.token(Scope.READ, Scope.RUN, Scope.CANCEL, name="ann"))


def started(ask: httpx.Client, **fields: Any) -> str:
    """Start the playbook; return the id of its deployment."""
    answer = ask.post("/api/workflow", json={"name": "restart", **fields})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain")
    assert is_id(answer.text)
    return answer.text


def test_playbook_is_started_by_its_name(poller: Poller, ask: httpx.Client) -> None:
    own_id = started(ask, name="alone", input={"color": "red"}, correlationId="order 7", priority=3)
    found = ask.get(f"/api/workflow/{own_id}?includeTasks=True").json()
    wanted = {
        **{"workflowId": own_id, "workflowName": "alone", "workflowType": "web", "workflowVersion": 1},
        **{"status": "RUNNING", "correlationId": "order 7", "input": {"color": "red"}, "createdBy": "ann"},
    }
    assert {name: found[name] for name in wanted} == wanted
    (task,) = found["tasks"]
    assert (task["taskDefName"], task["referenceTaskName"], task["status"]) == (
        *("megafrobber", "megafrobber:Frob", "SCHEDULED"),
    )
    assert ask.get(f"/api/tasks/{task['taskId']}").json() == task
    assert "tasks" not in ask.get(f"/api/workflow/{own_id}?includeTasks=False").json()
    assert ask.get(f"/api/workflow/{own_id}/status").json()["status"] == "RUNNING"
    entry = poller.api.access.audit(limit=1, target=own_id)[0]
    assert (entry.actor, entry.action, entry.outcome) == ("ann", "deployment.start", "done")


def test_playbook_is_started_with_its_values_as_the_body(ask: httpx.Client) -> None:
    answer = ask.post("/api/workflow/paint?version=1&correlationId=x&priority=0", json={"color": "blue"})
    found = ask.get(f"/api/workflow/{answer.text}").json()
    assert (found["input"], found["correlationId"]) == ({"color": "blue"}, "x")
    assert is_id(ask.post("/api/workflow/restart").text)


def test_domains_of_tasks_are_those_of_the_deployment(poller: Poller, ask: httpx.Client) -> None:
    own_id = started(ask, taskToDomain={"*": "blue,NO_DOMAIN"})
    plan = poller.api.service.plan(own_id)
    assert plan.step(0).domains == ("blue", "NO_DOMAIN")
    again = ask.post(f"/api/workflow/{own_id}/restart").text
    assert poller.api.service.plan(again).step(0).domains == ("blue", "NO_DOMAIN")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"name": "nothing"}, 404),
        ({"name": "twice"}, 409),
        ({"name": "restart", "version": 7}, 404),
        ({"name": "restart", "input": [1]}, 400),
        ({"name": "paint", "input": {"color": 3}}, 400),
        ({"name": "restart", "taskToDomain": {"other": "blue"}}, 400),
        ({"name": "restart", "taskToDomain": {"*": "a b"}}, 400),
        ({"name": 3}, 400),
        ({}, 400),
        ([], 400),
    ],
)
def test_what_cannot_be_started_is_refused(ask: httpx.Client, body: Any, status: int) -> None:
    answer = ask.post("/api/workflow", json=body)
    assert (answer.status_code, answer.json()["status"], answer.json()["retryable"]) == (
        status,
        status,
        False,
    )
    assert answer.json()["message"]


def test_group_tells_playbooks_of_one_name_apart(ask: httpx.Client) -> None:
    own_id = started(ask, name="db/twice")
    assert ask.get(f"/api/workflow/{own_id}").json()["workflowType"] == "db"
    assert is_id(ask.post("/api/workflow/db%2Ftwice").text)


def test_same_key_starts_one_deployment(ask: httpx.Client) -> None:
    first = started(ask, idempotencyKey="k", input={})
    assert started(ask, idempotencyKey="k", input={}) == first
    other = ask.post("/api/workflow", json={"name": "paint", "idempotencyKey": "k"})
    assert other.status_code == 409
    held = started(ask, idempotencyKey="r", idempotencyStrategy="RETURN_EXISTING")
    again = {"idempotencyKey": "r", "idempotencyStrategy": "RETURN_EXISTING", "correlationId": "other"}
    assert started(ask, **again) == held
    assert started(ask, idempotencyKey="k", idempotencyStrategy="RETURN_EXISTING", input={}) == first


def test_version_that_is_not_there_is_said_with_the_newest(ask: httpx.Client) -> None:
    answer = ask.post("/api/workflow", json={"name": "restart", "version": 9})
    assert answer.status_code == 404
    assert answer.json()["message"] == "the playbook 'restart' has no version 9; its newest is 1"


def test_deployment_is_paused_resumed_and_ended(poller: Poller, ask: httpx.Client) -> None:
    own_id = started(ask, name="steered")
    place = f"/api/workflow/{own_id}"
    assert ask.put(f"{place}/pause").status_code == 200
    assert ask.get(f"{place}/status").json()["status"] == "PAUSED"
    assert ask.put(f"{place}/pause").status_code == 409
    assert ask.put(f"{place}/resume").status_code == 200
    answer = ask.delete(f"{place}?reason=enough&triggerFailureWorkflow=True")
    assert (answer.status_code, answer.content) == (200, b"")
    # its step is with nobody yet, but a core must know that
    assert poller.api.service.deployment(own_id).state.status == "cancelling"
    assert ask.delete(place).status_code == 409
    event = next(one for one in poller.api.service.events(own_id) if one.kind == "CancelRequested")
    assert (event.actor, event.data["reason"]) == ("ann", "enough")


def test_deployment_is_started_again_or_continued(ask: httpx.Client) -> None:
    own_id = started(ask, name="paint", input={"color": "red"})
    assert ask.post(f"/api/workflow/{own_id}/retry").status_code == 409
    ask.delete(f"/api/workflow/{own_id}")
    assert ask.get(f"/api/workflow/{own_id}/status").json()["status"] == "TERMINATED"
    continued = ask.post(f"/api/workflow/{own_id}/retry").text
    assert ask.get(f"/api/workflow/{continued}").json()["reRunFromWorkflowId"] == own_id
    anew = ask.get(f"/api/workflow/{ask.post(f'/api/workflow/{own_id}/restart').text}").json()
    assert (anew["input"], anew["workflowName"]) == ({"color": "red"}, "paint")


def test_definitions_of_workflows_are_the_playbooks(ask: httpx.Client) -> None:
    for word in ("workflow", "workflowdef"):
        names = {one["name"] for one in ask.get(f"/api/metadata/{word}").json()}
        assert names == {"restart", "paint", "alone", "steered", "twice"}
        found = ask.get(f"/api/metadata/{word}/paint").json()
        assert (found["name"], found["version"], found["ownerApp"]) == ("paint", 1, "web")


def test_workflow_that_is_not_there_is_not_found(ask: httpx.Client) -> None:
    for path in ("nothing", "a" * 24, "..%2f..%2fetc", "%00"):
        assert ask.get(f"/api/workflow/{path}").status_code == 404
        assert ask.delete(f"/api/workflow/{path}").status_code == 404


def test_other_groups_are_not_seen(poller: Poller, ask: httpx.Client) -> None:
    own_id = started(ask)
    limits = Limits(groups=("db",))
    other = poller.client(poller.api.token(Scope.RUN, Scope.READ, Scope.CANCEL, limits=limits, name="bob"))
    assert other.get(f"/api/workflow/{own_id}").status_code == 403
    assert other.delete(f"/api/workflow/{own_id}").status_code == 403
    assert other.post("/api/workflow", json={"name": "restart"}).status_code == 404
    assert is_id(other.post("/api/workflow", json={"name": "twice"}).text)


def test_lines_of_a_task_are_found_behind_thousands_of_others(poller: Poller, ask: httpx.Client) -> None:
    own_id, at = started(ask), "2026-01-01T00:00:00Z"
    lines = [(1, at, f"line {number}") for number in range(2500)] + [(2, at, "the last")]
    poller.api.logs.add([LogRow(own_id, 1, len(lines), msgspec.json.encode(lines))])
    found = poller.http.get(f"/api/tasks/{own_id}.1/log").json()
    assert [one["log"] for one in found] == [f"line {number}" for number in range(2500)]
    assert [one["log"] for one in poller.http.get(f"/api/tasks/{own_id}.2/log").json()] == ["the last"]
