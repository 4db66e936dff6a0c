"""Settings in layers: which source of a value wins, what values are allowed, and what somebody meant."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from reworker.errors import ConfigError

#: origin of a value that nobody has set.
DEFAULT_ORIGIN = "default"
#: how alike two words must be for one to be taken for a slip of the other. Source: tried on our own keys.
NEAR = 0.7
#: where a value stands: in words, or asked by key.
Origin = str | Callable[[str], str]


class Kind(msgspec.Struct, frozen=True):
    """What values a setting may have.

    Args:
        allowed: in words, for errors.
        parse: from what a file or a variable holds to the value; raises ValueError or TypeError.
        has_null: whether null is as good as unset.
    """

    allowed: str
    parse: Callable[[Any], Any]
    has_null: bool = True


class Layered:
    """Values from several sources, key by key; a later layer wins.

    Args:
        layers: (origin, values) pairs, weakest first; an origin is a file, variable or ``constructor``, or
            a function that returns the place of a key.
    """

    def __init__(self, *layers: tuple[Origin, Mapping[str, Any]]) -> None:
        self._layers = layers

    def get(self, key: str, default: Any = None) -> Any:
        """Return the strongest value of `key`."""
        return self.find(key, default)[0]

    def find(self, key: str, default: Any = None) -> tuple[Any, str]:
        """Return (value, origin); the origin is ``default`` when no layer has the key."""
        for origin, values in reversed(self._layers):
            if key in values:
                return values[key], origin if isinstance(origin, str) else origin(key)
        return default, DEFAULT_ORIGIN

    def read(self, key: str, default: Any, kind: Kind) -> Any:
        """Return the strongest value of `key`, checked; a null stands for the default.

        Raises:
            ConfigError: the value is not of this kind; names the origin, and what is allowed.
        """
        value, origin = self.find(key, default)
        if value is default or (value is None and kind.has_null):
            return default
        try:
            return kind.parse(value)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"expected {kind.allowed}, found {value!r}", key=key, path=origin) from error

    def integer(self, key: str, default: int, *, least: int = 0) -> int:
        """Return a whole number of at least `least`; see `read`."""
        number: int = self.read(key, default, whole(least))
        return number

    def number(self, key: str, default: float | None, *, above: float = 0.0) -> float | None:
        """Return a number of seconds or the like above `above`, or None when unset; see `read`."""
        number: float | None = self.read(key, default, number_above(above))
        return number

    def choice(self, key: str, default: str, allowed: tuple[str, ...]) -> str:
        """Return one of the allowed words; see `read`."""
        word: str = self.read(key, default, one_of(*allowed))
        return word


def whole(least: int) -> Kind:
    """Return the kind of whole numbers of at least `least`."""

    def parse(value: Any) -> int:
        number = int(str(value))
        if number < least:
            raise ValueError
        return number

    return Kind(f"a whole number of at least {least}", parse, has_null=False)


def number_above(above: float) -> Kind:
    """Return the kind of finite numbers above `above`."""

    def parse(value: Any) -> float:
        number = float("nan") if isinstance(value, bool) else float(value)
        if not above < number < float("inf"):
            raise ValueError
        return number

    return Kind(f"a number above {above:g}", parse)


def one_of(*words: str) -> Kind:
    """Return the kind of these words."""

    def parse(value: Any) -> str:
        if value not in words:
            raise ValueError
        return str(value)

    return Kind(f"one of {', '.join(words)}", parse)


#: how people write yes and no in files and variables.
_FLAGS = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}


def flag() -> Kind:
    """Return the kind of true and false."""

    def parse(value: Any) -> bool:
        try:
            return _FLAGS[str(value).strip().lower()]
        except KeyError as error:
            raise ValueError from error

    return Kind("true or false", parse)


def text() -> Kind:
    """Return the kind of any text."""

    def parse(value: Any) -> str:
        if not isinstance(value, str | int | float) or isinstance(value, bool):
            raise TypeError
        return str(value)

    return Kind("a text", parse)


def words() -> Kind:
    """Return the kind of lists of texts; a text is split at spaces and commas."""

    def parse(value: Any) -> tuple[str, ...]:
        found = value.replace(",", " ").split() if isinstance(value, str) else value
        if not isinstance(found, list | tuple) or not all(isinstance(one, str) and one for one in found):
            raise TypeError
        return tuple(found)

    return Kind("a list of texts", parse, has_null=False)


def environment_layer(environ: Mapping[str, str], prefix: str, names: Mapping[str, str]) -> dict[str, str]:
    """Return the settings found in variables ``<prefix><NAME>``.

    Args:
        environ: usually ``os.environ``.
        prefix: for example ``REWORKER_MEGAFROBBER_``.
        names: upper-case variable ending to setting name, for example ``{"ACK": "ack"}``.
    """
    return {name: environ[prefix + key] for key, name in names.items() if prefix + key in environ}


def did_you_mean(word: str, known: Iterable[str], near: float = NEAR) -> str:
    """Return ``; did you mean 'x'?`` when a known word is as alike as `near`, else an empty text."""
    table = {one.lower(): one for one in known}
    found = difflib.get_close_matches(word.lower(), table, 1, near)
    return f"; did you mean {table[found[0]]!r}?" if found else ""
