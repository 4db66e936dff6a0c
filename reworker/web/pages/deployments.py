"""The list of deployments: filters in the address, views that are kept, and what is done to many at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec
from starlette.responses import Response

from reworker.core.batch import Applied
from reworker.core.places import place_of_row
from reworker.core.principal import Scope
from reworker.core.reads import DeploymentView
from reworker.core.waiting import as_now
from reworker.errors import ConfigError, DeploymentNotFound, Forbidden, NotResumable, ReworkerError
from reworker.ids import is_id
from reworker.web.errors import HttpProblem
from reworker.web.pages.expecting import expectations
from reworker.web.pages.listing import Listing, row_of, since_choices, status_choices, tab_title
from reworker.web.pages.page_routes import page_route
from reworker.web.pages.rendering import page, see_other
from reworker.web.pages.visits import Visit

#: rows of a page, and deployments that one request may act on.
PAGE_COUNT, BULK_COUNT = 100, 100
#: what is done to many at once -> the scope for it.
BULK = {"cancel": Scope.CANCEL, "retry": Scope.RUN}


def _list(visit: Visit) -> Response:
    asked, before_id = Listing.of(visit.request.query_params), visit.query("before")
    if is_id(asked.q):
        return see_other(visit, f"/deployments/{asked.q}")
    now = visit.site.clock.now()
    wanted = asked.wanted(now)
    found = visit.service.deployments(
        limit=PAGE_COUNT + 1, before_id=before_id if is_id(before_id) else "", wanted=wanted
    )
    views, has_more = as_now(visit.site.service.reader, found[:PAGE_COUNT]), len(found) > PAGE_COUNT
    counts = visit.service.counts_by_status(msgspec.structs.replace(wanted, statuses=()))
    expected = expectations(visit.service, views)
    return page(
        visit,
        "deployments.html",
        asked=asked,
        rows=[row_of(one, expected.get(one.row.id), now) for one in views],
        counts=counts,
        total=sum(counts.values()),
        is_first=not before_id,
        older=asked.url(before=views[-1].row.id) if has_more else "",
        saved=visit.service.views.all(),
        statuses=status_choices(),
        sinces=since_choices(),
        tab=tab_title(counts),
    )


class Verdict(msgspec.Struct, frozen=True):
    """What would become of one deployment: nothing, for a reason, or what was asked for."""

    view: DeploymentView
    reason: str = ""


def _preview(visit: Visit) -> Response:
    """Show what would be done to those that are marked; nothing is done yet."""
    act, ids = _bulk_of(visit.query("act"), visit.request.query_params.getlist("id"))
    verdicts = [_verdict(visit, act, one) for one in _found(visit, ids)]
    return page(
        visit,
        "bulk.html",
        act=act,
        todo=[one for one in verdicts if not one.reason],
        left=[one for one in verdicts if one.reason],
        missing=len(ids) - len(verdicts),
    )


def _bulk_of(act: str, ids: Iterable[str]) -> tuple[str, list[str]]:
    ids = list(dict.fromkeys(one for one in ids if is_id(one)))
    if act not in BULK:
        raise HttpProblem(400, "unknown-action", f"deployments can be cancelled or retried, not {act[:60]!a}")
    if not ids:
        raise HttpProblem(400, "nothing-marked", "no deployment is marked: go back and mark some")
    if len(ids) > BULK_COUNT:
        raise HttpProblem(400, "too-many", f"{len(ids)} are marked, the limit is {BULK_COUNT} at once")
    return act, ids


def _found(visit: Visit, ids: Iterable[str]) -> list[DeploymentView]:
    found = []
    for one in ids:
        try:
            found.append(visit.service.deployment(one))
        except (DeploymentNotFound, Forbidden):
            continue
    return found


def _verdict(visit: Visit, act: str, view: DeploymentView) -> Verdict:
    if reason := visit.who.refusal(BULK[act], place_of_row(view.row)):
        return Verdict(view, reason)
    if act == "cancel":
        return Verdict(view, "it is over" if view.is_over else "")
    if not view.is_over:
        return Verdict(view, "it is not over")
    return Verdict(view, "it completed" if _is_whole(view) else "")


def _is_whole(view: DeploymentView) -> bool:
    return str(view.state.status) == "completed" and not view.state.failed_count and not view.state.left_out


def _act(visit: Visit) -> Response:
    """Do it to each; what fails for one does not keep the others from it."""
    act, ids = _bulk_of(visit.form.text("act"), visit.form.all("id"))
    do: Callable[[str], str] = _cancelled(visit) if act == "cancel" else _retried(visit)
    failures = [failure for one in ids if (failure := do(one))]
    done_count = len(ids) - len(failures)
    word = "asked to end" if act == "cancel" else "started again, without what was done"
    text = f"{done_count} of {len(ids)} deployments {word}."
    if failures:
        more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
        return see_other(visit, "/deployments", f"{text} {failures[0]}{more}", "failed")
    return see_other(visit, "/deployments", text)


def _cancelled(visit: Visit) -> Callable[[str], str]:
    def do(own_id: str) -> str:
        try:
            result = visit.service.cancel(own_id, reason=visit.form.text("reason"))
        except ReworkerError as error:
            return f"{own_id}: {error}"
        return f"{own_id}: {result.reason}" if result.applied is Applied.IGNORED else ""

    return do


def _retried(visit: Visit) -> Callable[[str], str]:
    def do(own_id: str) -> str:
        try:
            visit.service.retry(own_id, reason=visit.form.text("reason"))
        except NotResumable as error:
            return str(error)
        except ReworkerError as error:
            return f"{own_id}: {error}"
        return ""

    return do


def _save_view(visit: Visit) -> Response:
    asked = Listing.of(dict(visit.form.fields))
    name = visit.form.text("view").strip()
    try:
        visit.service.views.keep(name, asked.query())
    except ConfigError as error:
        return see_other(visit, asked.url(), str(error), "failed")
    return see_other(visit, asked.url(), f"The view {name} is kept.")


def _drop_view(visit: Visit) -> Response:
    name = visit.form.text("view")
    visit.service.views.drop(name)
    return see_other(visit, "/deployments", f"The view {name} is gone.")


ROUTES = (
    page_route("/deployments", _list),
    page_route("/deployments/bulk", _preview, _act),
    page_route("/deployments/views", act=_save_view),
    page_route("/deployments/views/drop", act=_drop_view),
)
