"""Where the properties of a worker come from.

Strongest first: a variable for its type, a variable for all, its section of worker.ini, the section DEFAULT,
what the host that runs it was told, its own file, its constructor.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Any

import msgspec

from reworker.errors import ConfigError
from reworker.jobs.settings import NAMES, PROPERTIES
from reworker.jobs.worker_ini import DEFAULT_SECTION, load_ini
from reworker.layers import NEAR, Layered, Origin, did_you_mean

#: variable that names the file worker.ini, and its place when nothing does: the current folder.
INI_VARIABLE, INI_NAME = "REWORKER_WORKER_INI", "worker.ini"
#: how alike a key of a worker's own file must be to a property for a warning: it may be the worker's own.
VERY_NEAR = 0.87
#: names of variables, strongest first; those of the tutorial are aliases, in lower and in upper case, and so
#: are those of Conductor's SDKs.
TYPE_VARIABLES = (
    "REWORKER_{T}_{P}",
    "conductor.worker.{t}.{p}",
    "conductor_worker_{t}_{p}",
    "CONDUCTOR_WORKER_{T}_{P}",
    "CONDUCTOR_WORKER_{t}_{P}",
)
COMMON_VARIABLES = (
    "REWORKER_{P}",
    "conductor.worker.all.{p}",
    "conductor_worker_all_{p}",
    "CONDUCTOR_WORKER_ALL_{P}",
    "conductor_worker_{p}",
    "CONDUCTOR_WORKER_{P}",
)

#: how all of them begin, in upper case.
BEGINNINGS = ("REWORKER_", "CONDUCTOR_WORKER_", "CONDUCTOR.WORKER.")

#: how the names of properties end, with dots for all that is between words.
_ENDINGS = tuple(f".{name.replace('_', '.')}" for name in NAMES)

Layer = tuple[Origin, Mapping[str, Any]]


class Given(msgspec.Struct, frozen=True):
    """What a host tells the workers that it makes.

    Args:
        ini: file worker.ini; empty is looked for, see `ini_path`.
        entry: (origin, properties) of the worker in the host's list.
    """

    ini: str = ""
    entry: Layer = ("host", {})


_NOTHING = Given()
_given: ContextVar[Given] = ContextVar("given by the host", default=_NOTHING)


@contextlib.contextmanager
def given_by_host(given: Given) -> Iterator[None]:
    """Let the workers that are made in the block, by any constructor, know what their host was told."""
    token = _given.set(given)
    try:
        yield
    finally:
        _given.reset(token)


def layers_of(
    class_name: str, constructor: Mapping[str, Any], file: Layer, environ: Mapping[str, str]
) -> Layered:
    """Return the sources of a worker's properties.

    Args:
        class_name: names the type, together with the property `queue` of constructor and host.
        constructor: properties given in code.
        file: (origin, content) of the worker's own configuration.
        environ: usually ``os.environ``.

    Raises:
        ConfigError: worker.ini is wrong, or a variable's name is nearly that of a property.
    """
    given = _given.get()
    queue = given.entry[1].get("queue") or constructor.get("queue")
    types = types_of(class_name, queue)
    return Layered(
        ("constructor", constructor),
        file,
        given.entry,
        *_ini_layers(ini_path(given, environ), types),
        *_variables(environ, types, str(queue or "")),
    )


def constructor_properties(arguments: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return (arguments that are properties of a worker, the names of the others, with a hint for a slip)."""
    names = {one: one if one in PROPERTIES else NAMES.get(one) for one in arguments}
    known = {name: arguments[one] for one, name in names.items() if name is not None}
    return known, [one + did_you_mean(one, PROPERTIES) for one in sorted(arguments) if names[one] is None]


def slips_in(file: Layer) -> Iterator[str]:
    """Yield, in words, keys of a worker's own file that nearly are properties: they may be its own."""
    origin, values = file
    for key in values:
        hint = "" if key in PROPERTIES else did_you_mean(str(key), PROPERTIES, VERY_NEAR)
        if hint:
            yield f"{origin if isinstance(origin, str) else origin(key)}: {key} is no property{hint}"


def types_of(class_name: str, queue: object = None) -> tuple[str, ...]:
    """Return what a worker's type is called, strongest first, in lower case.

    ``SleepWorker`` is of the types ``sleep`` and ``sleepworker``; one with a queue of its own, as several
    workers of one class have, is of the type of that name first.
    """
    full = class_name.lower()
    found = (str(queue).lower() if queue else "", full.removesuffix("worker"), full)
    return tuple(dict.fromkeys(one for one in found if one))


