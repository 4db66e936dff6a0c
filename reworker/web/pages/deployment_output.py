"""The output of a deployment: a page of lines, the lines that came since, and all of it as a file."""

from __future__ import annotations

import msgspec
from markupsafe import Markup
from starlette.responses import Response, StreamingResponse

from reworker.core.principal import Scope
from reworker.core.recorder import LogLine
from reworker.web.pages.deployment_log import (
    KEPT_COUNT,
    PAGE_COUNT,
    LogPage,
    LogQuery,
    Read,
    lines_html,
    log_page,
    text_file,
)
from reworker.web.pages.deployment_look import TABS, Look, deployment_id, look_at
from reworker.web.pages.page_routes import page_route
from reworker.web.pages.queries import number_in
from reworker.web.pages.rendering import page
from reworker.web.pages.visits import Visit

#: characters of a text that is searched for.
SEARCH_CHARACTERS = 200


class Pane(msgspec.Struct, frozen=True):
    """Lines as a page has them: `html` are the rows."""

    page: LogPage
    query: LogQuery
    html: Markup
    kept_count: int = KEPT_COUNT


def pane(visit: Visit, look: Look, query: LogQuery, count: int) -> Pane:
    """Return the lines of a deployment that are asked for."""
    own_id = look.view.row.id
    found = log_page(_read(visit, own_id), _total(visit, own_id), query, count)
    return Pane(found, query, lines_html(found.lines, look.url))


def _read(visit: Visit, own_id: str) -> Read:
    service = visit.site.service

    def read(after_no: int, limit: int) -> list[LogLine]:
        return service.log_lines(own_id, after_no=after_no, limit=limit) if limit > 0 else []

    return read


def _total(visit: Visit, own_id: str) -> int:
    last = visit.site.service.log_lines(own_id, limit=1, is_tail=True)
    return last[-1].no if last else 0


def _log(visit: Visit) -> Response:
    look = look_at(visit)
    query = LogQuery(
        before=number_in(visit, "before"),
        around=number_in(visit, "line"),
        search=visit.query("q")[:SEARCH_CHARACTERS],
        attempt=number_in(visit, "attempt"),
    )
    is_live = "x-live" in visit.request.headers
    log = None if is_live else pane(visit, look, query, PAGE_COUNT)
    return page(visit, "deployment_log.html", look=look, tabs=TABS, tab="log", log=log, query=query)


def _lines(visit: Visit) -> Response:
    """Answer with the rows of lines after a number, for a page that follows."""
    own_id = deployment_id(visit)
    visit.service.deployment(own_id)
    after = number_in(visit, "after")
    query = LogQuery(search=visit.query("q")[:SEARCH_CHARACTERS], attempt=number_in(visit, "attempt"))
    found = visit.site.service.log_lines(own_id, after_no=after, limit=PAGE_COUNT)
    rows = lines_html([one for one in found if query.fits(one)], f"/deployments/{own_id}")
    headers = {"X-Last-No": str(found[-1].no if found else after)}
    return Response(rows, headers=headers, media_type="text/html")


def _file(visit: Visit) -> Response:
    """Answer with all lines, or one, as text."""
    own_id = deployment_id(visit)
    visit.service.deployment(own_id)
    line = number_in(visit, "line")
    first, last = (line, line) if line else (1, _total(visit, own_id))
    headers = {"Content-Disposition": f'attachment; filename="{own_id}.log.txt"'}
    read = _read(visit, own_id)
    if line:
        one = next((text for text in text_file(lambda after, _: read(after, 1), first, last)), b"")
        return Response(one, media_type="text/plain")
    return StreamingResponse(text_file(read, first, last), headers=headers, media_type="text/plain")


_URL = "/deployments/{deployment_id}"

ROUTES = (
    page_route(f"{_URL}/log", _log, needs=Scope.READ),
    page_route(f"{_URL}/log/lines", _lines, needs=Scope.READ),
    page_route(f"{_URL}/log.txt", _file, needs=Scope.READ),
)
