"""What people are told to type next."""

from __future__ import annotations

import pytest

from reworker.cli.options import DEFAULT_DB
from reworker.cli.waits import db_words


@pytest.mark.parametrize(
    ("db", "expected"),
    [
        (DEFAULT_DB, ""),
        ("sqlite:///other.db", " --db sqlite:///other.db"),
        ("postgresql://ann@db/shop", " --db postgresql://ann@db/shop"),
        ("postgresql://ann:s3cret@db/shop", " --db postgresql://ann:***@db/shop"),
        ("postgresql://ann@db/shop?password=s3cret", " --db postgresql://ann@db/shop"),
    ],
)
def test_hint_names_the_database_without_its_password(
    monkeypatch: pytest.MonkeyPatch, db: str, expected: str
) -> None:
    monkeypatch.delenv("REWORKER_DB", raising=False)
    assert db_words(db) == expected


def test_hint_names_no_database_when_it_is_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REWORKER_DB", "postgresql://ann:s3cret@db/shop")
    assert db_words("postgresql://ann:s3cret@db/shop") == ""
    assert db_words(DEFAULT_DB) == f" --db {DEFAULT_DB}"