def ini_path(given: Given, environ: Mapping[str, str]) -> str:
    """Return the file worker.ini: the host's, the variable's, or the current folder's; empty is none."""
    named = given.ini or environ.get(INI_VARIABLE, "")
    return named or (INI_NAME if os.path.isfile(INI_NAME) else "")


def strange_sections(path: str, types: Iterable[str]) -> Iterator[str]:
    """Yield, in words, sections that nearly are for one of these types, and are for none."""
    known = {DEFAULT_SECTION, *types}
    for name in load_ini(path, NAMES) if path else ():
        hint = did_you_mean(name, known) if name.lower() not in known else ""
        if hint:
            yield f"{path}: the section [{name}] is for no worker here{hint}"


def strange_variables(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield, in words, variables that are written in Conductor's way and end with no property.

    Those with a prefix of ours that nearly are one are refused; of these, an SDK may know more than we do.
    """
    for variable in environ:
        prefix = next((one for one in BEGINNINGS[1:] if variable.upper().startswith(one)), "")
        rest = variable[len(prefix) :].lower()
        if prefix and not f".{rest.replace('_', '.')}".endswith(_ENDINGS):
            yield f"{variable} is no property of a worker, and does nothing{_meant(variable, rest)}"


def _meant(variable: str, rest: str) -> str:
    """Return what was meant by a variable; `rest` is what stands in it behind the prefix."""
    starts = [0, *(one.end() for one in re.finditer("[._]", rest) if one.end() < len(rest))]
    alike = [
        (difflib.SequenceMatcher(None, rest[one:], name).ratio(), name, one)
        for one in starts
        for name in NAMES
    ]
    share, name, start = max(alike)
    if share < NEAR:
        return ""
    before = variable[: len(variable) - len(rest) + start]
    return f"; did you mean {before}{name.upper() if variable.isupper() else name}?"


def _ini_layers(path: str, types: Sequence[str]) -> Iterator[Layer]:
    """Yield DEFAULT, then the sections of the types, weakest first."""
    if not path:
        return
    sections = load_ini(path, NAMES)
    for wanted in (DEFAULT_SECTION, *reversed(types)):
        for name, section in sections.items():
            if name.lower() == wanted:
                yield section.place_of, section.values


def _variables(environ: Mapping[str, str], types: Sequence[str], queue: str) -> Iterator[Layer]:
    """Yield one layer for each variable that is set, weakest first.

    Args:
        environ: all variables.
        types: in lower case, strongest first.
        queue: as it was given; the SDKs write it so in variables, too.
    """
    environ = {name: value for name, value in environ.items() if name.upper().startswith(BEGINNINGS)}
    if not environ:
        return  # as in most processes; there are hundreds of names to look for
    endings = [(one, NAMES[one]) for one in sorted(NAMES, key=lambda one: one == NAMES[one].lower())]
    for form in reversed(COMMON_VARIABLES):
        yield from _set_ones(environ, form, "", endings)
    for one in reversed(types):
        spellings = dict.fromkeys((_plain(one), *((_plain(queue), queue) if queue.lower() == one else ())))
        _refuse_slips(environ, _plain(one))
        for form in reversed(TYPE_VARIABLES):
            for name in reversed(spellings):
                yield from _set_ones(environ, form, name, endings)


def _plain(name: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in name)


def _set_ones(
    environ: Mapping[str, str], form: str, type_name: str, endings: Sequence[tuple[str, str]]
) -> Iterator[Layer]:
    for ending, name in endings:
        variable = form.format(T=type_name.upper(), t=type_name, P=ending.upper(), p=ending)
        if variable in environ:
            yield variable, {name: environ[variable]}


def _refuse_slips(environ: Mapping[str, str], type_name: str) -> None:
    """A variable that nearly is one of ours would be without effect, and nobody would see it.

    Raises:
        ConfigError: there is one.
    """
    prefix = f"REWORKER_{type_name.upper()}_"
    for variable in environ:
        ending = variable.removeprefix(prefix).lower()
        if variable.startswith(prefix) and ending not in NAMES:
            hint = did_you_mean(ending, PROPERTIES)
            if hint:
                raise ConfigError(f"no such property{hint}", path=variable)
