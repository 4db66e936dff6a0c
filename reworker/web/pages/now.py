"""The first page: what needs people, what is at work, what failed lately, and whether all parts are there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

import msgspec
from starlette.responses import Response

from reworker.core.reads import DeploymentView
from reworker.core.upkeep import BEAT_S
from reworker.core.waiting import as_now
from reworker.fsm.states import DeploymentStatus
from reworker.storage.contract import DeploymentFilter, InstanceRow
from reworker.storage.rows import NO_TASKS
from reworker.web.pages.deployment_head import waits
from reworker.web.pages.expecting import expectations
from reworker.web.pages.health_strip import Part, bus_parts
from reworker.web.pages.listing import GROUPS, row_of, tab_title
from reworker.web.pages.page_routes import page_route
from reworker.web.pages.rendering import page
from reworker.web.pages.visits import Visit

#: deployments of each kind that the page lists; deployments at work that are looked through for questions.
LIST_COUNT, OPEN_COUNT, RECENT_COUNT = 10, 200, 100
#: hours for which a step that no worker took is shown as something to do.
UNROUTABLE_HOURS = 24
#: how the reason begins when no queue took a step: see `fsm.attempts`.
NO_QUEUE = "no queue is bound to "
#: beats that a core may miss before it counts as away.
MISSED_COUNT = 3


class Need(msgspec.Struct, frozen=True):
    """Something that only a person can bring on.

    Args:
        view: the deployment.
        kind: decide, approve or no worker.
        text: what is asked.
        detail: more about it.
    """

    view: DeploymentView
    kind: str
    text: str
    detail: str = ""


def _show(visit: Visit) -> Response:
    now = visit.site.clock.now()
    opened = as_now(visit.site.service.reader, _listed(visit, "open", OPEN_COUNT))
    failed = _listed(visit, "trouble", RECENT_COUNT)
    counts = visit.service.counts_by_status(NO_TASKS)
    needs = [*_questions(visit, opened), *_unroutable(failed, opened, now)]
    expected = expectations(visit.service, opened[:LIST_COUNT])
    tab = [f"{len(needs)} to do"] if needs else []
    return page(
        visit,
        "now.html",
        needs=needs,
        running=[row_of(one, expected.get(one.row.id), now) for one in opened[:LIST_COUNT]],
        open_count=sum(counts.get(one, 0) for one in GROUPS["open"][1]),
        failed=[row_of(one) for one in failed[:LIST_COUNT]],
        is_empty=not counts,
        has_playbooks=bool(visit.service.library.playbooks()) if not counts else True,
        parts=[
            Part("database", "ok"),
            *_cores(visit.site.service.reader.instances(), now),
            *bus_parts(visit),
        ],
        tab=", ".join([*tab, *filter(None, [tab_title(_running_only(counts))])]),
        base_url=str(visit.request.base_url).rstrip("/"),
    )


def _parts(visit: Visit, now: datetime) -> list[Part]:
    cores = _cores(visit.site.service.reader.instances(), now)
    return [Part("database", "ok"), *cores, *bus_parts(visit)]


def _running_only(counts: dict[str, int]) -> dict[str, int]:
    """Return the counts that the tab shows: what failed long ago is no news."""
    return {DeploymentStatus.RUNNING: counts.get(DeploymentStatus.RUNNING, 0)}


def _listed(visit: Visit, group: str, limit: int) -> list[DeploymentView]:
    statuses = tuple(str(one) for one in GROUPS[group][1])
    return visit.service.deployments(limit=limit, wanted=DeploymentFilter(statuses=statuses, is_task=False))


def _questions(visit: Visit, opened: Iterable[DeploymentView]) -> Iterator[Need]:
    """Yield what people are asked: to consent, or to decide where nobody knows the outcome."""
    for view in opened:
        if not any(one.is_for_people for one in view.state.attempts):
            continue
        found, more_count = waits(view, visit.service.plan(view.row.id))
        asked = [one for one in found if one.attempt and one.actions]
        for one in asked:
            kind = "decide" if "decide" in one.actions else "approve"
            yield Need(view, kind, one.text, one.detail)
        if more_count:
            yield Need(view, "decide", f"{more_count} more questions of this deployment.")


def _unroutable(
    failed: Iterable[DeploymentView], opened: Iterable[DeploymentView], now: datetime
) -> Iterator[Need]:
    """Yield failures for want of a worker, unless somebody has gone on from there already."""
    failed = list(failed)
    continued = {one.row.resumes for one in (*failed, *opened)}
    for view in failed:
        failure = view.state.failure
        if failure is None or not failure.reason.startswith(NO_QUEUE) or view.row.id in continued:
            continue
        if view.row.ended_at is None or now - view.row.ended_at > timedelta(hours=UNROUTABLE_HOURS):
            continue
        text = f"{failure.step} found no worker. Start one, then retry."
        yield Need(view, "no worker", text, failure.reason)


def _cores(rows: Iterable[InstanceRow], now: datetime) -> Iterator[Part]:
    """Yield how the cores are; of those that are away only the last one, when none is alive."""
    rows = sorted(rows, key=lambda one: one.beat_at, reverse=True)
    alive = [one for one in rows if (now - one.beat_at).total_seconds() < MISSED_COUNT * BEAT_S]
    for one in alive:
        yield Part("core", "running", f"{one.name} on {one.host}")
    if not alive and rows:
        yield Part("core", "away", f"{rows[0].name} on {rows[0].host} is silent since", rows[0].beat_at)
    if not rows:
        yield Part("core", "away", "none has run on this database yet: reworker core")


ROUTES = (page_route("/", _show),)
