"""The file of a host: the list of its workers, with the line of everything in it.

::

    {"mq": FILE_OR_URL?, "ini": FILE?, "health": ADDRESS?,
     "workers": [NAME | {"worker": NAME, "config": FILE?, PROPERTY: VALUE ...}]}
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from reworker.config import load_mapping
from reworker.errors import ConfigError
from reworker.host.crew import Entry
from reworker.jobs.settings import ADDRESS, PROPERTIES
from reworker.jobs.sources import Given
from reworker.layers import Layered, did_you_mean

KEYS = ("mq", "ini", "health", "workers")
#: keys of an entry that are no properties.
ENTRY_KEYS = ("worker", "config")


class HostFile(msgspec.Struct, frozen=True):
    """What a host is told.

    Args:
        mq: message bus: a file or a URL; empty is not said.
        ini: file worker.ini; empty is looked for.
        health: where health and metrics are told; empty is nowhere.
        entries: its workers.
    """

    mq: str
    ini: str
    health: str
    entries: tuple[Entry, ...]


def load_host_file(path: str) -> HostFile:
    """Return the content of a file; names of files in it are beside it.

    Raises:
        ConfigError: unreadable, or something in it is wrong: names the line.
    """
    return _Reader(path).read()


class _Reader:
    """Reads one file; knows the line of each place in it, a place being a path such as ``("workers", 0)``."""

    def __init__(self, path: str) -> None:
        self._path, self._folder = path, Path(path).parent
        self._lines: dict[tuple[object, ...], int] = {}

    def read(self) -> HostFile:
        values = load_mapping(self._path)
        text = Path(self._path).read_text(encoding="utf-8-sig").replace("\t", " ")
        self._note_lines((), yaml.compose(text, Loader=yaml.SafeLoader))
        self._refuse_unknown((), values, KEYS)
        ini = self._file((), values, "ini")
        mq = self._text((), values, "mq")
        return HostFile(
            mq=mq if "://" in mq else self._file((), values, "mq"),
            ini=ini,
            health=self._health(values),
            entries=tuple(self._entry(n, one, ini) for n, one in enumerate(self._listed(values))),
        )

    def _note_lines(self, place: tuple[object, ...], node: Any) -> None:
        self._lines.setdefault(place, node.start_mark.line + 1 if node is not None else 1)
        if isinstance(node, yaml.SequenceNode):
            for number, one in enumerate(node.value):
                self._note_lines((*place, number), one)
        elif isinstance(node, yaml.MappingNode):
            for key, one in node.value:
                inner = (*place, key.value)
                if inner in self._lines:
                    raise ConfigError(
                        f"stands in line {self._lines[inner]} too", key=key.value, path=self._at(key)
                    )
                self._lines[inner] = key.start_mark.line + 1
                self._note_lines(inner, one)

    def _at(self, node: Any) -> str:
        return f"{self._path}:{node.start_mark.line + 1}"

    def place(self, *place: object) -> str:
        """Return ``file:line`` of a place, or of what it would be in."""
        while place not in self._lines:
            place = place[:-1]
        return f"{self._path}:{self._lines[place]}"

    def _listed(self, values: Mapping[str, Any]) -> list[Any]:
        listed = values.get("workers")
        if not isinstance(listed, list) or not listed:
            reason = "expected a list of workers, such as [sleep, noop]"
            raise ConfigError(reason, key="workers", path=self.place("workers"))
        return listed

    def _entry(self, number: int, value: Any, ini: str) -> Entry:
        place = ("workers", number)
        values = {"worker": value} if isinstance(value, str) else value
        if not isinstance(values, dict):
            reason = f"expected the name of a worker, or a mapping with `worker`, found {value!r}"
            raise ConfigError(reason, path=self.place(*place))
        self._refuse_unknown(place, values, (*ENTRY_KEYS, *PROPERTIES))
        worker = self._text(place, values, "worker")
        if not worker:
            raise ConfigError(
                "is missing: the name of a plugin, or module:Class", key="worker", path=self.place(*place)
            )
        properties = {name: one for name, one in values.items() if name not in ENTRY_KEYS}
        config = self._file(place, values, "config") or None
        given = Given(ini, (lambda name: self.place(*place, name), properties))
        return Entry(worker, config, given, self.place(*place, "worker"))

    def _refuse_unknown(
        self, place: tuple[object, ...], values: Mapping[str, Any], known: tuple[str, ...]
    ) -> None:
        for key in values:
            if key not in known:
                hint = did_you_mean(str(key), known) or f"; there are {', '.join(known)}"
                raise ConfigError(f"unknown key{hint}", key=str(key), path=self.place(*place, key))

    def _text(self, place: tuple[object, ...], values: Mapping[str, Any], key: str) -> str:
        value = values.get(key)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise ConfigError(f"expected a text, found {value!r}", key=key, path=self.place(*place, key))
        return value

    def _health(self, values: Mapping[str, Any]) -> str:
        layered = Layered((lambda _key: self.place("health"), values))
        address: str = layered.read("health", "", ADDRESS)
        return address

    def _file(self, place: tuple[object, ...], values: Mapping[str, Any], key: str) -> str:
        """Return the path of a file that has to be there; empty when it is not said."""
        name = self._text(place, values, key)
        if not name:
            return ""
        path = self._folder / name
        if not path.is_file():
            raise ConfigError(f"there is no file {path}", key=key, path=self.place(*place, key))
        return str(path)
