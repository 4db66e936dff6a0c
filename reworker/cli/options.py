"""Options that several commands share."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

from reworker.errors import PlaybookInvalid

F = TypeVar("F", bound=Callable[..., Any])

#: where `reworker` keeps its database unless it is told otherwise; relative to the current folder.
DEFAULT_DB = "sqlite:///state/reworker.db"


def user_name() -> str:
    """Return who gives the command; in a container its number may have no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def mq_option(function: F) -> F:
    """Add ``--mq``."""
    help_text = "Message bus: a JSON or YAML file, or an amqp:// URL."
    return click.option("--mq", envvar="REWORKER_MQ", metavar="FILE_OR_URL", required=True, help=help_text)(
        function
    )


def optional_mq_option(function: F) -> F:
    """Add ``--mq`` to a command that may find the bus in its settings."""
    help_text = "Message bus: a JSON or YAML file, or an amqp:// URL; unless the settings say it."
    return click.option("--mq", envvar="REWORKER_MQ", metavar="FILE_OR_URL", help=help_text)(function)


def db_option(function: F) -> F:
    """Add ``--db``."""
    help_text = "Database of the core."
    option = click.option(
        "--db", envvar="REWORKER_DB", metavar="URL", default=DEFAULT_DB, show_default=True, help=help_text
    )
    return option(function)


def output_option(function: F) -> F:
    """Add ``-o``."""
    kinds = click.Choice(["text", "json"])
    return click.option(
        "-o", "--output", type=kinds, default="text", show_default=True, help="Form of the output."
    )(function)


def log_options(function: F) -> F:
    """Add ``--log-level`` and ``--json-logs``, for commands that keep running."""
    levels = click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"], case_sensitive=False)
    level = click.option(
        "--log-level", type=levels, default="INFO", show_default=True, envvar="REWORKER_LOG_LEVEL"
    )
    return level(
        click.option("--json-logs", is_flag=True, envvar="REWORKER_JSON_LOGS", help="Logs as JSON lines.")(
            function
        )
    )


def dynamic_option(function: F) -> F:
    """Add ``-e NAME=VALUE``, which may be repeated."""
    help_text = "Dynamic value; VALUE is read as in a playbook, so 3 is a number and '\"3\"' a text."
    option = click.option(
        "-e", "--set", "dynamic", metavar="NAME=VALUE", multiple=True, callback=_pairs, help=help_text
    )
    return option(function)


class Pairs(dict[str, Any]):
    """Values by name; `texts` holds what was typed for them."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: dict[str, str] = {}


def _pairs(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> Pairs:
    pairs = Pairs()
    for text in values:
        name, sign, value = text.partition("=")
        if not sign or not name.isidentifier():
            raise click.BadParameter(f"{text!r} is not NAME=VALUE")
        pairs.texts[name] = value
        pairs[name] = _value_of(name, value) if value else ""
    return pairs


def _value_of(name: str, text: str) -> Any:
    """Return the value in a text, by the rules of playbooks: `no` and dates are text, NaN is refused."""
    # not above: every command imports this module, and few need YAML
    from reworker.fsm.document import Problems, TooManyProblems, read_document

    problems, node = Problems(name), None
    try:
        node = read_document(text, problems)
    except PlaybookInvalid as error:
        problems.found.append(error)
    except TooManyProblems:
        node = None
    if node is None or problems.found:
        raise click.BadParameter(f"{text[:60]!a}: {problems.found[0]}")
    return node.plain()
