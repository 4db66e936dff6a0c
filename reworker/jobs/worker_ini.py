"""The file worker.ini: properties of workers, ``[DEFAULT]`` and a section for each type, with line numbers.

Lines are ``name = value`` or ``name: value``; ``#`` and ``;`` begin a comment where a line begins, and an
indented line goes on with the value before it. Nothing is put into values.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from reworker.config import FILE_LIMIT_CHARACTERS
from reworker.errors import ConfigError
from reworker.layers import did_you_mean

#: name of the section for all types, in lower case.
DEFAULT_SECTION = "default"
_SECTION = re.compile(r"\[([^\]]+)\]")
_SETTING = re.compile(r"([^=:\s][^=:]*?)\s*[=:]\s*(.*)")


class Section:
    """One section: values by property, and where each stands."""

    def __init__(self, path: str) -> None:
        self.values: dict[str, str] = {}
        self._path = path
        self._lines: dict[str, int] = {}
        self._last = ""

    def place_of(self, name: str) -> str:
        """Return ``file:line`` of a property."""
        return f"{self._path}:{self._lines[name]}"

    def add(self, name: str, value: str, line: int) -> None:
        """Take a property.

        Raises:
            ConfigError: it is there already.
        """
        if name in self.values:
            raise ConfigError(
                f"stands in line {self._lines[name]} too", key=name, path=f"{self._path}:{line}"
            )
        self.values[name], self._lines[name], self._last = value, line, name

    def go_on(self, text: str) -> bool:
        """Take another line of the last value; return whether there is one."""
        if self._last:
            self.values[self._last] += f"\n{text}"
        return bool(self._last)


def load_ini(path: str, known: Mapping[str, str]) -> dict[str, Section]:
    """Return the sections of a file by name.

    Args:
        path: of the file.
        known: names in lower case to the property that each means.

    Raises:
        ConfigError: it cannot be read; or a line is wrong: the error names it.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")[:FILE_LIMIT_CHARACTERS]
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"cannot be read: {error}", path=path) from error
    sections: dict[str, Section] = {}
    section: Section | None = None
    for number, line in enumerate(text.splitlines(), 1):
        words, place = line.strip(), f"{path}:{number}"
        if not words or words[0] in "#;":
            continue
        head = _SECTION.fullmatch(words)
        if head:
            section = _new_section(sections, head[1].strip(), path, place)
        elif not (section is not None and line[0].isspace() and section.go_on(words)):
            _add(section, words, known, number, place)
    return sections


def _new_section(sections: dict[str, Section], name: str, path: str, place: str) -> Section:
    if any(name.lower() == other.lower() for other in sections):
        raise ConfigError(f"a second section [{name}]", path=place)
    return sections.setdefault(name, Section(path))


def _add(section: Section | None, words: str, known: Mapping[str, str], number: int, place: str) -> None:
    found = _SETTING.fullmatch(words)
    if found is None:
        raise ConfigError(f"expected [section] or name = value, found {words[:60]!a}", path=place)
    if section is None:
        raise ConfigError("stands before the first [section]; for all workers write [DEFAULT]", path=place)
    name = known.get(found[1].lower())
    if name is None:
        raise ConfigError(
            f"no such property{did_you_mean(found[1], known.values()) or _all_of(known)}",
            key=found[1],
            path=place,
        )
    section.add(name, found[2], number)


def _all_of(known: Mapping[str, str]) -> str:
    return f"; there are {', '.join(sorted(set(known.values()), key=str.lower))}"
