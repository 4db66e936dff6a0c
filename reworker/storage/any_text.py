"""Text of any kind: PostgreSQL keeps no NUL, which names and messages of others may hold."""

from __future__ import annotations

import re
from collections.abc import Callable

from sqlalchemy import Dialect, String, TypeDecorator

#: shown for a NUL, and before a character that stands for itself.
_SYMBOL, _ESCAPE = "\u2400", "\u241b"
_SPECIAL = re.compile(f"[\0{_SYMBOL}{_ESCAPE}]")
_TABLE = {0: _SYMBOL, ord(_SYMBOL): _ESCAPE + _SYMBOL, ord(_ESCAPE): _ESCAPE * 2}
_ESCAPED = re.compile(f"{_ESCAPE}(.)|{_SYMBOL}")

Process = Callable[[str | None], str | None]


class AnyText(TypeDecorator[str]):
    """Text, with a limit in characters if one is given; on PostgreSQL a NUL is written as its symbol."""

    impl = String
    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Process | None:
        """Escape what PostgreSQL would refuse; SQLite takes all."""
        return escaped if dialect.name == "postgresql" else None

    def result_processor(self, dialect: Dialect, coltype: object) -> Process | None:
        """Undo it."""
        return unescaped if dialect.name == "postgresql" else None


def escaped(value: str | None) -> str | None:
    """Return a text without NUL."""
    return value.translate(_TABLE) if value and _SPECIAL.search(value) else value


def has_special(json_text: str) -> bool:
    """Tell whether a JSON text may hold something that `escaped` changes."""
    return "\\u0000" in json_text or _SYMBOL in json_text or _ESCAPE in json_text


def unescaped(value: str | None) -> str | None:
    """Return the text that `escaped` was given."""
    if not value or (_SYMBOL not in value and _ESCAPE not in value):
        return value
    return _ESCAPED.sub(lambda found: found[1] or "\0", value)
