"""Options of the Conductor interface."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

import click
import msgspec
from click.core import ParameterSource

from reworker.cli.wiring import path_of_database
from reworker.errors import ConfigError

if TYPE_CHECKING:
    from reworker.web.conductor.settings import ConductorSettings
    from reworker.web.settings import WebSettings


def conductor_options(function: Callable[..., Any], *, is_on: bool) -> Callable[..., Any]:
    """Add the options, which become ``conductor``: its settings, or None for no such interface.

    Args:
        function: the command.
        is_on: unless it is told otherwise.
    """

    @wraps(function)
    def command(*, conductor: bool, conductor_config: str | None, **rest: Any) -> Any:
        if not conductor and _is_typed("conductor_config"):
            reason = "serves nobody without --conductor; add that, or leave this out"
            raise ConfigError(reason, key="--conductor-config")
        return function(conductor=_settings(is_on=conductor, path=conductor_config or ""), **rest)

    switch = click.option(
        "--conductor/--no-conductor",
        default=is_on,
        show_default=True,
        envvar="REWORKER_CONDUCTOR",
        help="Serve workers that are written with Conductor's clients.",
    )
    config = click.option(
        "--conductor-config",
        type=click.Path(dir_okay=False),
        envvar="REWORKER_CONDUCTOR_CONFIG",
        help="YAML file: how they are served.",
    )
    return switch(config(command))


def _is_typed(parameter: str) -> bool:
    """Tell whether an option stands on the command line; a variable may be there for other commands."""
    return click.get_current_context().get_parameter_source(parameter) is ParameterSource.COMMANDLINE


def with_ledger(settings: WebSettings, db: str) -> WebSettings:
    """Return settings whose gateway remembers what has ended: beside a database file, if they say nothing."""
    place = path_of_database(db)
    own = settings.conductor
    if own is None or own.ledger or place is None:
        return settings
    ledger = str(place.with_name(f"{place.stem}.gateway{place.suffix or '.db'}"))
    return msgspec.structs.replace(settings, conductor=msgspec.structs.replace(own, ledger=ledger))


def _settings(*, is_on: bool, path: str) -> ConductorSettings | None:
    if not is_on:
        return None
    try:
        from reworker.web.conductor.settings import load_settings
    except ModuleNotFoundError as error:
        reason = f"{error.name} is missing; the HTTP side needs it: install reworker[server]"
        raise ConfigError(reason, key="--conductor") from error
    return load_settings(path)
