"""Output, notifications and the frozen helpers of 2014."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from reworker.messages import CUT_MARK, OUTPUT_LIMIT_BYTES
from reworker.notify import notifications
from reworker.output import Output
from reworker.utils import step_to_notification_format


def made(level: str | int = "INFO") -> tuple[Output, list[Any]]:
    sent: list[Any] = []
    return Output(lambda *args: sent.append(args), "c1", level), sent


def test_line_goes_to_the_topic_output_when_its_level_is_high_enough() -> None:
    output, sent = made()
    output.debug("too low")
    output.info("at %s", "level")
    output.log("ERROR", "above")
    assert sent == [("output", "c1", {"message": "at level"}), ("output", "c1", {"message": "above"})]


@pytest.mark.parametrize("name", ["debug", "info", "warn", "warning", "error", "critical", "fatal"])
def test_every_method_of_2014_sends_when_the_level_is_debug(name: str) -> None:
    output, sent = made("DEBUG")
    getattr(output, name)("x")
    assert sent == [("output", "c1", {"message": "x"})]


@pytest.mark.parametrize(("level", "number"), [("debug", 10), ("nonsense", 20), (30, 30), ("WARN", 30)])
def test_level_is_understood_when_named(level: str | int, number: int) -> None:
    output, _ = made(level)
    assert output._level == number
    output.setLevel("unknown")
    assert output._level == number


def test_line_of_unknown_level_counts_as_info_when_logged() -> None:
    output, sent = made("INFO")
    output.log("LOUD", "x")
    output.setLevel(logging.ERROR)
    output.log("LOUD", "y")
    assert [one[2]["message"] for one in sent] == ["x"]


@pytest.mark.parametrize(
    ("message", "args", "text"),
    [
        ("100%", (), "100%"),
        ("%(a)s", ({"a": 1},), "1"),
        ("%d", ("x",), "%d ('x',)"),
        ("%s %s", ("x",), "%s %s ('x',)"),
        ("%(b)s", ({"a": 1},), "%(b)s ({'a': 1},)"),
        (7, (), "7"),
        ("a\udcff\u00e9", (), "a\\udcff\u00e9"),
        ("%s", ("\udcff",), "\\udcff"),
    ],
)
def test_line_is_never_lost_when_its_format_is_wrong(message: Any, args: tuple[Any, ...], text: str) -> None:
    output, sent = made()
    output.info(message, *args)
    assert sent[0][2] == {"message": text}


def test_line_is_cut_with_a_mark_when_it_is_50_megabytes() -> None:
    output, sent = made()
    output.info("x" * 50_000_000)
    text = sent[0][2]["message"]
    assert len(text) == OUTPUT_LIMIT_BYTES
    assert text.endswith(CUT_MARK)


@pytest.mark.parametrize(
    "table", [None, [], {"started": ["irc"]}, {"completed": {"irc": ["#a"]}}, {"started": {}}]
)
def test_nothing_is_notified_when_the_step_names_no_transport_for_the_phase(table: Any) -> None:
    assert list(notifications(table, "started", "s", "m")) == []


@pytest.mark.parametrize(
    ("target", "expected"), [(None, ["#a"]), ("#b", ["#b"]), (("#c", "#d"), ["#c", "#d"]), ([], [])]
)
def test_target_replaces_the_tables_when_given(target: Any, expected: list[str]) -> None:
    ((key, body),) = notifications({"started": {"irc": ["#a"]}}, "started", "s", "m", target)
    assert (key, body["target"]) == ("notify.irc", expected)


def test_step_becomes_a_notification_when_its_parameters_hold_one() -> None:
    wanted = {"slug": "s", "message": "m", "phase": "started", "target": ["#a"]}
    assert step_to_notification_format({"parameters": {**wanted, "command": "x"}}) == wanted
    with pytest.raises(KeyError, match="target"):
        step_to_notification_format({"parameters": {"slug": "", "message": "", "phase": ""}})
