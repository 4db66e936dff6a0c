"""What commands about codes, tasks and schedules share: the project, the code that is meant, times."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from reworker.cli.asked_work import AskedWork
from reworker.cli.options import DEFAULT_DB
from reworker.core.tasks.options import PAYLOAD_BYTES
from reworker.core.tasks.projects import DEFAULT_NAME
from reworker.core.tasks.views import Code
from reworker.errors import ConfigError, ReworkerError
from reworker.ids import is_id
from reworker.layers import did_you_mean
from reworker.task_errors import ThingNotFound

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

#: codes that an error, or a shell, looks through.
_LISTED_COUNT = 1000
_LENGTH = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)(ms|s|m|h|d|)")
#: what msgspec says of a value that is out of its bounds.
_BOUND = re.compile(r"Expected `[a-z]+`( of length)? (<=|>=|<|>) ([0-9.]+)")
_SIGNS = {"<=": "at most", ">=": "at least", "<": "less than", ">": "more than"}
_UNITS = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def project_option(function: F) -> F:
    """Add ``--project``, whose default is the project that is always there."""
    return click.option(
        "--project",
        envvar="REWORKER_PROJECT",
        default=DEFAULT_NAME,
        show_default=True,
        metavar="NAME",
        help="Project that it belongs to: name or id.",
    )(function)


def any_project_option(function: F) -> F:
    """Add ``--project`` to a list, which is of all projects without it."""
    help_text = "Only of this project: name or id."
    return click.option("--project", envvar="REWORKER_PROJECT", default="", metavar="NAME", help=help_text)(
        function
    )


def length(_ctx: click.Context, _param: click.Parameter, value: str | None) -> float | None:
    """Return the seconds of a length of time, such as ``1.5m`` or ``2h``; without a unit it is seconds."""
    if value is None:
        return None
    found = _LENGTH.fullmatch(value)
    if found is None:
        shown = f"{value[:60]!a}"
        raise click.BadParameter(f"{shown} is no length of time: give a number and s, m, h or d, such as 90s")
    return float(found[1]) * _UNITS[found[2]]


def moment(_ctx: click.Context, _param: click.Parameter, value: str | None) -> datetime | None:
    """Return a moment, such as ``2026-12-24T18:00:00Z``; without a zone it is of this machine's."""
    if value is None:
        return None
    try:
        found = datetime.fromisoformat(value)
        return found if found.tzinfo else found.astimezone()
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(f"{value[:60]!a} is no moment such as 2026-12-24T18:00:00Z") from error


def text_of(value: str, name: str, limit_bytes: int = PAYLOAD_BYTES) -> str:
    """Return a text that is typed, or that of a file when it is ``@FILE``; ``@-`` is standard input.

    Raises:
        ConfigError: it cannot be read.
    """
    if not value.startswith("@"):
        return value
    try:
        if value == "@-":
            return sys.stdin.read(limit_bytes + 1)
        with Path(value[1:]).open(encoding="utf-8", newline="") as file:
            return file.read(limit_bytes + 1)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"cannot read {value[1:]}: {reason}", key=name) from error


def code_meant(work: AskedWork, project: str, text: str) -> Code:
    """Return the code of a name or id.

    Raises:
        ConfigError: there is none; says which is called like it.
    """
    if is_id(text):
        with suppress(ReworkerError):
            return work.code(text)
    found = work.code_named(project, text)
    if found is None:
        names = [one.name for one in islice(work.codes(project), _LISTED_COUNT)]
        hint = did_you_mean(text, names) or "; `reworker code ls` lists what there is"
        raise ConfigError(f"there is no code {text[:100]!a} in the project {project}{hint}", key="NAME")
    return found


def whole_id(kind: str, text: str) -> str:
    """Return the id of a task or schedule.

    Raises:
        ThingNotFound: it is none.
    """
    if not is_id(text):
        raise ThingNotFound(kind, text, f"since that is no id; `reworker {kind} ls` lists them")
    return text


def complete_code(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Return names of codes that begin like this, for a shell; an error must not disturb what is typed."""
    from reworker.cli.wiring import opened_work

    place = ctx.params.get("server") or ctx.params.get("db") or DEFAULT_DB
    with suppress(ReworkerError, OSError), opened_work(str(place)) as work:
        names = {one.name for one in islice(work.codes(str(ctx.params.get("project") or "")), _LISTED_COUNT)}
        return sorted(name for name in names if name.startswith(incomplete))
    return []


def json_line(value: Any) -> str:
    """Return something as one line of JSON."""
    return msgspec.json.encode(value).decode()


def made(kind: type[T], **values: Any) -> T:
    """Return what is asked for, once its values are of the right kind; those that are None were not given.

    Raises:
        ConfigError: a value is not.
    """
    given = {name: value for name, value in values.items() if value is not None}
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at `$.")
        name = place.rstrip("`").removesuffix("_s").replace("_", "-")
        raise ConfigError(_in_words(reason, is_time=place.endswith("_s`")), key=f"--{name}") from error


def _in_words(reason: str, *, is_time: bool) -> str:
    """Return a bound that a value breaks, as msgspec tells it, without the names of types."""
    found = _BOUND.fullmatch(reason)
    if found is None:
        return reason
    is_length, sign, bound = found.groups()
    unit = " characters" if is_length else " seconds" if is_time else ""
    return f"{_SIGNS[sign]} {bound.removesuffix('.0')}{unit}"


def rows(found: Iterator[T], limit: int) -> Iterator[T]:
    """Yield so many at most."""
    return islice(found, limit)
