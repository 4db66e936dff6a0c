"""The published contract: it says what the code does, and refers to nothing that is not there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from reworker import messages
from reworker.messages import ReplyHeaders, StepHeaders
from reworker.published.document import document
from reworker.published.examples import BODIES, HEADERS
from reworker.published.headers import reply_headers, step_headers
from reworker.published.schemas import message_schemas, standalone

NAMES = list(message_schemas())
FULL_STEP = messages.headers_of_step(
    StepHeaders(
        deadline_s=1.5, heartbeat_s=1e20, queue_timeout_s=0.00001, not_after_s=1e9 + 0.1, traceparent="x"
    )
)
FULL_REPLY = messages.headers_of_reply(ReplyHeaders("h:1:0", 1, "x"))


def accepts(name: str, value: Any) -> bool:
    return jsonschema.Draft7Validator(standalone(name)).is_valid(value)


@pytest.mark.parametrize("name", NAMES)
def test_schema_is_draft_07_and_accepts_its_examples(name: str) -> None:
    jsonschema.Draft7Validator.check_schema(standalone(name))
    for body in BODIES.get(name, ()):
        assert accepts(name, body)
        assert not accepts(name, {})
    assert name.endswith("-headers") != (name in BODIES)
    assert not accepts(name, [])


@pytest.mark.parametrize("name", NAMES)
def test_schema_is_described_in_one_piece(name: str) -> None:
    said = list(_values("description", message_schemas()[name]))
    assert said
    assert all("\n" not in text and "  " not in text for text in said)


def test_headers_are_those_that_are_sent() -> None:
    assert step_headers()["properties"].keys() == FULL_STEP.keys()
    assert reply_headers()["properties"].keys() == FULL_REPLY.keys()
    assert set(step_headers()["required"]) == messages.headers_of_step(StepHeaders()).keys()
    assert set(reply_headers()["required"]) == FULL_REPLY.keys() - {"traceparent"}
    for name, table in HEADERS.items():
        assert accepts(f"{name}-headers", table)


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("step-headers", {**FULL_STEP, "x-reworker": 1}),
        ("step-headers", {**FULL_STEP, "x-deadline-s": 1.5}),
        ("step-headers", {**FULL_STEP, "x-deadline-s": "soon"}),
        ("step-headers", {**FULL_STEP, "x-idempotent": "true"}),
        ("step-headers", {"x-reworker": 2}),
        ("reply-headers", {**FULL_REPLY, "x-seq": "1"}),
        ("reply-headers", {**FULL_REPLY, "x-seq": 0}),
    ],
)
def test_headers_of_another_form_are_refused(name: str, table: dict[str, Any]) -> None:
    assert not accepts(name, table)


@pytest.mark.parametrize("seconds", [0.00001, 1e-7, 1.5, 900.0, 1e16, 1e22])
def test_seconds_are_accepted_as_they_are_written(seconds: float) -> None:
    assert accepts("step-headers", messages.headers_of_step(StepHeaders(deadline_s=seconds)))


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("step", {"group": "g", "parameters": {"command": "c"}}),
        ("step", {"group": "g", "parameters": {"command": "c", "subcommand": "s", "hosts": "web1"}}),
        ("reply", {"status": "done"}),
        ("reply-level-1", {"status": "running"}),
        ("notification", {**BODIES["notification"][0], "slug": "x" * 81}),
    ],
)
def test_body_of_another_form_is_refused(name: str, body: dict[str, Any]) -> None:
    assert not accepts(name, body)


def test_reply_of_any_status_is_a_reply() -> None:
    assert all(accepts("reply", {"status": one}) for one in messages.STATUSES)


def test_references_lead_to_what_is_there() -> None:
    whole = json.loads(json.dumps(document()))
    found = list(_values("$ref", whole))
    assert len(found) > 50
    for reference in found:
        target: Any = whole
        for part in reference.removeprefix("#/").split("/"):
            target = target[part]
        assert target


def test_messages_of_an_operation_are_those_of_its_channel() -> None:
    whole = document()
    used = set()
    for operation in whole["operations"].values():
        used.add(operation["channel"]["$ref"].rpartition("/")[2])
        reply = operation.get("reply")
        if reply is not None:
            channel = reply["channel"]["$ref"]
            used.add(channel.rpartition("/")[2])
            assert all(one["$ref"].startswith(f"{channel}/messages/") for one in reply["messages"])
            assert whole["channels"][channel.rpartition("/")[2]]["address"] is None
    assert used == whole["channels"].keys()


def test_parameters_of_an_address_are_explained() -> None:
    for channel in document()["channels"].values():
        address = channel["address"] or ""
        for name in channel.get("parameters", {}):
            assert f"{{{name}}}" in address
        assert address.count("{") == len(channel.get("parameters", {}))


def _values(key: str, value: Any) -> Iterator[str]:
    """Yield the texts of a key at any depth."""
    if isinstance(value, dict):
        found = value.get(key)
        if isinstance(found, str):
            yield found
        for one in value.values():
            yield from _values(key, one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _values(key, one)
