"""``/healthz``, ``/readyz`` and ``/metrics``: what operators and their programs ask; without a token."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from reworker.host.health import Report, page_of
from reworker.host.metrics import CONTENT_TYPE, exposition
from reworker.web.context import site_of
from reworker.web.errors import answer_error
from reworker.web.routes import Endpoint, GuardedRoute

_NOT_READY = 503


def _health(report: Report) -> Response:
    return _page(report, not report.dead, report.dead)


def _ready(report: Report) -> Response:
    reasons = (*report.dead, *report.waits())
    return _page(report, not reasons, reasons)


def _metrics(report: Report) -> Response:
    return Response(exposition(report.families), media_type=CONTENT_TYPE)


def _page(report: Report, is_good: bool, reasons: Iterable[str]) -> Response:
    body = msgspec.json.encode(page_of(report, is_good, reasons))
    return Response(body, 200 if is_good else _NOT_READY, media_type="application/json")


def _endpoint(answer: Callable[[Report], Response]) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        probe = site_of(request).probe
        assert probe is not None, "whoever starts the HTTP side gives a probe"
        try:
            return answer(await run_in_threadpool(probe))
        except Exception as error:  # noqa: BLE001  # what fails here must be said to operators, too
            return answer_error(request, error)

    return endpoint


ROUTES = [
    GuardedRoute("/healthz", _endpoint(_health), needs={"GET": None}),
    GuardedRoute("/readyz", _endpoint(_ready), needs={"GET": None}),
    GuardedRoute("/metrics", _endpoint(_metrics), needs={"GET": None}),
]
