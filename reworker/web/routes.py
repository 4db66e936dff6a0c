"""Routes that say who may pass; an application has no others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from reworker.core.principal import Scope

Endpoint = Callable[[Request], Awaitable[Response]]


class GuardedRoute(Route):
    """An address whose methods need a scope each.

    The endpoint asks for it; the table here is what tests and `require_guarded` read.

    Args:
        path: as Starlette reads it.
        endpoint: answers, and never raises.
        needs: method -> scope; None lets everybody pass.
    """

    def __init__(self, path: str, endpoint: Endpoint, *, needs: Mapping[str, Scope | None]) -> None:
        super().__init__(path, endpoint, methods=list(needs))
        self.needs = dict(needs)


def require_guarded(routes: Iterable[BaseRoute], allowed: tuple[type[BaseRoute], ...] = ()) -> None:
    """Refuse to build an application with an address that does not say who may pass.

    Raises:
        TypeError: a route is of another kind.
    """
    for one in routes:
        if isinstance(one, Mount):
            require_guarded(one.routes or (), allowed)
        elif not isinstance(one, (GuardedRoute, *allowed)):
            raise TypeError(f"the route {one!r} does not say who may pass")
