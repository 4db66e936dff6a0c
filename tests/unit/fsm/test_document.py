"""Hostile text: what the reader of YAML and JSON refuses, and what values it gives."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reworker.errors import PlaybookInvalid
from reworker.fsm import document
from reworker.fsm.document import Problems, TooManyProblems, read_document


def value_of(text):
    problems = Problems("f.yaml")
    value = read_document(text, problems).plain()
    assert problems.found == []
    return value


def refusal_of(text):
    """Return the one error of a text: raised, or gathered."""
    problems = Problems("f.yaml")
    try:
        read_document(text, problems)
    except PlaybookInvalid as error:
        problems.found.append(error)
    (found,) = problems.found
    assert found.source == "f.yaml"
    return found


@pytest.mark.parametrize("text", ["", " \n\t\n", "# only\n# comments\n", b"", b"\xef\xbb\xbf"])
def test_read_refuses_when_empty(text):
    assert "empty" in refusal_of(text).reason


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbfa: b",
        "\ufeffa: b",
        b"a: b",
        "a: b",
        '{"a": "b"}',
        '{\n\t"a":\t"b"\n}',
        "%YAML 1.1\n---\na: b\n...",
    ],
)
def test_read_gives_the_same_when_text_has_a_mark_or_is_json(text):
    assert value_of(text) == {"a": "b"}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_read_says_utf_16_when_text_has_its_mark(encoding):
    assert "UTF-16 or UTF-32; save the file as UTF-8" in refusal_of("a: b".encode(encoding)).reason


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        (b"a: 1\nb: \xff", 2, "byte 0xff is not valid UTF-8"),
        (b"a: 1\nb: \0", 2, "a NUL"),
        ("a: 1\n\nb: \x1b[0m", 3, "control character U+001B"),
        ("a: 1\nb: \ud800", 2, "half a surrogate"),
        ("a: 1\n---\nb: 1", 2, "second document"),
        ("a: 1\na: 2", 2, "'a' appears twice"),
        ('{"a": 1,\n"a": 2}', 2, "'a' appears twice"),
        ("a: [1,\nb: {", 2, "not valid YAML or JSON"),
        ("a: b: c", 1, "a text with ': ' in it stands in quotes"),
        ("steps:\n- noop:Run\n  timeout: 5s", 3, "a step with keys below it ends with a colon"),
        ("a: &x\n- *x", 2, "alias *x stands inside what it refers to"),
        ("a: *x", 1, "alias *x has no anchor"),
        ("a: &x b\n*x : c", 2, "not an alias"),
        ("? [a]\n: b", 1, "a key must be text"),
        ("a: &x {b: 1}\nc:\n  <<: *x", 3, "merge keys"),
        ("a: 1\nb: !!python/object/apply:os.system [ls]", 2, "!!python/object/apply:os.system"),
        ("a: !!int '3'", 1, "tags such as !!int"),
        ("a: 1\nb: 1e400", 2, "1e400 is too large"),
        ("a: -1e400", 1, "too large"),
        (f"a: {2**63}", 1, "too large"),
        ("a: " + "9" * 5000, 1, "too large"),
        ("a: .nan", 1, "no number that JSON can carry"),
        ("a: -.inf", 1, "no number that JSON can carry"),
    ],
)
def test_read_names_line_and_reason_when_text_is_bad(text, line, part):
    found = refusal_of(text)
    assert found.line == line
    assert part in found.reason


def test_read_refuses_surrogate_when_json_has_half_a_pair():
    assert "not valid YAML or JSON" in refusal_of('{"a": "\\ud83d"}').reason


@pytest.mark.parametrize("smile", ["\\ud83d\\ude00", "\\uD83D\\uDE00", "\\\\\\\\\\ud83d\\ude00"])
def test_read_joins_surrogates_when_json_has_a_pair(smile):
    text = f'{{"a": "{smile}"}}'
    assert value_of(text) == json.loads(text)


def test_read_keeps_escaped_backslash_when_surrogates_are_mere_text():
    text = '{"a": "\\\\ud83d\\\\ude00"}'
    assert value_of(text) == json.loads(text)


@pytest.mark.parametrize(
    "text",
    [
        "no",
        "on",
        "off",
        "yes",
        "y",
        "NaN",
        "0o17",
        "0777",
        "0x1F",
        "1_000",
        "12:30:00",
        "2026-01-31",
        "+1",
        ".5",
        "1.",
    ],
)
def test_read_keeps_text_when_only_yaml_1_1_sees_more(text):
    assert value_of(f"{text}: {text}") == {text: text}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("~", None),
        ("", None),
        ("null", None),
        ("true", True),
        ("False", False),
        ("0", 0),
        ("-0", 0),
        ("-0.0", -0.0),
        (str(2**63 - 1), 2**63 - 1),
        (str(-(2**63)), -(2**63)),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("'true'", "true"),
        ('"1"', "1"),
        ("|\n  1\n", "1\n"),
        ("''", ""),
    ],
)
def test_read_gives_json_value_when_scalar_is_one(text, value):
    found = value_of(f"a: {text}")["a"]
    assert (found, type(found)) == (value, type(value))


def test_read_gives_key_as_text_when_key_looks_like_a_number():
    assert value_of("1: a\nnull: b\n'': c") == {"1": "a", "null": "b", "": "c"}


def test_read_repeats_value_when_alias_is_honest():
    assert value_of("a: &h [x, y]\nb: *h\nc: [*h, *h]") == {
        "a": ["x", "y"],
        "b": ["x", "y"],
        "c": [["x", "y"], ["x", "y"]],
    }


def test_read_refuses_when_aliases_are_a_bomb():
    lines = ["a0: &a0 [x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    assert f"more than {document.MAX_VALUES} values" in refusal_of("\n".join(lines)).reason


@pytest.mark.parametrize("text", ["[" * 10_000, "{a: " * 10_000, "- " * 10_000, '{"a":' * 10_000])
def test_read_refuses_at_once_when_nested_deeply(text):
    begin = time.perf_counter()
    assert "nested deeper than 64 levels" in refusal_of(text).reason
    assert time.perf_counter() - begin < 2


def test_read_accepts_when_nested_to_the_limit():
    depth = document.MAX_DEPTH
    assert value_of("[" * depth + "]" * depth) is not None


def test_read_refuses_when_text_is_over_the_limit():
    assert "the limit is 2097152" in refusal_of(b"#" * (document.MAX_BYTES + 1)).reason
    assert "the limit is 2097152" in refusal_of("ä" * (document.MAX_BYTES // 2 + 1)).reason


def test_read_reads_when_text_is_at_the_limit():
    assert value_of(b"a: b #" + b"x" * (document.MAX_BYTES - 6)) == {"a": "b"}


def test_read_stops_when_there_are_too_many_problems():
    problems = Problems("f.yaml")
    with pytest.raises(TooManyProblems):
        read_document("a: 1\n" * 1000, problems)
    assert len(problems.found) == document.MAX_PROBLEMS


FRAGMENTS = [
    *("a", "b: ", "- ", "[", "]", "{", "}", ",", ":", "\n", "  ", "\t", "\r", "|\n", "'", '"', "\\"),
    *("&x ", "*x", "!!int ", "\\u00", "\\ud83d", "\ufeff", "\x85", "\u2028", "\0", "1e400", "-0", "~"),
    *("---", "...", "%YAML 1.1\n", "? ", "#", "@", "<<"),
]


@settings(max_examples=3 * settings.default.max_examples, deadline=None)
@given(text=st.lists(st.sampled_from(FRAGMENTS), max_size=25).map("".join) | st.binary(max_size=60))
def test_read_gives_a_value_or_a_refusal_with_a_line_when_text_is_anything(text):
    problems = Problems("f.yaml")
    try:
        json.dumps(read_document(text, problems).plain(), allow_nan=False)
    except PlaybookInvalid as error:
        problems.found.append(error)
    assert all(1 <= found.line <= len(text.splitlines()) + 2 for found in problems.found)
