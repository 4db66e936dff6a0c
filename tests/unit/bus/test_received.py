"""The correlation id of messages, also of tools that cannot set the property."""

from __future__ import annotations

import pytest

from reworker.bus.contract import Properties
from reworker.bus.received import CORRELATION_HEADER, correlation_of


@pytest.mark.parametrize(
    ("correlation_id", "headers", "found"),
    [
        ("a", None, "a"),
        ("a", {CORRELATION_HEADER: "b"}, "a"),
        (None, {CORRELATION_HEADER: "b"}, "b"),
        ("", {CORRELATION_HEADER: "b"}, "b"),
        (None, {CORRELATION_HEADER: 7}, None),
        (None, {"other": "b"}, None),
        (None, None, None),
    ],
)
def test_header_stands_for_the_property_when_that_is_missing(correlation_id, headers, found):
    assert correlation_of(Properties(correlation_id=correlation_id, headers=headers)) == found
