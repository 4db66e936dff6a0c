"""Checks against the final reply: the whole body is equal, or contains what is wanted."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from reworker.bus.contract import Properties
from reworker.core.inbound import reply_request
from reworker.fsm.events import ReplyCompleted, ReplyFailed
from reworker.fsm.expectation import SHOWN_CHARACTERS, difference, is_contained, is_met
from reworker.fsm.playbook import Expectation
from reworker.ids import attempt_id
from reworker.messages import encode
from reworker.testing.harness import FakeDelivery

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def met(wanted: Any, body: dict[str, Any], *, is_subset: bool = False) -> bool:
    """Tell whether a reply with this body, as a worker sends it, meets the expectation."""
    properties = Properties(correlation_id=attempt_id("0" * 24, 1))
    delivery = FakeDelivery(body=encode(body), properties=properties, routing_key="re.replies")
    event = reply_request(delivery, NOW).event
    assert isinstance(event, ReplyCompleted | ReplyFailed)
    return is_met(Expectation(body=wanted, is_subset=is_subset), event)


EQUAL: list[dict[str, Any]] = [
    {"status": "completed"},
    {"status": "failed"},
    {"status": "completed", "data": {"load": [1, 2.5, None, True]}},
    {"status": "completed", "data": [], "message": "fine"},
    {"status": "completed", "data": False},
    {"status": "failed", "data": "no such host"},
    {"status": "failed", "reason": "lost"},
    {"status": "failed", "data": "no such host", "message": "other words"},
    {"status": "failed", "data": "twice", "message": "twice"},
    {"status": "completed", "code": 0, "flags": {"a": None}},
    {"status": "completed", "message": {"not": "text"}},
    {"status": "completed", "percent": 100},
    {"status": "completed", "message": ""},
]


@pytest.mark.parametrize("body", EQUAL, ids=str)
def test_an_expectation_is_met_when_the_whole_body_is_equal(body: dict[str, Any]) -> None:
    assert met(body, body)


@pytest.mark.parametrize(
    ("wanted", "body"),
    [
        ({"status": "completed"}, {"status": "failed"}),
        ({"status": "completed"}, {"status": "completed", "data": 1}),
        ({"status": "completed"}, {"status": "completed", "code": 0}),
        ({"status": "completed"}, {"status": "completed", "message": "fine"}),
        ({"status": "completed", "data": 1}, {"status": "completed"}),
        ({"status": "completed", "data": 1}, {"status": "completed", "data": True}),
        ({"status": "completed", "data": 0}, {"status": "completed", "data": False}),
        ({"status": "completed", "data": "1"}, {"status": "completed", "data": 1}),
        ({"status": "completed", "data": [1, 2]}, {"status": "completed", "data": [2, 1]}),
        ({"status": "completed", "data": [1]}, {"status": "completed", "data": [1, 1]}),
        ({"status": "completed", "data": {"a": 1}}, {"status": "completed", "data": {"a": 1, "b": 2}}),
        ({"status": "completed", "data": {}}, {"status": "completed", "data": []}),
        ({"status": "completed", "data": []}, {"status": "completed", "data": {}}),
        ({}, {"status": "completed"}),
        (None, {"status": "completed"}),
        ("completed", {"status": "completed"}),
    ],
    ids=str,
)
def test_an_expectation_is_not_met_when_anything_differs(wanted: Any, body: dict[str, Any]) -> None:
    assert not met(wanted, body)


def test_null_counts_as_absent_on_either_side() -> None:
    assert met({"status": "completed", "data": None}, {"status": "completed"})
    assert met({"status": "completed"}, {"status": "completed", "data": None, "code": None})


@pytest.mark.parametrize(
    ("wanted", "is_in"),
    [
        ({}, True),
        ({"status": "completed"}, True),
        ({"status": "failed"}, False),
        ({"data": {"load": 3}}, True),
        ({"data": {"load": 4}}, False),
        ({"data": {"disks": [{"name": "b"}]}}, True),
        ({"data": {"disks": [{"name": "b"}, {"name": "a"}]}}, True),
        ({"data": {"disks": [{"name": "c"}]}}, False),
        ({"data": {"missing": None}}, False),
        ({"code": 0}, True),
        ({"code": False}, False),
        ({"data": []}, False),
        ({"data": {"disks": {}}}, False),
        ([], False),
    ],
    ids=str,
)
def test_a_subset_is_met_when_the_body_contains_it(wanted: Any, is_in: bool) -> None:
    data = {"load": 3, "disks": [{"name": "a", "size": 1}, {"name": "b", "size": 2}]}
    body = {"status": "completed", "data": data, "code": 0}
    assert met(wanted, body, is_subset=True) is is_in


def test_a_reply_as_deep_as_json_may_be_is_compared_when_the_expectation_is_shallow() -> None:
    deep: Any = 1
    for _ in range(5000):
        deep = [deep]
    event = ReplyCompleted(at=NOW, attempt=1, data=deep)
    wanted = {"status": "completed", "data": [[1]]}
    assert not is_met(Expectation(body=wanted), event)
    assert not is_met(Expectation(body=wanted, is_subset=True), event)
    assert is_contained([[]], deep)
    assert difference(Expectation(body=wanted), event) == 'data: wanted [[1]], found [[["..."]]]'


DATA = {"load": 3, "disks": [1, 2], "site": {"name": "a", "size": 1}}


@pytest.mark.parametrize(
    ("wanted", "is_subset", "text"),
    [
        ({"status": "failed"}, False, 'status: wanted "failed", found "completed"'),
        ({"status": "completed"}, False, f"data: wanted nothing, found {json.dumps(DATA)}"),
        ({"data": {"load": True}}, True, "data.load: wanted true, found 3"),
        ({"status": "completed", "data": {**DATA, "load": 4}}, False, "data.load: wanted 4, found 3"),
        ({"data": {"site": {"owner": "ann"}}}, True, 'data.site.owner: wanted "ann", found nothing'),
        ({"data": {"site": "a"}}, True, 'data.site: wanted "a", found {"name": "a", "size": 1}'),
        ({"data": {"disks": [3]}}, True, "data.disks: wanted [3], found [1, 2]"),
        ({"data": {"é": None}}, True, "data.é: wanted null, found nothing"),
        ([], True, f'wanted [], found {{"status": "completed", "data": {json.dumps(DATA)}}}'),
    ],
    ids=str,
)
def test_the_first_difference_is_shown_with_what_is_wanted_and_found(
    wanted: Any, is_subset: bool, text: str
) -> None:
    event = ReplyCompleted(at=NOW, attempt=1, data=DATA)
    expectation = Expectation(body=wanted, is_subset=is_subset)
    assert not is_met(expectation, event)
    assert difference(expectation, event) == text


@pytest.mark.parametrize(
    ("found", "shown"),
    [
        ("x" * 1000, f'"{"x" * (SHOWN_CHARACTERS - 1)}...'),
        (list(range(50)), '[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, "..."]'),
        (
            dict.fromkeys("abcdefghijkl", 0),
            f'{json.dumps(dict.fromkeys("abcdefghij", 0))[:-1]}, "...": "..."}}',
        ),
        ([[[[]]], [[[1]]]], '[[[[]]], [["..."]]]'),
    ],
    ids=["long", "many items", "many keys", "deep"],
)
def test_a_value_is_cut_when_it_is_too_large_to_be_shown(found: Any, shown: str) -> None:
    event = ReplyCompleted(at=NOW, attempt=1, data=found)
    assert (
        difference(Expectation(body={"data": 1}, is_subset=True), event) == f"data: wanted 1, found {shown}"
    )


def test_a_place_is_cut_when_its_name_is_long() -> None:
    wanted = Expectation(body={"x" * 1000: 1}, is_subset=True)
    text = difference(wanted, ReplyCompleted(at=NOW, attempt=1))
    assert text == f"{'x' * 80}...: wanted 1, found nothing"
