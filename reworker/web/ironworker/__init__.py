"""``/2``: the HTTP API of IronWorker, so that its clients go on working; see docs/ironworker.md."""

from __future__ import annotations

from reworker.web.ironworker import codes, projects, schedules, tasks
from reworker.web.ironworker.asking import told
from reworker.web.ironworker.proxy_form import ProxyForm

__all__ = ["PREFIX", "ROUTES", "ProxyForm", "told"]

#: where this dialect is: the version of the API that its clients have in their addresses.
PREFIX = "/2"

ROUTES = [*projects.ROUTES, *codes.ROUTES, *tasks.ROUTES, *schedules.ROUTES]
