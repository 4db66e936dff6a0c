"""Admin: tokens, what people and programs did, and the cores on this database."""

from __future__ import annotations

from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from reworker.core.audit import Outcome
from reworker.core.principal import Limits, Scope
from reworker.core.tokens import TokenView
from reworker.core.upkeep import BEAT_S
from reworker.errors import ConfigError, Forbidden
from reworker.ids import is_id
from reworker.web.errors import HttpProblem
from reworker.web.pages.page_routes import page_route
from reworker.web.pages.rendering import page, see_other
from reworker.web.pages.visits import Form, Visit

#: rows of a page.
TOKEN_COUNT, AUDIT_COUNT = 200, 100
#: scope -> what it is for, as the form says it.
SCOPES = {
    Scope.READ: "see everything",
    Scope.RUN: "start, retry, resume",
    Scope.APPROVE: "approve, decide",
    Scope.CANCEL: "cancel, pause",
    Scope.PLAYBOOK_WRITE: "store and remove playbooks",
    Scope.WORKER: "work as a worker",
    Scope.ADMIN: "everything, tokens too",
}
#: days after which a token ends, as the form offers it; 0 is never.
EXPIRIES = (("30", "in 30 days"), ("90", "in 90 days"), ("365", "in a year"), ("0", "never"))
WORDS = ("actor", "action", "target", "outcome")
_MISSED_COUNT = 3


def _tokens(visit: Visit) -> Response:
    return _token_page(visit)


def _token_page(visit: Visit, *, status: int = 200, **more: Any) -> Response:
    """Show the tokens, with a `problem` of what was typed, or the text of one that was made."""
    before_id = visit.query("before")
    rows = visit.service.tokens.tokens(limit=TOKEN_COUNT + 1, before_id=before_id if is_id(before_id) else "")
    now = visit.site.clock.now()
    shown = rows[:TOKEN_COUNT]
    return page(
        visit,
        "admin_tokens.html",
        status=status,
        rows=[(one, _state(one, now)) for one in shown],
        persons=visit.service.tokens.persons(),
        older=f"/admin?before={shown[-1].id}" if len(rows) > TOKEN_COUNT else "",
        scopes=SCOPES,
        expiries=EXPIRIES,
        form=visit.form,
        problem=more.get("problem", ""),
        made=more.get("made"),
        text=more.get("text", ""),
    )


def _state(token: TokenView, now: datetime) -> str:
    if token.revoked_at is not None:
        return "revoked"
    return "ok" if token.counts(now) else "expired"


def _create(visit: Visit) -> Response:
    """Make a token; its text is in this answer alone, so that it is in no address and no cookie."""
    form = visit.form
    try:
        made, text = visit.service.tokens.create(
            form.text("name"), _scopes(form), _limits(form), expires_at=_expiry(visit)
        )
    except (ConfigError, Forbidden) as error:
        is_denied = isinstance(error, Forbidden)
        status = HTTPStatus.FORBIDDEN if is_denied else HTTPStatus.UNPROCESSABLE_ENTITY
        return _token_page(visit, status=status, problem=str(error))
    # without what was typed: the next token begins empty
    return _token_page(Visit(visit.site, visit.who, visit.request), made=made, text=text)


def _scopes(form: Form) -> list[Scope]:
    try:
        return [Scope(one) for one in form.all("scope")]
    except ValueError as error:
        raise ConfigError(f"knows {', '.join(Scope)}", key="scopes") from error


def _limits(form: Form) -> Limits:
    def words(name: str) -> tuple[str, ...]:
        return tuple(form.text(name).replace(",", " ").split())

    return Limits(words("groups"), words("environments"), words("hosts"))


def _expiry(visit: Visit) -> datetime | None:
    days = visit.form.text("expiry", "90")
    if days not in dict(EXPIRIES):
        raise ConfigError("is one of those that the form offers", key="expiry")
    return visit.site.clock.now() + timedelta(days=int(days)) if int(days) else None


def _revocation(visit: Visit) -> Response:
    return page(visit, "admin_revoke.html", token=_token(visit), own=visit.who.token_id)


def _token(visit: Visit) -> TokenView:
    own_id = visit.path("token_id")
    visit.service.guard.require((Scope.ADMIN,))
    return visit.site.access.token(own_id)


def _revoke(visit: Visit) -> Response:
    token = _token(visit)
    if visit.form.text("confirm") != "yes":
        raise HttpProblem(400, "not-confirmed", "nothing was revoked: the box was not ticked")
    if visit.service.tokens.revoke(token.id):
        return see_other(visit, "/admin", f"The token {token.name} counts no more.")
    return see_other(visit, "/admin", f"The token {token.name} counted no more before.", "note")


def _drop_person(visit: Visit) -> Response:
    """Log all browsers of a person out whom a provider of identities has let in."""
    name = visit.form.text("name")
    if visit.form.text("confirm") != "yes":
        raise HttpProblem(400, "not-confirmed", "nobody was logged out: the box was not ticked")
    count = visit.service.tokens.drop_person(name)
    return see_other(visit, "/admin", f"{count} sessions of {name} count no more.")


def _audit(visit: Visit) -> Response:
    asked = {name: visit.query(name).strip()[:200] for name in WORDS}
    before_id = visit.query("before")
    rows = visit.service.tokens.audit(
        limit=AUDIT_COUNT + 1, before_id=before_id if is_id(before_id) else "", **asked
    )
    shown = rows[:AUDIT_COUNT]
    query = {name: value for name, value in asked.items() if value}
    older = ""
    if len(rows) > AUDIT_COUNT:
        older = f"/admin/audit?{urlencode({**query, 'before': shown[-1].id})}"
    return page(
        visit,
        "admin_audit.html",
        rows=shown,
        asked=asked,
        is_limited=bool(query),
        is_first=not before_id,
        older=older,
        outcomes=[("", "any"), *((str(one), str(one)) for one in Outcome)],
    )


def _cores(visit: Visit) -> Response:
    visit.service.guard.require((Scope.ADMIN,))
    now = visit.site.clock.now()
    rows = visit.site.service.reader.instances()
    states = [_core_state(now, one.beat_at) for one in rows]
    return page(visit, "admin_cores.html", rows=list(zip(rows, states, strict=True)))


def _core_state(now: datetime, beat_at: datetime) -> str:
    return "running" if (now - beat_at).total_seconds() < _MISSED_COUNT * BEAT_S else "away"


ROUTES = (
    page_route("/admin", _tokens, _create, needs=Scope.ADMIN),
    page_route("/admin/audit", _audit, needs=Scope.ADMIN),
    page_route("/admin/cores", _cores, needs=Scope.ADMIN),
    page_route("/admin/people", act=_drop_person, needs=Scope.ADMIN),
    page_route("/admin/tokens/{token_id}/revoke", _revocation, _revoke, needs=Scope.ADMIN),
)
