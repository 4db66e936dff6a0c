"""Options that several commands share."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, NamedTuple, TypeVar, cast

import click
from click.core import ParameterSource

from reworker.errors import PlaybookInvalid
from reworker.logs import Redactor, setup

F = TypeVar("F", bound=Callable[..., Any])
#: see `shell_complete` of click.
Complete = Callable[[click.Context, click.Parameter, str], list[str]]

#: where `reworker` keeps its database unless it is told otherwise; relative to the current folder.
DEFAULT_DB = "sqlite:///state/reworker.db"
#: where the flag ``--json-logs`` of old is kept until ``--log-format`` is read.
_JSON_NOTED = "reworker.json_logs"


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


def core_option(function: F) -> F:
    """Add ``--db`` and ``--server``: the command gets the one that is meant as `db`.

    A server's address there stands for the database behind it; `wiring.opened_service` knows both.
    """

    @wraps(function)
    def command(*args: Any, db: str, server: str | None, **rest: Any) -> Any:
        source = click.get_current_context().get_parameter_source
        is_typed = source("db") is ParameterSource.COMMANDLINE
        if server and is_typed:
            if source("server") is ParameterSource.COMMANDLINE:
                raise click.UsageError("give --db or --server: a server has its own database")
            server = None
        return function(*args, db=server or db, **rest)

    server = _server_option("Ask this server, with the token of `reworker login`, in place of a database.")
    return db_option(server(cast(F, command)))


def place_of_bus_options(function: F) -> F:
    """Add ``--mq`` and ``--server``: the command gets what is meant, and None for the other."""

    @wraps(function)
    def command(*args: Any, mq: str | None, server: str | None, **rest: Any) -> Any:
        source = click.get_current_context().get_parameter_source
        is_typed = {one: source(one) is ParameterSource.COMMANDLINE for one in ("mq", "server")}
        if all(is_typed.values()):
            raise click.UsageError("give --mq or --server: a server has its own broker")
        if server and is_typed["mq"]:
            server = None
        if not mq and not server:
            raise click.UsageError(
                "say where: --mq FILE_OR_URL (REWORKER_MQ) or --server URL (REWORKER_SERVER)"
            )
        return function(*args, mq=None if server else mq, server=server or None, **rest)

    help_text = "Message bus: a JSON or YAML file, or an amqp:// URL."
    mq = click.option("--mq", envvar="REWORKER_MQ", metavar="FILE_OR_URL", help=help_text)
    return mq(
        _server_option("Ask this server, with the token of `reworker login`, in place of a broker.")(
            cast(F, command)
        )
    )


def _server_option(help_text: str) -> Callable[[F], F]:
    return click.option(
        "--server", envvar="REWORKER_SERVER", metavar="URL", callback=_server_url, help=help_text
    )


def _server_url(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    if value and not value.startswith(("http://", "https://")):
        raise click.BadParameter(f"{value[:100]!a} is no address of a server, such as http://127.0.0.1:8080")
    return value


def output_option(function: F) -> F:
    """Add ``-o``."""
    kinds = click.Choice(["text", "json"])
    return click.option(
        "-o", "--output", type=kinds, default="text", show_default=True, help="Form of the output."
    )(function)


class LogChoice(NamedTuple):
    """How the log was asked for; `is_json` is None when nobody has said which form."""

    level: str
    is_json: bool | None

    def set_up(self, form: str = "text", secrets: Iterable[str] = ()) -> None:
        """Set the log up; again when the settings are known.

        Args:
            form: text or json, as the settings say.
            secrets: not to be shown.
        """
        is_json = form == "json" if self.is_json is None else self.is_json
        setup(self.level, is_json=is_json, redactor=Redactor(secrets))


def log_options(function: F) -> F:
    """Add ``--log-level`` and ``--log-format``; the command gets a `LogChoice` as `log`."""

    @wraps(function)
    def command(*args: Any, log_level: str, json_logs: bool | None, **rest: Any) -> Any:
        return function(*args, log=LogChoice(log_level.upper(), json_logs), **rest)

    levels = click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"], case_sensitive=False)
    level = click.option(
        "--log-level", type=levels, default="INFO", show_default=True, envvar="REWORKER_LOG_LEVEL"
    )
    form = click.option(
        *("--log-format", "json_logs"),
        type=click.Choice(["text", "json"]),
        envvar="REWORKER_LOG_FORMAT",
        callback=_is_json,
        help="Form of the log.  [default: what the settings say, else text]",
    )
    old_form = click.option(
        *("--json-logs", "is_json_old"),
        is_flag=True,
        envvar="REWORKER_JSON_LOGS",
        hidden=True,
        is_eager=True,
        expose_value=False,
        callback=_note_json,
    )
    return cast(F, level(form(old_form(command))))


def _note_json(ctx: click.Context, _param: click.Parameter, is_given: bool) -> None:
    ctx.meta[_JSON_NOTED] = is_given


def _is_json(ctx: click.Context, _param: click.Parameter, value: str | None) -> bool | None:
    if value is None:
        return True if ctx.meta.get(_JSON_NOTED) else None
    return value == "json"


def health_option(function: F) -> F:
    """Add ``--health``."""
    help_text = "PORT or HOST:PORT that tells health and metrics; 0 takes a free port."
    return click.option("--health", metavar="ADDRESS", help=help_text)(function)


def dynamic_options(complete: Complete | None) -> Callable[[F], F]:
    """Add ``-e NAME=VALUE``, which may be repeated.

    Args:
        complete: says to a shell what may follow.
    """
    help_text = "Dynamic value; VALUE is read as in a playbook, so 3 is a number and '\"3\"' a text."
    return click.option(
        *("-e", "--set", "dynamic"),
        metavar="NAME=VALUE",
        multiple=True,
        callback=_pairs,
        shell_complete=complete,
        help=help_text,
    )


def dynamic_option(function: F) -> F:
    """Add ``-e NAME=VALUE``; see `dynamic_options`."""
    return dynamic_options(None)(function)


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
    from reworker.fsm.document import plain_document

    try:
        return plain_document(text, name)
    except PlaybookInvalid as error:
        raise click.BadParameter(f"{text[:60]!a}: {error}") from error
