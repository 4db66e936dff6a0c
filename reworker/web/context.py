"""What the HTTP side works with; made by whoever starts it, and given to every adapter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.requests import Request

from reworker.clock import Clock
from reworker.web.settings import WebSettings

if TYPE_CHECKING:
    from reworker.core.access import Access
    from reworker.core.service import Service
    from reworker.gateway.contract import Gateway
    from reworker.host.health import Probe
    from reworker.web.desk import BusDesk
    from reworker.web.oidc.login import OidcLogin


@dataclass(frozen=True)
class Site:
    """The parts that requests need; all of them may be used by any thread.

    Args:
        service: the core's, on the database.
        access: tokens, sessions and the audit.
        clock: of this machine.
        settings: of the HTTP side.
        desk: the broker's queues and dead letters; None when no broker was named.
        probe: how this process is, for operators.
        oidc: logins through a provider of identities; None is none.
        gateway: of workers that poll this server; None is none.
    """

    service: Service
    access: Access
    clock: Clock
    settings: WebSettings
    desk: BusDesk | None = None
    probe: Probe | None = None
    oidc: OidcLogin | None = None
    gateway: Gateway | None = None


def site_of(request: Request) -> Site:
    """Return the site of the application that a request came to."""
    found = request.app.state.site
    assert isinstance(found, Site)
    return found
