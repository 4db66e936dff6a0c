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
def test_hint_names_the_database_without_its_password(db: str, expected: str) -> None:
    assert db_words(db) == expected
