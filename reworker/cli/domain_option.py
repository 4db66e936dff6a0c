"""``--domain``: where the workers of commands stand, for one deployment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from reworker.fsm.domains import ByCommand, domains_in_lines

F = TypeVar("F", bound=Callable[..., Any])

_HELP = (
    "Send steps to the workers of domain D, or to the first of several in which one works; "
    "CMD= means one command. NO_DOMAIN is without a domain. May be repeated."
)


def domain_option(function: F) -> F:
    """Add ``--domain``, which becomes `domains`: domains by command."""
    return click.option(
        *("--domain", "domains"), multiple=True, metavar="[CMD=]D[,D...]", callback=_read, help=_HELP
    )(function)


def _read(_ctx: click.Context, _param: click.Parameter, values: Sequence[str]) -> ByCommand:
    return domains_in_lines(values, "--domain")
