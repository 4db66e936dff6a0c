"""Texts for a server: any of them is kept, and no password is shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reworker.errors import ConfigError
from reworker.storage.any_text import escaped, unescaped
from reworker.storage.server_url import is_server, masked_url, parsed_url

ODD = st.text(st.sampled_from("a\0\u2400\u241b\n\U0001f600"), max_size=12)


@given(ODD | st.text(max_size=20))
def test_text_comes_back_as_it_was_and_holds_no_nul_meanwhile(text: str) -> None:
    kept = escaped(text)
    assert kept is not None
    assert "\0" not in kept
    assert unescaped(kept) == text


@given(ODD, ODD)
def test_two_texts_stay_two(one: str, other: str) -> None:
    assert (escaped(one) == escaped(other)) == (one == other)


def test_nothing_stays_nothing() -> None:
    assert (escaped(None), unescaped(None)) == (None, None)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ann:s3cret@db:5433/re", "postgresql://ann:***@db:5433/re"),
        ("postgres://ann@db/re", "postgresql://ann@db/re"),
        (
            "postgresql:///re?host=/run/pg&sslmode=require",
            "postgresql:///re?host=%2Frun%2Fpg&sslmode=require",
        ),
        ("postgresql://db/re?password=s3cret&user=ann", "postgresql://db/re?user=ann"),
    ],
)
def test_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert masked_url(url) == shown
    assert masked_url(parsed_url(url)) == shown


@pytest.mark.parametrize("url", ["postgresql://ann:s3cret@db:port/re", "postgresql://ann:s3cret@db:0/re"])
def test_url_is_refused_without_its_secrets(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parsed_url(url)
    assert "s3cret" not in f"{caught.value} {caught.value.__cause__}"


def test_server_is_told_from_a_file() -> None:
    assert is_server("postgres://db/re")
    assert not is_server("sqlite:////srv/postgresql/x.db")
