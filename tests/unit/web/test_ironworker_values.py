"""Values as IronWorker's clients mean them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reworker.web.errors import HttpProblem
from reworker.web.ironworker import values
from reworker.web.ironworker.documents import date_of


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (None, None),
        ("", None),
        (5, 5.0),
        (5.5, 5.5),
        ("5", 5.0),
        ("-3", -3.0),
        ("1e3", 1000.0),
    ],
)
def test_number_is_read_from_what_clients_send(value: Any, found: float | None) -> None:
    assert values.number_of({"n": value}, "n") == found


@pytest.mark.parametrize(
    "value", [True, False, [], {}, "x", "nan", "inf", "1_0", "٣", "1" * 41, float("nan"), -(10**400)]
)
def test_number_is_refused_when_it_is_none(value: Any) -> None:
    with pytest.raises(HttpProblem) as caught:
        values.number_of({"n": value}, "n")
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("value", "found"),
    [
        *(("1", True), ("true", True), ("%!d(bool=true)", True), ("yes", True), (True, True), (1, True)),
        *(
            ("0", False),
            ("false", False),
            ("False", False),
            ("", False),
            (None, False),
            (False, False),
            (0, False),
        ),
    ],
)
def test_flag_is_read_as_clients_mean_it(value: Any, found: bool) -> None:
    assert values.flag_of({"f": value}, "f") is found


@pytest.mark.parametrize(
    ("value", "found"),
    [(None, None), (-1, None), (0, 86_400), (0.5, 0.5), (60, 60), (86_400, 86_400), (10**9, 86_400)],
)
def test_timeout_of_nothing_is_the_longest_and_less_is_none(value: Any, found: float | None) -> None:
    assert values.timeout_of({"timeout": value}) == found


@pytest.mark.parametrize(
    ("value", "found"), [(None, None), (-3, None), (3, None), (0, 0), (2.0, 2), ("1", 1)]
)
def test_priority_out_of_range_is_not_set(value: Any, found: int | None) -> None:
    assert values.priority_of({"priority": value}) == found


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, (30, 0)),
        ({"page": "2", "per_page": "10"}, (10, 20)),
        ({"page": "1", "per_page": "0"}, (30, 30)),
        ({"per_page": "-1"}, (30, 0)),
        ({"per_page": "1000000000"}, (100, 0)),
        ({"page": "", "per_page": ""}, (30, 0)),
    ],
)
def test_page_is_counted_from_zero(query: dict[str, str], found: tuple[int, int]) -> None:
    assert values.page_of(query) == found


def test_time_is_told_in_utc_with_milliseconds() -> None:
    at = datetime(2016, 6, 8, 17, 52, 9, 689_999, tzinfo=UTC)
    assert date_of(at) == "2016-06-08T17:52:09.689Z"
    assert values.time_of({"t": "2016-06-08T19:52:09.689+02:00"}, "t") == at.replace(microsecond=689_000)
    assert values.epoch_of({"t": "86400.5"}, "t") == datetime(1970, 1, 2, tzinfo=UTC) + timedelta(seconds=0.5)


@pytest.mark.parametrize("value", ["soon", 5, [], "2030-13-01T00:00:00Z", "2030-01-01T00:00:00Z" * 9])
def test_time_is_refused_when_it_is_none(value: Any) -> None:
    with pytest.raises(HttpProblem):
        values.time_of({"t": value}, "t")
