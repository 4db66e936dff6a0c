"""What people do with a deployment: first a page that says what will happen, then a form that does it."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import msgspec
from starlette.responses import Response

from reworker.core.again import made_from
from reworker.core.batch import Applied, Result
from reworker.core.principal import Scope
from reworker.core.resumption import Scope as Part
from reworker.core.submission import KEY_CHARACTERS, Terms
from reworker.errors import ConfigError, KeyReused, NotResumable, PlaybookInvalid
from reworker.fsm.deployment import Attempt
from reworker.fsm.events import Decision
from reworker.web.errors import HttpProblem
from reworker.web.pages.deployment_look import TABS, Look, deployment_id, look_at
from reworker.web.pages.deployment_previews import (
    ACTIONS,
    DECISIONS,
    Action,
    Ahead,
    ahead,
    asked_attempt,
    is_possible,
    preview,
    refusal,
)
from reworker.web.pages.page_routes import page_route
from reworker.web.pages.queries import LAST_NUMBER, number_in
from reworker.web.pages.rendering import page, see_other
from reworker.web.pages.visits import Visit

#: characters of a reason, and of what says where to begin.
REASON_CHARACTERS, START_CHARACTERS = 1000, 1000
#: bytes of chance in the key with which a form starts one deployment.
KEY_BYTES = 16
#: which hosts a retry is for.
HOSTS = ("all", "failed", "named")
_ANSWERS = ("approve", "refuse", "decide")
_DONE = {
    "cancel": "The deployment is being cancelled.",
    "pause": "Nothing new is sent until it is resumed.",
    "resume": "It goes on.",
    "approve": "Approved.",
    "refuse": "Refused.",
    "decide": "Decided.",
}


def _ask(visit: Visit) -> Response:
    """Show what an action will do."""
    return _shown(visit, _action(visit))


def _ask_again(visit: Visit) -> Response:
    # with a key: without JavaScript a double click would start two
    return _shown(visit, ACTIONS["again"], secrets.token_hex(KEY_BYTES))


def _shown(visit: Visit, action: Action, key: str = "") -> Response:
    look = look_at(visit)
    attempt = _asked(visit, action, look)
    is_open = attempt is not None if action.name in _ANSWERS else is_possible(action, look.view)
    return page(
        visit,
        "deployment_action.html",
        look=look,
        tabs=TABS,
        tab="action",
        action=action,
        attempt=attempt,
        planned=look.plan.step(attempt.step_index, attempt.role) if attempt else None,
        is_open=is_open,
        refusal=refusal(action, look.plan, visit.who),
        preview=preview(action, look.view, look.plan, attempt),
        decisions=DECISIONS,
        key=key,
        reason_characters=REASON_CHARACTERS,
    )


def _action(visit: Visit) -> Action:
    found = ACTIONS.get(visit.path("action"))
    if found is None:
        raise HttpProblem(404, "no-such-address", "there is no such page about a deployment")
    return found


def _asked(visit: Visit, action: Action, look: Look) -> Attempt | None:
    if action.name not in _ANSWERS:
        return None
    return asked_attempt(look.view.state, number_in(visit, "attempt"), action)


def _act(visit: Visit) -> Response:
    """Do it, and go back to the deployment, which says how it went."""
    action, own_id = _action(visit), deployment_id(visit)
    reason = _reason(visit)
    if action.needs_reason and not reason:
        query = {"attempt": str(_attempt_number(visit))}
        return see_other(visit, f"/deployments/{own_id}/{action.name}", "Say why.", "failed", query=query)
    result = _WAYS[action.name](visit, own_id, reason)
    url = f"/deployments/{own_id}"
    if result.applied is not Applied.CHANGED:
        said = result.reason or "it was said before"
        return see_other(visit, url, f"Nothing was changed: {said}.", "failed")
    return see_other(visit, url, _DONE[action.name])


def _reason(visit: Visit) -> str:
    return visit.form.text("reason").strip()[:REASON_CHARACTERS]


def _attempt_number(visit: Visit) -> int:
    """Return the attempt that the form is about; 0 is what waits."""
    text = visit.form.text("attempt", "0")
    is_number = text.isascii() and text.isdecimal() and len(text) <= len(str(LAST_NUMBER))
    if not is_number:
        raise HttpProblem(422, "invalid-body", f"there is no attempt {text[:40]!a}")
    return min(int(text), LAST_NUMBER)


def _decide(visit: Visit, own_id: str, reason: str) -> Result:
    said = visit.form.text("decision")
    if said not in list(Decision):
        raise HttpProblem(422, "invalid-body", f"say one of these decisions: {', '.join(Decision)}")
    found: Result = visit.service.decide(own_id, _attempt_number(visit), Decision(said), reason=reason)
    return found


def _way(name: str) -> Callable[[Visit, str, str], Result]:
    def on_deployment(visit: Visit, own_id: str, reason: str) -> Result:
        found: Result = getattr(visit.service, name)(own_id, reason=reason)
        return found

    def on_attempt(visit: Visit, own_id: str, reason: str) -> Result:
        found: Result = getattr(visit.service, name)(own_id, _attempt_number(visit), reason=reason)
        return found

    return on_attempt if name in _ANSWERS else on_deployment


_WAYS = {name: _way(name) for name in _DONE} | {"decide": _decide}


class Wish(msgspec.Struct, frozen=True):
    """What a retry is to do, as the form says it: `hosts` is one of `HOSTS`, `names` those that are named."""

    start: str = ""
    hosts: str = "all"
    names: str = ""

    @property
    def part(self) -> Part:
        """The same for the core."""
        names = tuple(self.names.replace(",", " ").split())
        chosen = {"failed": ("failed",), "named": names}.get(self.hosts, ())
        return Part(self.start, chosen)

    @property
    def problem(self) -> str:
        """What is wrong with it, or an empty text."""
        return "Name the hosts." if self.hosts == "named" and not self.part.hosts else ""


def _ask_retry(visit: Visit) -> Response:
    look = look_at(visit)
    action = ACTIONS["retry"]
    wish = _wish(visit.query("start"), visit.query("hosts", "all"), visit.query("names"))
    found, problem = _ahead(visit, look, wish)
    return page(
        visit,
        "deployment_retry.html",
        look=look,
        tabs=TABS,
        tab="action",
        action=action,
        wish=wish,
        ahead=found,
        problem=problem,
        is_open=is_possible(action, look.view),
        refusal=refusal(action, look.plan, visit.who),
        reason_characters=REASON_CHARACTERS,
    )


def _wish(start: str, hosts: str, names: str) -> Wish:
    return Wish(start.strip()[:START_CHARACTERS], hosts if hosts in HOSTS else "all", names.strip())


def _ahead(visit: Visit, look: Look, wish: Wish) -> tuple[Ahead | None, str]:
    """Return what a retry would do, or why it cannot be done."""
    if wish.problem:
        return None, wish.problem
    try:
        found = visit.site.service.continuation(look.view.row.id, wish.part)
    except NotResumable as error:
        return None, str(error)
    return ahead(found.draft.plan, found.resumption), ""


def _retry(visit: Visit) -> Response:
    own_id, form = deployment_id(visit), visit.form
    wish = _wish(form.text("start"), form.text("hosts", "all"), form.text("names"))
    try:
        if wish.problem:
            raise NotResumable(wish.problem)
        new_id = visit.service.retry(own_id, wish.part, reason=_reason(visit))
    except NotResumable as error:
        query = msgspec.structs.asdict(wish)
        return see_other(visit, f"/deployments/{own_id}/retry", str(error), "failed", query=query)
    return see_other(visit, f"/deployments/{new_id}", f"It goes on with what {own_id} left.")


def _again(visit: Visit) -> Response:
    own_id = deployment_id(visit)
    view = visit.service.deployment(own_id)
    key = visit.form.text("key")[:KEY_CHARACTERS]
    try:
        making = made_from(visit.site.service.reader, view.row, visit.service.plan(own_id))
        terms = Terms(key, own_id.encode(), reason=_reason(visit), domains=making.domains)
        text, values, of = making.text, making.values, making.playbook_id
        new_id = visit.service.submit(text, values, terms=terms, playbook_id=of, source=making.name)
    except KeyReused as error:
        return see_other(visit, f"/deployments/{error.deployment_id}", "It was started already.", "note")
    except (NotResumable, PlaybookInvalid, ConfigError) as error:
        return see_other(visit, f"/deployments/{own_id}", str(error), "failed")
    return see_other(visit, f"/deployments/{new_id}", f"All of {own_id} is done again.")


_URL = "/deployments/{deployment_id}"

ROUTES = (
    page_route(f"{_URL}/retry", _ask_retry, _retry, needs=Scope.READ, act_needs=Scope.RUN),
    page_route(f"{_URL}/again", _ask_again, _again, needs=Scope.READ, act_needs=Scope.RUN),
    page_route(f"{_URL}/{{action}}", _ask, _act, needs=Scope.READ),
)
