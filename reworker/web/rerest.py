"""``/api/v0``: the REST API of the Release Engine of 2014, so that its clients go on working.

Its words and codes are kept, its holes are not: a playbook is found in its own group only, and every address
asks who is there. docs/release-engine.md has the differences.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from email.utils import format_datetime
from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from reworker.core.guarded import GuardedService
from reworker.core.principal import Principal, Scope
from reworker.core.service import DeploymentView
from reworker.errors import (
    DeploymentNotFound,
    Forbidden,
    NotAuthenticated,
    PlaybookInvalid,
    PlaybookNotFound,
    ReworkerError,
)
from reworker.fsm.document import plain_document
from reworker.fsm.states import DeploymentStatus
from reworker.ids import is_id
from reworker.storage.contract import PlaybookRow
from reworker.web.auth import (
    address_of,
    basic_password,
    bearer,
    principal_of,
    refuse_other_sites,
    require_known_host,
)
from reworker.web.bodies import json_of, read_body
from reworker.web.context import Site, site_of
from reworker.web.errors import HttpProblem, problem_of
from reworker.web.routes import GuardedRoute

#: forms of an answer, and of a playbook that comes.
MEDIA_TYPES = {"json": "application/json", "yaml": "text/yaml"}

Document = dict[str, Any]


class Ask:
    """One request, with the rights of who makes it."""

    def __init__(self, site: Site, who: Principal, request: Request, body: bytes) -> None:
        self.core = GuardedService(site.service, site.access, who)
        self.who, self.body, self.clock = who, body, site.clock
        self.group = str(request.path_params.get("group", ""))
        self.own_id = str(request.path_params.get("own_id", ""))

    def playbook(self) -> PlaybookRow:
        """Return the playbook of the address.

        Raises:
            PlaybookNotFound: there is none of this id in this group.
        """
        if not is_id(self.own_id):
            raise PlaybookNotFound(self.own_id, self.group)
        row = self.core.library.playbook(self.own_id)
        if row.group != self.group:
            raise PlaybookNotFound(self.own_id, self.group)
        return row

    def text(self) -> str:
        """Return the playbook that came, which must be of the group of the address."""
        text = _text(self.body)
        found = plain_document(text, "playbook")
        if not isinstance(found, dict) or found.get("group") != self.group:
            reason = f"the group of the playbook is not {self.group!r}, that of the address"
            raise PlaybookInvalid(reason, path="group")
        return text


#: does what an address is for; returns the status and the document.
Act = Callable[[Ask], tuple[int, Document]]


def _status(ask: Ask) -> tuple[int, Document]:
    own_id = ask.own_id
    view = ask.core.deployment(own_id)
    common: Document = {"created": _date(view.row.created_at), "deployment": own_id}
    if not view.is_over:
        took = _seconds(view, ask.clock.now())
        active = _active(ask, view)
        return 202, {"status": "in progress", "active_step": active, "duration": took, **common}
    ended_at = view.state.ended_at or view.row.updated_at
    common |= {"ended": _date(ended_at), "duration": _seconds(view, ended_at)}
    if view.state.status is DeploymentStatus.COMPLETED:
        return 200, {"status": "completed", **common}
    failure = view.state.failure
    return 400, {"status": "failed", "failed_step": failure.step if failure else "", **common}


def _start(ask: Ask) -> tuple[int, Document]:
    row = ask.playbook()
    values = _values(ask.body)
    own_id = ask.core.submit(row.text, values, playbook_id=row.id, source=row.name)
    return 201, {"status": "created", "id": own_id}


def _groups(ask: Ask) -> tuple[int, Document]:
    counts = Counter(row.group for row in ask.core.library.playbooks())
    items = [{"name": name, "count": count} for name, count in sorted(counts.items())]
    return 200, {"status": "ok", "items": items}


def _playbooks(ask: Ask) -> tuple[int, Document]:
    return 200, {"status": "ok", "items": [_item(row) for row in ask.core.library.playbooks(group=ask.group)]}


def _playbook(ask: Ask) -> tuple[int, Document]:
    return 200, {"status": "ok", "item": plain_document(ask.playbook().text, "playbook")}


def _add(ask: Ask) -> tuple[int, Document]:
    return 201, {"status": "created", "id": ask.core.library.store(ask.text()).id}


def _change(ask: Ask) -> tuple[int, Document]:
    row = ask.playbook()
    return 200, {"status": "ok", "id": ask.core.library.store(ask.text(), playbook_id=row.id).id}


def _remove(ask: Ask) -> tuple[int, Document]:
    ask.core.library.remove(ask.playbook().id)
    return 410, {"status": "gone"}


def _item(row: PlaybookRow) -> Document:
    return {**plain_document(row.text, "playbook"), "id": row.id}


def _date(at: datetime) -> str:
    return format_datetime(at, usegmt=True)


def _seconds(view: DeploymentView, until: datetime) -> int:
    return max(0, int((until - view.row.created_at).total_seconds()))


def _active(ask: Ask, view: DeploymentView) -> str:
    """Return the key of the first step at work; empty between two steps."""
    if not view.state.attempts:
        return ""
    first = view.state.attempts[0]
    return ask.core.plan(view.row.id).step(first.step_index, first.role).key


def _values(body: bytes) -> Document:
    """Return the dynamic values that came; none at all is none, but what cannot be read is not dropped."""
    if not body.strip():
        return {}
    found = json_of(body)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise HttpProblem(400, "not-json", "dynamic values are a JSON object")
    return found


def _text(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise PlaybookInvalid(f"it is not UTF-8: {error.reason}") from error


def _route(path: str, acts: Mapping[str, tuple[Scope, Act]]) -> GuardedRoute:
    async def endpoint(request: Request) -> Response:
        kind = request.query_params.get("format", "json")
        try:
            if kind not in MEDIA_TYPES:
                return _answer(400, {"status": "bad request", "message": "format is json or yaml"}, "json")
            method = "GET" if request.method == "HEAD" else request.method
            return _answer(*await _done(request, *acts[method]), kind)
        except Exception as error:  # noqa: BLE001  # the place where this dialect maps errors to answers
            return _answer(*_told(request, error), kind)

    return GuardedRoute(path, endpoint, needs={method: scope for method, (scope, _) in acts.items()})


async def _done(request: Request, scope: Scope, act: Act) -> tuple[int, Document]:
    site = site_of(request)
    who = await _who(site, request)
    if reason := who.refusal(scope):
        action = f"api_v0.{request.method.lower()}"
        await run_in_threadpool(site.access.note_denial, who, action, request.url.path, reason)
        who.require(scope)
    body = await read_body(request)
    return await run_in_threadpool(lambda: act(Ask(site, who, request, body)))


async def _who(site: Site, request: Request) -> Principal:
    """Return who asks: as ever, whom the server before us has let in; or by a token.

    A browser adds the password of HTTP Basic by itself, as the server before us adds the name, whatever page
    sends the request: so other sites may change nothing here either.
    """
    require_known_host(site, request)
    refuse_other_sites(request)
    header = site.settings.remote_user_header
    peer = request.client.host if request.client else ""
    if header and peer in site.settings.trusted_proxies:
        named = request.headers.getlist(header)
        # of two, one may be the client's own
        if len(named) != 1 or not named[0]:
            raise NotAuthenticated(f"the server before us names {'several' if named[1:] else 'nobody'}")
        return await run_in_threadpool(site.access.principal_named, named[0], address_of(site, request))
    return await principal_of(site, request, (bearer, basic_password), takes_cookie=False)


def _told(request: Request, error: Exception) -> tuple[int, Document]:
    """Return an error in the words of 2014."""
    if isinstance(error, NotAuthenticated):
        return 401, {"status": "error", "message": "unauthorized"}
    if isinstance(error, Forbidden):
        return 403, {"status": "error", "message": "forbidden", "reason": str(error)}
    if isinstance(error, DeploymentNotFound):
        return 404, {"status": "not found", "deployment": error.deployment_id}
    if isinstance(error, PlaybookNotFound):
        if request.url.path.endswith("/deployment/"):
            return 404, {"status": "error", "message": "group not found"}
        return 404, {"status": "not found"}
    problem = problem_of(error)
    if isinstance(error, ReworkerError | HttpProblem) and problem.status < 500:
        return 400 if problem.status == 422 else problem.status, {
            "status": "bad request",
            "message": problem.detail,
        }
    return problem.status, {"status": "error", "message": problem.detail}


def _answer(status: int, document: Document, kind: str) -> Response:
    if kind == "yaml":
        import yaml  # not above: nearly everybody wants JSON

        body = yaml.safe_dump(document, sort_keys=False, allow_unicode=True).encode()
    else:
        body = msgspec.json.encode(document)
    response = Response(body, status, media_type=MEDIA_TYPES[kind])
    if status == 401:
        response.headers["WWW-Authenticate"] = 'Basic realm="reworker"'
    return response


ROUTES = [
    _route("/deployment/status/{own_id}/", {"GET": (Scope.READ, _status)}),
    _route("/groups/", {"GET": (Scope.READ, _groups)}),
    _route("/playbooks/", {"GET": (Scope.READ, _playbooks)}),
    _route("/{group}/playbook/", {"GET": (Scope.READ, _playbooks), "PUT": (Scope.PLAYBOOK_WRITE, _add)}),
    _route(
        "/{group}/playbook/{own_id}/",
        {
            "GET": (Scope.READ, _playbook),
            "POST": (Scope.PLAYBOOK_WRITE, _change),
            "DELETE": (Scope.PLAYBOOK_WRITE, _remove),
        },
    ),
    _route("/{group}/playbook/{own_id}/deployment/", {"PUT": (Scope.RUN, _start)}),
]
