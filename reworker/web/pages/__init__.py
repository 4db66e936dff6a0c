"""The pages of the dashboard: made on the server, and complete without JavaScript."""

from reworker.web.pages import assets, sessions
from reworker.web.routes import GuardedRoute

ROUTES: tuple[GuardedRoute, ...] = (*assets.ROUTES, *sessions.ROUTES)
