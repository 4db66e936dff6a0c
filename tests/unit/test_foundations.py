"""Ids, backoff, clock and the error tree."""

import datetime
import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reworker import backoff, clock, errors, ids

AT = datetime.datetime(2026, 1, 2, 3, 4, 5, 678900, tzinfo=datetime.UTC)


def test_make_id_is_24_hex_characters_ordered_by_time():
    first, second = ids.make_id(AT, 2**48 - 1), ids.make_id(AT + datetime.timedelta(milliseconds=1), 0)
    assert ids.is_id(first)
    assert ids.is_id(second)
    assert first < second


def test_new_id_differs_within_one_moment():
    assert len({ids.new_id(AT) for _ in range(1000)}) == 1000


@given(st.integers(1, 10**9 - 1))
def test_parse_attempt_id_reads_what_attempt_id_wrote(number):
    deployment = ids.make_id(AT, 7)
    assert ids.parse_attempt_id(ids.attempt_id(deployment, number)) == (deployment, number)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        5,
        "x" * 10_000,
        "../../etc/passwd",
        "a" * 24,
        "a" * 24 + ".0",
        "a" * 24 + ".1\n",
        "A" * 24 + ".1",
    ],
)
def test_parse_attempt_id_is_none_when_the_text_is_not_ours(text):
    assert ids.parse_attempt_id(text) is None


@given(st.integers(-5, 10**6), st.floats(0, 1, exclude_max=True))
def test_delay_stays_between_base_and_cap(attempt, random):
    assert 0.2 <= backoff.delay_s(attempt, base_s=0.2, cap_s=30, rand=lambda: random) <= 30


def test_delay_grows_and_has_jitter():
    top = [backoff.delay_s(n, base_s=0.2, cap_s=30, rand=lambda: 0.999) for n in range(1, 9)]
    assert top == sorted(top)
    assert backoff.delay_s(3, base_s=0.2, cap_s=30, rand=lambda: 0.0) == 0.2


def test_system_clock_gives_aware_time_and_rising_seconds():
    system = clock.SystemClock()
    assert system.now().tzinfo is datetime.UTC
    assert system.mono_s() <= system.mono_s()


def test_iso_is_rfc_3339_in_utc_with_milliseconds():
    other = AT.astimezone(datetime.timezone(datetime.timedelta(hours=2)))
    assert clock.iso(other) == "2026-01-02T03:04:05.678Z"


def test_error_tree_in_the_docstring_is_the_tree():
    tree = {
        name: kind.__mro__[1].__name__
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if kind.__module__ == errors.__name__
    }
    drawn: dict[str, str] = {}
    stack: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        word = line.split()[0] if line.startswith("    ") and line.split() else ""
        if not word:
            continue
        indent = len(line) - len(line.lstrip())
        while stack and stack[-1][0] >= indent:
            stack.pop()
        drawn[word] = stack[-1][1] if stack else "Exception"
        stack.append((indent, word))
    assert drawn == tree


@pytest.mark.parametrize(
    ("error", "parts"),
    [
        (errors.ConfigError("is missing", key="server", path="mq.json"), ["mq.json", "server", "is missing"]),
        (errors.MissingParameter("color", ("color", "speed")), ["'color'", "color, speed"]),
        (errors.MissingParameter("color"), ["'color' is missing"]),
        (
            errors.CannotConnect("amqp://u:***@h:1/", "refused", 3),
            ["amqp://u:***@h:1/", "3 tries", "refused"],
        ),
        (errors.CannotConnect("amqp://h:1/", "refused"), ["(1 try): refused"]),
        (errors.TopologyMismatch("worker.x", 406, "durable", "inequivalent"), ["worker.x", "406", "durable"]),
        (errors.Unroutable("re", "worker.x"), ["'re'", "'worker.x'", "start the worker"]),
        (errors.PublishNotConfirmed("", "nack", is_sent=True), ["a message", "nack"]),
        (
            errors.PlaybookInvalid("bad", line=3, path="execution[0]", source="p.yaml"),
            ["p.yaml:3", "execution[0]"],
        ),
        (errors.PlaybookInvalid("bad"), ["playbook: bad"]),
        (errors.IllegalTransition("ready", "Reply"), ["ready", "Reply"]),
        (errors.DeploymentNotFound("abc"), ["'abc'"]),
        (errors.PlaybookNotFound("abc"), ["'abc'"]),
        (errors.UndecodableMessage("no"), ["no"]),
        (errors.JobRetry(2.0, "later"), ["later"]),
    ],
)
def test_errors_say_what_and_where(error, parts):
    assert all(part in str(error) for part in parts)
