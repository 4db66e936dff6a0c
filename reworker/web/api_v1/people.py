"""Who asks and who may: me, tokens, the audit, saved views; and the cores that run."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from reworker.core.principal import Limits, Principal, Scope
from reworker.core.tokens import NAME_CHARACTERS, TokenView
from reworker.storage.rows import AuditRow
from reworker.web.api_v1.deployments import Time
from reworker.web.api_v1.paging import PageQuery, page_from, place_of
from reworker.web.api_v1.serving import core_of
from reworker.web.errors import HttpProblem
from reworker.web.operations import Call, Operation

_TOKENS, _AUDIT = "tokens", "audit"


class Me(msgspec.Struct, frozen=True):
    """Who asks.

    Args:
        name: in which all is done that is done with the token.
        token: its id; empty while authentication is off.
        scopes: what it may be used for.
        limits: where; an empty list limits nothing.
    """

    name: str
    token: str
    scopes: list[Scope]
    limits: Limits


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """A token, without its secret.

    Args:
        actor: who made it.
        counts: it may be used at this moment.
        used_at: when it was used last, to within a minute.
    """

    id: str
    name: str
    scopes: list[Scope]
    limits: Limits
    actor: str
    counts: bool
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    used_at: datetime | None


class NewToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A token to make.

    Args:
        name: in which all is done that is done with it.
        scopes: what it may be used for.
        limits: where: patterns such as ``web-*``; an empty list limits nothing.
        expires_at: when it ends; null is never.
    """

    name: Annotated[str, Meta(min_length=1, max_length=NAME_CHARACTERS)]
    scopes: Annotated[list[Scope], Meta(min_length=1, max_length=20)]
    limits: Limits = Limits()
    expires_at: Time | None = None


class MadeToken(msgspec.Struct, frozen=True):
    """A token that was just made.

    Args:
        token: its text, shown this once and kept nowhere.
        made: the token without its secret.
    """

    token: str
    made: Token


class Tokens(msgspec.Struct, frozen=True):
    """A page of tokens, newest first, with those that count no more."""

    items: list[Token]
    next: str | None


class Revoked(msgspec.Struct, frozen=True):
    """A token that counts no more.

    Args:
        changed: it counted until now.
    """

    id: str
    changed: bool


class Deed(msgspec.Struct, frozen=True):
    """Something that somebody did, or was not allowed to do.

    Args:
        actor: name of the token.
        token: its id.
        action: such as deployment.cancel.
        target: id of what it is about.
        outcome: how it went.
    """

    id: str
    at: datetime
    actor: str
    token: str
    action: str
    target: str
    outcome: str
    detail: str
    source_ip: str


class Audit(msgspec.Struct, frozen=True):
    """A page of the audit, newest first."""

    items: list[Deed]
    next: str | None


