"""The pages of the dashboard: made on the server, and complete without JavaScript."""

from reworker.web.pages import (
    admin,
    assets,
    deployment,
    deployments,
    now,
    oidc,
    playbook_runs,
    playbooks,
    sessions,
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
    *admin.ROUTES,
)
