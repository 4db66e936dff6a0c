"""Definitions of task types over HTTP: what is stored, what counts, what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reworker.gateway.contract import RetryLogic, TaskRules
from tests.integration.conductor_support import Poller, polled


@pytest.fixture
def poller(tmp_path: Path) -> Iterator[Poller]:
    with polled(tmp_path) as made:
        yield made


def test_definition_is_stored_and_counts(poller: Poller) -> None:
    document = {
        **{"name": "a/b", "retryCount": 2, "retryLogic": "LINEAR_BACKOFF", "retryDelaySeconds": 1},
        **{"responseTimeoutSeconds": 30, "timeoutSeconds": 100, "concurrentExecLimit": 3},
        **{
            "rateLimitPerFrequency": 5,
            "rateLimitFrequencyInSeconds": 2,
            "inputTemplate": {"speed": 9, "z": 1},
        },
        **{"ownerEmail": "x@example.org", "unknown": [1]},
    }
    ask, place = poller.http, "/api/metadata/taskdefs"
    answer = ask.put(place, json=document)
    assert (answer.status_code, answer.content) == (200, b"")
    assert poller.gateway.rules["a/b"] == TaskRules(
        **{"retry_count": 2, "retry_logic": RetryLogic.LINEAR_BACKOFF, "retry_delay_s": 1},
        **{"response_timeout_s": 30, "timeout_s": 100, "concurrent_count": 3},
        **{"rate_count": 5, "rate_s": 2, "input_template": {"speed": 9, "z": 1}},
    )
    assert ask.get("/api/metadata/taskdef/a%2Fb").json() == document
    assert document in ask.get(place).json()
    poller.gateway.put("a/b")
    assert poller.poll("a%2Fb").json()["inputData"] | {"_re": 0} == {
        **{"command": "a/b", "subcommand": "Do", "color": "red", "speed": 3, "z": 1, "_re": 0}
    }
    assert ask.delete(f"{place}/a%2Fb").status_code == 200
    assert poller.gateway.rules["a/b"] is None
    assert [ask.get(f"{place}/a%2Fb").status_code, ask.delete(f"{place}/a%2Fb").status_code] == [404, 404]


def test_definition_without_tries_has_none(poller: Poller) -> None:
    body = [{"name": "plain", "enforceSchema": False, "retryCount": None}, {"name": "other"}]
    assert poller.http.post("/api/metadata/taskdefs", json=body).status_code == 200
    assert poller.gateway.rules == {"plain": TaskRules(), "other": TaskRules()}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": ""},
        {"name": "x" * 201},
        {"name": 3},
        [[]],
        {"name": "a", "retryCount": -1},
        {"name": "a", "retryCount": "3"},
        {"name": "a", "timeoutSeconds": 1e12},
        {"name": "a", "timeoutSeconds": 10**400},
        {"name": "a", "retryLogic": "SOMETIMES"},
        {"name": "a", "more": "x" * 70_000},
    ],
)
def test_wrong_definition_is_refused_and_nothing_kept(poller: Poller, body: Any) -> None:
    answer = poller.http.put("/api/metadata/taskdefs", json=body)
    assert (answer.status_code, answer.json()["retryable"]) == (400, False)
    assert poller.gateway.rules == {}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a b", "without spaces"),
        ("a#", "without spaces, * and #"),
        ("...", "printable"),
        ("code.x", "code packages"),
        ("t.retry.5s", "another try"),
        ("\u00e9" * 150, "longer than"),
    ],
)
def test_definition_that_no_queue_can_be_named_after_is_refused(
    poller: Poller, name: str, words: str
) -> None:
    answer = poller.http.put("/api/metadata/taskdefs", json=[{"name": "good"}, {"name": name}])
    assert (answer.status_code, poller.gateway.rules) == (400, {})
    said = answer.json()["message"]
    assert said.startswith("name of the task definition: no queue can be named so")
    assert words in said
    assert said.endswith("rename it in the worker and in the playbook")
    assert poller.http.get("/api/metadata/taskdefs").json() == []


def test_definitions_are_known_to_the_next_server(tmp_path: Path) -> None:
    with polled(tmp_path) as first:
        first.http.put("/api/metadata/taskdefs", json={"name": "kept", "retryCount": 1})
    with polled(tmp_path) as second:
        assert second.gateway.rules == {"kept": TaskRules(retry_count=1)}
