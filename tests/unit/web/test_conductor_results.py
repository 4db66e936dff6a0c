"""What workers send, however odd it is."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reworker.gateway.contract import CallLater, Completed, Failed, Update
from reworker.web.conductor.results import (
    Heartbeat,
    log_lines,
    oversized_result,
    parsed_result,
    patient_json,
    result_of,
)
from reworker.web.errors import HttpProblem

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ("status", "outputData", "reasonForIncompletion", "logs", "workerId", "callbackAfterSeconds")


@settings(max_examples=40)
@given(st.dictionaries(st.sampled_from(FIELDS), ANYTHING))
def test_any_result_of_a_task_is_taken(fields: dict[str, Any]) -> None:
    found = parsed_result(json.dumps({"taskId": "m.1", **fields}).encode())
    assert isinstance(found, Update)
    assert found.task_id == "m.1"
    assert isinstance(found.result, Completed | Failed | CallLater)
    assert isinstance(found.result.output, dict)
    assert all("\n" not in line for line in found.lines)


@settings(max_examples=20)
@given(ANYTHING)
def test_heartbeat_is_one_whatever_else_it_says(anything: Any) -> None:
    body = dict.fromkeys(FIELDS, anything) | {"taskId": "m.1", "extendLease": True}
    assert parsed_result(json.dumps(body).encode()) == Heartbeat("m.1")


def test_result_that_is_no_utf_8_is_taken() -> None:
    found = parsed_result(b'{"taskId": "m.1", "status": "COMPLETED", "outputData": {"a": "\xff"}}')
    assert isinstance(found, Update)
    assert found.result == Completed({"a": "\ufffd"})


@pytest.mark.parametrize("said", [False, None, 0, "", "false", "no", [], 2])
def test_result_is_no_heartbeat_when_it_extends_nothing(said: object) -> None:
    found = parsed_result(json.dumps({"taskId": "m.1", "status": "COMPLETED", "extendLease": said}).encode())
    assert isinstance(found, Update)
    assert found.result == Completed({})


@pytest.mark.parametrize(
    ("status", "kind", "is_final"),
    [
        ("COMPLETED", Completed, None),
        ("COMPLETED_WITH_ERRORS", Completed, None),
        ("SKIPPED", Completed, None),
        ("IN_PROGRESS", CallLater, None),
        ("SCHEDULED", CallLater, None),
        ("FAILED", Failed, False),
        ("TIMED_OUT", Failed, False),
        ("FAILED_WITH_TERMINAL_ERROR", Failed, True),
        ("CANCELED", Failed, True),
        (" failed ", Failed, False),
        ("nonsense", Failed, False),
        (7, Failed, False),
    ],
)
def test_status_is_what_it_is_to_us(status: object, kind: type, is_final: bool | None) -> None:
    found = result_of({"status": status})
    assert isinstance(found, kind)
    assert getattr(found, "is_final", None) == is_final


@given(st.binary(max_size=50))
def test_body_is_json_or_refused(body: bytes) -> None:
    with contextlib.suppress(HttpProblem):
        json.dumps(patient_json(body), allow_nan=False).encode()


@given(st.binary(max_size=50))
def test_any_log_becomes_lines(body: bytes) -> None:
    for line in log_lines(body):
        line.encode()


def test_lines_of_a_log_are_bounded() -> None:
    assert len(log_lines(b"x\n" * 20_000)) == 10_000


@pytest.mark.parametrize(
    ("beginning", "end", "task_id"),
    [
        (b'{"workflowInstanceId": "wf", "taskId": "m.1", "outputData": {"x": "yyyy', b"", "m.1"),
        (b'{"taskId":"m.1","outputData"', b'"y"}, "taskId": "n.1"}', "m.1"),
        (b' {\n"a": "\\"taskId\\": \\"n.1\\"", "b": null, "c": -1.5e3,"taskId" : "m.1", ', b"", "m.1"),
        (b'{"outputData": {"taskId": "n.1"}', b'yy"},"taskId":"m.1"}', "m.1"),
        (
            b'{"outputData": {"x": "',
            b'{"taskId": "n.1"}}, "taskId" : "m.1", "a": "b}\\"" , "c":1 } \n',
            "m.1",
        ),
        (b'{"outputData": {"x": "', b'yyyy", "taskId": "n.1"}}', None),
        (b'{"outputData": {"x": "', b'yy\\"taskId\\": \\"n.1\\"}', None),
        (b'{"outputData": {"x": "', b'"}, "taskId": "m.1", "logs": []', None),
        (b'{"taskId": "m.', b"", None),
        (b'[{"taskId": "m.1"', b"}]", None),
        (b"", b"", None),
    ],
)
def test_task_of_a_result_that_is_too_large_is_found_before_or_after_its_outputs(
    beginning: bytes, end: bytes, task_id: str | None
) -> None:
    wanted = Failed("its result is not read: too large", {}, True)
    found = oversized_result(beginning, end, "too large")
    assert found == (None if task_id is None else Update(task_id, wanted))
