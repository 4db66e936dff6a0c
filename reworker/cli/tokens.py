"""``reworker token``: tokens for people and programs, made and revoked straight on the database."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from reworker.cli.options import db_option, output_option, user_name
from reworker.cli.wiring import existing_storage, opened_storage
from reworker.clock import SystemClock, iso
from reworker.core.access import Access
from reworker.core.audit_log import PAGE_COUNT
from reworker.core.principal import Limits, Scope
from reworker.core.tokens import TokenView, id_in
from reworker.layers import did_you_mean
from reworker.logs import escaped

F = TypeVar("F", bound=Callable[..., Any])

_AGE = re.compile(r"([1-9][0-9]{0,4})([dhm])", re.ASCII)
_UNITS = {"d": "days", "h": "hours", "m": "minutes"}


@click.group()
def token() -> None:
    """Tokens, with which people and programs ask the HTTP API and log in to the dashboard."""


def _scopes(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> tuple[Scope, ...]:
    known = [str(one) for one in Scope]
    for value in values:
        if value not in known:
            hint = did_you_mean(value, known) or f"; known: {', '.join(known)}"
            raise click.BadParameter(f"there is no scope {value[:60]!a}{hint}")
    return tuple(map(Scope, values))


def _age(_ctx: click.Context, _param: click.Parameter, value: str | None) -> timedelta | None:
    found = _AGE.fullmatch(value) if value is not None else None
    if value is not None and found is None:
        raise click.BadParameter(f"{value[:60]!a} is no time such as 90d, 12h or 30m")
    return timedelta(**{_UNITS[found[2]]: int(found[1])}) if found else None


def _limit(name: str, field: str, what: str) -> Callable[[F], F]:
    help_text = f"Only for {what} of this name or pattern (web-*); repeat it for more. Default: all."
    return click.option(f"--{name}", field, metavar="PATTERN", multiple=True, help=help_text)


@token.command()
@click.option(
    "--scope",
    "scopes",
    metavar="SCOPE",
    multiple=True,
    required=True,
    callback=_scopes,
    help=f"What it may do: {', '.join(Scope)}; repeat it for more. The last one may do everything.",
)
@click.option("--name", help="In whose name all is done with it.  [default: your user name]")
@_limit("group", "groups", "groups")
@_limit("environment", "environments", "environments")
@_limit("host", "hosts", "hosts, where something is done to them,")
@click.option("--expires", "age", metavar="AGE", callback=_age, help="Ends in so long, such as 90d or 12h.")
@db_option
@output_option
def create(
    scopes: tuple[Scope, ...],
    name: str | None,
    age: timedelta | None,
    db: str,
    output: str,
    **limits: tuple[str, ...],
) -> None:
    """Make a token and print it, once: only its digest is kept."""
    context = click.get_current_context()
    # a new database where somebody names one; but not by chance in whatever folder this is
    is_meant = context.get_parameter_source("db") is not ParameterSource.DEFAULT
    with opened_storage(db) if is_meant else existing_storage(db) as (storage, _):
        access = Access(storage, SystemClock(), later=_drop)
        ends_at: datetime | None = None if age is None else SystemClock().now() + age
        own, user = name if name is not None else user_name(), user_name()
        view, text = access.create_token(own, scopes, Limits(**limits), expires_at=ends_at, actor=user)
    if output == "json":
        click.echo(json.dumps({"token": text, **token_to_json(view)}))
    else:
        click.echo(text)
        click.echo(escaped(f"reworker: {_summary(view)}; it is not shown again"), err=True)


@token.command()
@click.option("--all", "has_ended", is_flag=True, help="Also those that count no more.")
@db_option
@output_option
def ls(has_ended: bool, db: str, output: str) -> None:
    """List tokens, newest first, without their secrets."""
    now = SystemClock().now()
    with _opened_access(db) as access:
        for view in _all(access):
            if not has_ended and not view.counts(now):
                continue
            if output == "json":
                click.echo(json.dumps(token_to_json(view)))
            else:
                used = iso(view.used_at) if view.used_at else "never used"
                state = "" if view.counts(now) else "revoked  " if view.revoked_at else "ended  "
                click.echo(escaped(f"{view.id}  {iso(view.created_at)}  {state}{_summary(view)}  ({used})"))


@token.command()
@click.argument("tokens", metavar="ID...", nargs=-1, required=True)
@db_option
def revoke(tokens: tuple[str, ...], db: str) -> None:
    """Make tokens count no more; each ID may also be the whole token."""
    with _opened_access(db) as access:
        for one in tokens:
            own_id = id_in(one) or one
            was_good = access.revoke(own_id, actor=user_name())
            click.echo(f"{own_id} {'revoked' if was_good else 'was revoked before'}")


@contextmanager
def _opened_access(db: str) -> Iterator[Access]:
    with existing_storage(db) as (storage, _), closing(Access(storage, SystemClock())) as access:
        yield access


def _all(access: Access) -> Iterator[TokenView]:
    before_id = ""
    while page := access.tokens(limit=PAGE_COUNT, before_id=before_id):
        yield from page
        before_id = page[-1].id


def _drop(_work: object) -> None:
    """Do nothing: who makes a token does not use it."""


def _summary(view: TokenView) -> str:
    parts = [f"{view.name}: {', '.join(view.scopes)}"]
    parts += (f"{part} {', '.join(ones)}" for part, ones in _limits(view).items() if ones)
    parts += [f"until {iso(view.expires_at)}"] if view.expires_at else []
    return "; ".join(parts)


def _limits(view: TokenView) -> dict[str, list[str]]:
    return {part: list(getattr(view.limits, part)) for part in Limits.__struct_fields__}


def token_to_json(view: TokenView) -> dict[str, Any]:
    """Return a token for scripts, without its secret: ``{"id", "name", "scopes", "limits", ...}``."""
    times = ("created_at", "expires_at", "revoked_at", "used_at")
    at = {name: getattr(view, name) for name in times}
    return {
        "id": view.id,
        "name": view.name,
        "scopes": [str(one) for one in view.scopes],
        "limits": _limits(view),
        "actor": view.actor,
        **{name: iso(value) if value else None for name, value in at.items()},
    }
