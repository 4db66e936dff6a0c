"""The page of a deployment: what it is and waits for, what became of each step on each host, and when."""

from __future__ import annotations

from starlette.responses import Response

from reworker.core.principal import Scope
from reworker.core.service import AttemptView
from reworker.storage.contract import AttemptRow, Reader
from reworker.web.pages import deployment_actions, deployment_output, deployment_past
from reworker.web.pages.deployment_cells import BAD, cells_of
from reworker.web.pages.deployment_log import PANE_COUNT, LogQuery
from reworker.web.pages.deployment_look import TABS, Look, look_at
from reworker.web.pages.deployment_matrix import (
    PAGE_ROW_COUNT,
    MatrixQuery,
    SequenceView,
    group_words,
    legend,
    matrix,
)
from reworker.web.pages.deployment_output import pane
from reworker.web.pages.deployment_timeline import PARTS, Timeline, timeline
from reworker.web.pages.page_routes import page_route
from reworker.web.pages.queries import number_in
from reworker.web.pages.rendering import page
from reworker.web.pages.visits import Visit

#: failures that are told of one by one, and attempts on the timeline of the first page.
FAILURE_COUNT, TIMELINE_COUNT = 8, 24
#: attempts on a page of the timeline.
TIMELINE_PAGE_COUNT = 100
#: characters of a host's name that is looked for.
HOST_CHARACTERS = 253


class _Picture:
    """The cells of a deployment, and the few attempts that they were made from."""

    def __init__(self, visit: Visit, look: Look) -> None:
        self._reader: Reader = visit.site.service.reader
        self._look, self._own_id = look, look.view.row.id
        self._marks = self._reader.marks(self._own_id)
        view = look.view
        self._cells = cells_of(view.row.step_count, view.state, self._marks, look.done_before)

    def sequences(self, query: MatrixQuery) -> list[SequenceView]:
        """Return what is asked for of the matrix."""
        percents = {one.step_index: one.percent for one in self._marks if one.percent is not None}
        is_over = self._look.view.is_over
        return matrix(self._look.plan, self._cells, is_over=is_over, percents=percents, query=query)

    def failures(self) -> tuple[list[AttemptRow], int]:
        """Return the first attempts that went wrong for good, and how many there are."""
        last = {one.step_index: one.number for one in self._marks if self._cells[one.step_index] in BAD}
        shown = sorted(last.values())[:FAILURE_COUNT]
        return self._reader.attempts_numbered(self._own_id, shown) if shown else [], len(last)


def _show(visit: Visit) -> Response:
    look = look_at(visit)
    picture = _Picture(visit, look)
    sequences = picture.sequences(MatrixQuery())
    failures, failure_count = picture.failures()
    is_live = "x-live" in visit.request.headers
    return page(
        visit,
        "deployment.html",
        look=look,
        tabs=TABS,
        tab="",
        sequences=sequences,
        legend=legend(sequences),
        failures=failures,
        failure_count=failure_count,
        timeline=_attempts(visit, look),
        parts=PARTS,
        # the lines have a way of their own into a page that follows
        log=None if is_live else pane(visit, look, LogQuery(), PANE_COUNT),
    )


def _attempts(visit: Visit, look: Look, before: int = 0, count: int = TIMELINE_COUNT) -> Timeline:
    """Return the timeline of the attempts before a number; 0 is the end."""
    last = before - 1 if before else look.view.state.attempt_count
    first = max(last - count, 0)
    found: list[AttemptView] = visit.site.service.attempts(
        look.view.row.id, after_number=first, limit=max(last - first, 1)
    )
    # not the time of now: a page must be the same as long as nothing has happened
    until = look.view.row.updated_at
    return timeline([one.row for one in found if one.row.number <= last], until)


def _hosts(visit: Visit) -> Response:
    """Show some hosts: those of a sequence, of a group, or with a name."""
    look = look_at(visit)
    query = MatrixQuery(
        sequence=min(number_in(visit, "sequence"), len(look.plan.sequences)),
        group=visit.query("group") if group_words(visit.query("group")) else "",
        host=visit.query("host").strip()[:HOST_CHARACTERS],
        page=max(number_in(visit, "page"), 1),
    )
    sequences = _Picture(visit, look).sequences(query)
    is_more = any(
        one.count > query.page * PAGE_ROW_COUNT for sequence in sequences for one in sequence.groups
    )
    return page(
        visit,
        "deployment_hosts.html",
        look=look,
        tabs=TABS,
        tab="hosts",
        sequences=[one for one in sequences if one.groups],
        legend=legend(sequences),
        query=query,
        group_words=group_words(query.group),
        is_more=is_more,
    )


def _timeline(visit: Visit) -> Response:
    look = look_at(visit)
    before = number_in(visit, "before")
    found = _attempts(visit, look, before, TIMELINE_PAGE_COUNT)
    first = found.rows[0].attempt.number if found.rows else 1
    return page(
        visit,
        "deployment_timeline.html",
        look=look,
        tabs=TABS,
        tab="timeline",
        timeline=found,
        parts=PARTS,
        older=first if first > 1 else 0,
    )


_URL = "/deployments/{deployment_id}"

ROUTES = (
    page_route(_URL, _show, needs=Scope.READ),
    page_route(f"{_URL}/hosts", _hosts, needs=Scope.READ),
    page_route(f"{_URL}/timeline", _timeline, needs=Scope.READ),
    *deployment_output.ROUTES,
    *deployment_past.ROUTES,
    *deployment_actions.ROUTES,
)
