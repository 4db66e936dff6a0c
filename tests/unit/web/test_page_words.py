from __future__ import annotations

from datetime import UTC, datetime

import pytest

from reworker.web.pages.rendering import own_path
from reworker.web.pages.words import count, duration, exact, short, size, status, visible, when


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (0, "0 s"),
        (0.42, "0.4 s"),
        (9.6, "9.6 s"),
        (59, "59 s"),
        (61, "1 m 1 s"),
        (7260, "2 h 1 m"),
    ],
)
def test_duration_is_short_when_shown(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_days_are_told_when_it_took_some() -> None:
    assert duration(2 * 86400 + 3 * 3600) == "2 d 3 h"


@pytest.mark.parametrize(
    ("value", "text"), [(12, "12 bytes"), (1536, "1.5 KiB"), (5 << 20, "5.0 MiB"), (3 << 40, "3072.0 GiB")]
)
def test_size_has_a_unit_that_fits_when_shown(value: int, text: str) -> None:
    assert size(value) == text


def test_characters_that_mislead_are_seen_when_shown() -> None:
    assert visible("a\u202eb\x1b[31m\u200b\r") == "a\\u202eb\\u001b[31m\\u200b\\u000d"
    assert visible("plain\n\ttext: höhe, 日本, 👍") == "plain\n\ttext: höhe, 日本, 👍"
    assert visible(None) == ""
    assert visible(3) == 3


def test_status_is_words_when_shown() -> None:
    assert status("rolled_back") == '<span class="status back">rolled back</span>'
    assert status("<b>") == '<span class="status plain">&lt;b&gt;</span>'


def test_text_for_a_field_keeps_every_character_when_edited() -> None:
    assert exact("\na\u202e<b>") == "\n\na\u202e&lt;b&gt;"


def test_time_is_utc_when_shown() -> None:
    assert "2026-01-02 03:04:05" in when(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    assert "never" in when(None)


def test_words_are_counted_and_cut_when_long() -> None:
    assert (count(1, "step"), count(2000, "step"), count(2, "fish", "fish")) == (
        "1 step",
        "2,000 steps",
        "2 fish",
    )
    assert short("a\n b", 10) == "a b"
    assert short("abcdef", 4) == "abc…"


@pytest.mark.parametrize("text", ["//x", "/\\x", "x", "", "https://x", "/a\nb", "/a\\b", "javascript:x"])
def test_path_is_not_ours_when_it_leads_away(text: str) -> None:
    assert own_path(text, "/here") == "/here"
    assert own_path("/deployments?q=a") == "/deployments?q=a"