class AuditQuery(PageQuery, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which entries; each filter that is given has to fit."""

    actor: str = ""
    action: str = ""
    target: str = ""
    outcome: Literal["", "done", "denied", "failed"] = ""


class SavedView(msgspec.Struct, frozen=True):
    """A question about deployments that somebody asks again and again.

    Args:
        query: as behind the ``?`` of the address of the list.
    """

    name: str
    query: str
    created_at: datetime


class SavedViews(msgspec.Struct, frozen=True):
    """The views of who asks, by name."""

    items: list[SavedView]


class ViewQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to keep under the name in the address.

    Args:
        query: as behind the ``?`` of the address of the list.
    """

    query: str


class Core(msgspec.Struct, frozen=True):
    """A core that runs, or ran, on this database.

    Args:
        beat_at: when it was last seen.
    """

    name: str
    host: str
    pid: int
    version: str
    started_at: datetime
    beat_at: datetime


class Cores(msgspec.Struct, frozen=True):
    """The cores that were seen, by name."""

    items: list[Core]


def _me(call: Call) -> Me:
    who: Principal = call.who
    return Me(who.name, who.token_id, sorted(who.scopes), who.limits)


def _token(view: TokenView, now: datetime) -> Token:
    return Token(
        id=view.id,
        name=view.name,
        scopes=list(view.scopes),
        limits=view.limits,
        actor=view.actor,
        counts=view.counts(now),
        created_at=view.created_at,
        expires_at=view.expires_at,
        revoked_at=view.revoked_at,
        used_at=view.used_at,
    )


def _make_token(call: Call) -> MadeToken:
    said: NewToken = call.body
    view, text = core_of(call).tokens.create(said.name, said.scopes, said.limits, expires_at=said.expires_at)
    return MadeToken(text, _token(view, call.site.clock.now()))


def _tokens(call: Call) -> Tokens:
    query: PageQuery = call.query
    found = core_of(call).tokens.tokens(limit=query.limit + 1, before_id=place_of(query, _TOKENS))
    now = call.site.clock.now()
    items, after = page_from(query, _TOKENS, found, key=lambda one: one.id, show=lambda one: _token(one, now))
    return Tokens(items, after)


def _revoke(call: Call) -> Revoked:
    token_id = call.path["token_id"]
    return Revoked(token_id, core_of(call).tokens.revoke(token_id))


def _audit(call: Call) -> Audit:
    query: AuditQuery = call.query
    found = core_of(call).tokens.audit(
        limit=query.limit + 1,
        before_id=place_of(query, _AUDIT),
        actor=query.actor,
        action=query.action,
        target=query.target,
        outcome=query.outcome,
    )
    items, after = page_from(query, _AUDIT, found, key=lambda one: one.id, show=_deed)
    return Audit(items, after)


def _deed(row: AuditRow) -> Deed:
    return Deed(
        id=row.id,
        at=row.at,
        actor=row.actor,
        token=row.token_id,
        action=row.action,
        target=row.target,
        outcome=row.outcome,
        detail=row.detail,
        source_ip=row.source_ip,
    )


def _views(call: Call) -> SavedViews:
    found = core_of(call).views.all()
    return SavedViews([SavedView(one.name, one.query, one.created_at) for one in found])


def _keep_view(call: Call) -> SavedView:
    row = core_of(call).views.keep(call.path["name"], call.body.query)
    return SavedView(row.name, row.query, row.created_at)


def _drop_view(call: Call) -> None:
    if not core_of(call).views.drop(call.path["name"]):
        reason = f"no view of {call.who.name} is called {call.path['name'][:60]!a}"
        raise HttpProblem(404, "view-not-found", reason)


def _cores(call: Call) -> Cores:
    rows = call.site.service.reader.instances()
    return Cores(
        [Core(one.name, one.host, one.pid, one.version, one.started_at, one.beat_at) for one in rows]
    )


OPERATIONS = (
    Operation(
        method="GET",
        path="/me",
        do=_me,
        scope=Scope.READ,
        also=tuple(Scope),
        summary="Say who asks",
        tag="people",
        answer=Me,
    ),
    Operation(
        method="GET",
        path="/tokens",
        do=_tokens,
        scope=Scope.ADMIN,
        summary="List tokens, newest first",
        tag="people",
        query=PageQuery,
        answer=Tokens,
    ),
    Operation(
        method="POST",
        path="/tokens",
        do=_make_token,
        scope=Scope.ADMIN,
        summary="Make a token; its text is in the answer, this once",
        description="It may do no more than the token that makes it.",
        tag="people",
        body=NewToken,
        answer=MadeToken,
        status=201,
    ),
    Operation(
        method="DELETE",
        path="/tokens/{token_id}",
        do=_revoke,
        scope=Scope.ADMIN,
        summary="Make a token count no more",
        tag="people",
        answer=Revoked,
        errors=(404,),
    ),
    Operation(
        method="GET",
        path="/audit",
        do=_audit,
        scope=Scope.ADMIN,
        summary="List what was done and what was denied, newest first",
        tag="people",
        query=AuditQuery,
        answer=Audit,
    ),
    Operation(
        method="GET",
        path="/views",
        do=_views,
        scope=Scope.READ,
        summary="List the saved views of who asks",
        tag="people",
        answer=SavedViews,
    ),
    Operation(
        method="PUT",
        path="/views/{name}",
        do=_keep_view,
        scope=Scope.READ,
        summary="Keep a view under a name",
        tag="people",
        body=ViewQuery,
        answer=SavedView,
    ),
    Operation(
        method="DELETE",
        path="/views/{name}",
        do=_drop_view,
        scope=Scope.READ,
        summary="Remove a view",
        tag="people",
        status=204,
        errors=(404,),
    ),
    Operation(
        method="GET",
        path="/cores",
        do=_cores,
        scope=Scope.READ,
        summary="List the cores that run, or ran, on this database",
        tag="people",
        answer=Cores,
    ),
)
