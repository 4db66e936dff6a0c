"""Workers and bus: queues, processes of workers, dead letters to look at, edit, send back and drop."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from reworker.core.letter_box import Return
from reworker.core.letter_desk import LetterView
from reworker.core.letter_pages import letters_page
from reworker.core.principal import Limits, Scope
from reworker.errors import BusError, ConfigError, LetterStays, Unroutable
from reworker.topology.letters import Filter
from reworker.web.api_v1.letters import checked_body
from reworker.web.desk import ORDERS, REASON_CHARACTERS, BusDesk
from reworker.web.errors import HttpProblem
from reworker.web.pages import bus_rows
from reworker.web.pages.page_routes import page_route
from reworker.web.pages.queries import number_in
from reworker.web.pages.rendering import page, see_other
from reworker.web.pages.visits import Visit

#: dead letters of a page; characters of a filter.
LETTER_COUNT, WORD_CHARACTERS = 100, 200
#: how far back the list of dead letters goes: word -> (what people read, hours).
SINCE = {"1h": ("the last hour", 1), "24h": ("the last 24 hours", 24), "7d": ("the last 7 days", 168)}


def _desk(visit: Visit) -> BusDesk | None:
    return visit.site.desk


def _require_desk(visit: Visit) -> BusDesk:
    desk = _desk(visit)
    if desk is None:
        raise HttpProblem(503, "no-broker", "this server knows no broker; start it with --mq FILE_OR_URL")
    return desk


def _overview(visit: Visit) -> Response:
    desk = _desk(visit)
    if desk is None:
        return page(visit, "workers_no_broker.html")
    look, wanted = desk.look(visit.who), _word(visit, "q")
    return page(
        visit,
        "workers.html",
        look=look,
        wanted=wanted,
        queues=bus_rows.queue_slice(look, wanted, number_in(visit, "queues")),
        workers=bus_rows.worker_slice(look, wanted, number_in(visit, "workers")),
        pollers=_pollers(visit, wanted),
        versions=bus_rows.versions_text(look),
        tab=bus_rows.tab_title(look),
        type_of=bus_rows.type_of,
        words=urlencode({"q": wanted}) if wanted else "",
        sees_letters=_sees_letters(visit),
    )


def _pollers(visit: Visit, wanted: str) -> bus_rows.Slice | None:
    """Return the workers that poll this server; None when none could."""
    gateway = visit.site.gateway
    if gateway is None:
        return None
    return bus_rows.poller_slice(gateway.pollers(), wanted, number_in(visit, "pollers"))


def _word(visit: Visit, name: str) -> str:
    return visit.query(name).strip()[:WORD_CHARACTERS]


def _sees_letters(visit: Visit) -> bool:
    return visit.who.may(Scope.READ) and visit.who.limits == Limits()


def _may_change(visit: Visit) -> bool:
    return visit.who.may(Scope.ADMIN) and visit.who.limits == Limits()


def _type(visit: Visit) -> Response:
    """Show the processes of one type, with what can be said to them."""
    return _type_page(visit)


def _type_page(visit: Visit, problem: str = "", status: int = 200) -> Response:
    desk, name = _require_desk(visit), visit.path("name")
    look = desk.look(visit.who)
    return page(
        visit,
        "workers_type.html",
        status=status,
        name=name,
        look=look,
        rows=[one for one in look.workers if bus_rows.type_of(one) == name],
        may_change=_may_change(visit),
        reason=visit.form.text("reason"),
        reason_characters=REASON_CHARACTERS,
        problem=problem,
    )


def _order(visit: Visit) -> Response:
    name, verb = visit.path("name"), visit.form.text("verb")
    if verb not in ORDERS:
        raise HttpProblem(400, "unknown-order", f"a worker can be told {' or '.join(ORDERS)}")
    try:
        heard = _require_desk(visit).order(visit.who, verb, name, visit.form.text("reason"))
    except Unroutable:
        return _type_page(visit, "No process of this worker listens.", HTTPStatus.NOT_FOUND)
    except ConfigError as error:
        return _type_page(visit, str(error), HTTPStatus.UNPROCESSABLE_ENTITY)
    states = ", ".join(sorted({one.pong.state for one in heard})) or "no answer yet"
    return see_other(visit, "/workers", f"{name} was told: {verb}. Its processes say: {states}.")


def _letters(visit: Visit) -> Response:
    desk = _desk(visit)
    if desk is None:
        return page(visit, "workers_no_broker.html")
    asked = {name: _word(visit, name) for name in ("queue", "reason", "since")}
    asked["since"] = asked["since"] if asked["since"] in SINCE else ""
    try:
        found = desk.letters(visit.who)
    except (BusError, ConfigError) as error:
        return page(visit, "dead_letters.html", status=503, problem=str(error), asked=asked, **_nothing())
    after = _since(visit, asked["since"])
    wanted = Filter(queue=asked["queue"], reason=asked["reason"], after=after)
    rows, cursor = letters_page(
        found.letters, wanted, limit=LETTER_COUNT, cursor=visit.query("cursor")[:WORD_CHARACTERS]
    )
    query = {name: value for name, value in asked.items() if value}
    return page(
        visit,
        "dead_letters.html",
        problem="",
        asked=asked,
        rows=rows,
        found=found,
        more_url=f"/workers/dead?{urlencode({**query, 'cursor': cursor})}" if cursor else "",
        is_first=not visit.query("cursor"),
        is_limited=bool(query),
        sinces=_sinces(),
    )


def _nothing() -> dict[str, Any]:
    return {
        "rows": [],
        "found": None,
        "more_url": "",
        "is_first": True,
        "is_limited": False,
        "sinces": _sinces(),
    }


def _sinces() -> list[tuple[str, str]]:
    return [("", "ever"), *((word, text) for word, (text, _) in SINCE.items())]


def _since(visit: Visit, word: str) -> datetime | None:
    return visit.site.clock.now() - timedelta(hours=SINCE[word][1]) if word else None


def _letter(visit: Visit) -> Response:
    return _letter_page(visit)


def _letter_page(visit: Visit, problem: str = "", status: int = 200) -> Response:
    found = _require_desk(visit).letter(visit.who, visit.path("letter_id"))
    return page(
        visit,
        "dead_letter.html",
        status=status,
        letter=found.letter,
        properties=_lines(found.properties),
        headers=_lines(found.properties.get("headers") or {}),
        found=found,
        body=visit.form.text("body") or found.body,
        form=visit.form,
        may_change=_may_change(visit),
        reason_characters=REASON_CHARACTERS,
        problem=problem,
    )


def _lines(values: dict[str, Any]) -> list[tuple[str, str]]:
    """Return names and values as text; the headers stand for themselves."""
    return [
        (name, (value or "(empty)") if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        for name, value in values.items()
        if name != "headers" or not isinstance(value, dict)
    ]


def _redrive(visit: Visit) -> Response:
    form, letter_id = visit.form, visit.path("letter_id")
    desk = _require_desk(visit)
    try:
        is_shown = bool(form.all("body"))
        body = _edited(desk.letter(visit.who, letter_id), form.text("body")) if is_shown else None
        how = Return(visit.site.clock.now(), form.text("queue").strip(), form.text("force") == "yes", body)
        desk.redrive(visit.who, letter_id, form.text("reason"), how)
    except (LetterStays, ConfigError, HttpProblem) as error:
        text = error.detail if isinstance(error, HttpProblem) else str(error)
        needs = _NEEDS.get(error.needs, "") if isinstance(error, LetterStays) else ""
        return _letter_page(visit, f"It was not sent back: {text}{needs}", _status_of(error))
    return see_other(visit, "/workers/dead", f"The dead letter {letter_id} was sent back.")


#: what to do about a letter that stays, by what it needs.
_NEEDS = {
    "force": ". Resume the deployment instead, or tick the box that sends it back all the same.",
    "queue": ". Name a queue.",
}


def _edited(found: LetterView, text: str) -> bytes | None:
    """Return the body that was typed, when it is another one.

    Raises:
        HttpProblem: it is no JSON, or cannot be edited.
    """
    if text == found.body.replace("\r\n", "\n"):
        return None
    if not found.is_editable:
        raise HttpProblem(409, "not-editable", "the body is no text, or too long to be edited")
    return checked_body(text)


def _status_of(error: Exception) -> int:
    if isinstance(error, LetterStays):
        return HTTPStatus.CONFLICT
    return HTTPStatus.UNPROCESSABLE_ENTITY


def _drop(visit: Visit) -> Response:
    letter_id = visit.path("letter_id")
    if visit.form.text("confirm") != "yes":
        text = "It was not thrown away: the box was not ticked."
        return _letter_page(visit, text, HTTPStatus.UNPROCESSABLE_ENTITY)
    try:
        _require_desk(visit).drop(visit.who, letter_id, visit.form.text("reason"))
    except ConfigError as error:
        return _letter_page(visit, f"It was not thrown away: {error}", HTTPStatus.UNPROCESSABLE_ENTITY)
    return see_other(visit, "/workers/dead", f"The dead letter {letter_id} was thrown away.")


ROUTES = (
    page_route("/workers", _overview),
    page_route("/workers/types/{name}", _type, _order, act_needs=Scope.ADMIN),
    page_route("/workers/dead", _letters),
    page_route("/workers/dead/{letter_id}", _letter),
    page_route("/workers/dead/{letter_id}/redrive", None, _redrive, needs=Scope.ADMIN),
    page_route("/workers/dead/{letter_id}/drop", None, _drop, needs=Scope.ADMIN),
)
