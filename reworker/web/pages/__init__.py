"""The pages of the dashboard: made on the server, and complete without JavaScript."""

from reworker.web.pages import (
    admin,
    assets,
    codes,
    deployment,
    deployments,
    now,
    oidc,
    playbook_runs,
    playbooks,
    schedules,
    sessions,
    task,
    tasks,
    workers,
)
from reworker.web.routes import GuardedRoute

ROUTES: tuple[GuardedRoute, ...] = (
    *assets.ROUTES,
    *sessions.ROUTES,
    *oidc.ROUTES,
    *now.ROUTES,
    *deployments.ROUTES,
    *deployment.ROUTES,
    *playbook_runs.ROUTES,
    *playbooks.ROUTES,
    *workers.ROUTES,
    # before one task: `codes` and `schedules` are no ids
    *tasks.ROUTES,
    *codes.ROUTES,
    *schedules.ROUTES,
    *task.ROUTES,
    *admin.ROUTES,
)
