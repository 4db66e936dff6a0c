"""The HTTP side put together, for `web` and for `up`."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from typing import TYPE_CHECKING

from reworker.clock import SystemClock
from reworker.errors import ConfigError
from reworker.host.health import Probe

if TYPE_CHECKING:
    from reworker.config import MqSettings
    from reworker.core.access import Access
    from reworker.core.service import Service
    from reworker.gateway.gateway import PollGateway
    from reworker.storage.contract import LogStore, Storage
    from reworker.web.conductor.settings import ConductorSettings
    from reworker.web.context import Site
    from reworker.web.desk import BusDesk
    from reworker.web.oidc.login import OidcLogin
    from reworker.web.oidc.settings import OidcSettings
    from reworker.web.server import WebServer
    from reworker.web.settings import WebSettings

#: open files that a server of pages is given: one for each page that is open in a browser, and some.
CONNECTION_COUNT = 65_536


class WebSide:
    """A server that answers, and the link of the first start, which is to be printed.

    Args:
        server: that answers.
        link: empty when somebody has logged in before.
        prefix: where workers that poll find it; None is nowhere.
    """

    def __init__(self, server: WebServer, link: str, prefix: str | None) -> None:
        self.url, self.link = server.url, link
        #: what a client of Conductor is given as its server; empty when none is served.
        self.conductor_url = "" if prefix is None else f"{server.url}{prefix}"


@contextmanager
def running_web(
    stores: tuple[Storage, LogStore],
    settings: WebSettings,
    *,
    mq: str | MqSettings | None = None,
    management: str = "",
    service: Service | None = None,
    probe: Probe | None = None,
    oidc: OidcSettings | None = None,
) -> Iterator[WebSide]:
    """Serve the API and the dashboard for the block.

    Args:
        stores: the database and the lines of output.
        settings: where it listens, whom it trusts.
        mq: file, URL or settings of the broker, for queues, dead letters and workers that poll; None is none.
        management: URL of its management plugin; empty looks for it at its usual port.
        service: of a core in this process, which notices at once what was asked; None makes one.
        probe: of the core in this process; None asks the database.
        oidc: of the provider that logs people in; None is none.

    Raises:
        ConfigError: the server's dependencies are not installed, or it cannot listen there.
        CannotConnect: workers that poll are to be served, and the broker is away.
    """
    _require_dependencies()
    from reworker.core.access import Access
    from reworker.core.service import Service
    from reworker.web.context import Site
    from reworker.web.probe import DatabaseProbe

    storage, logs = stores
    clock = SystemClock()
    _allow_connections()
    with ExitStack() as stack:
        access = stack.enter_context(closing(Access(storage, clock)))
        gateway = stack.enter_context(_gateway(mq, settings.conductor)) if settings.conductor else None
        site = Site(
            service or Service(storage, logs, clock),
            access,
            clock,
            settings,
            desk=stack.enter_context(_desk(mq, management, storage, access)) if mq else None,
            probe=_with_gateway(probe or DatabaseProbe(storage.reader), gateway),
            oidc=_oidc(oidc, settings) if oidc else None,
            gateway=gateway,
        )
        yield stack.enter_context(_answering(site, storage))


def _require_dependencies() -> None:
    """Find out before anything is opened whether the HTTP side can be loaded.

    Raises:
        ConfigError: its dependencies are not installed.
    """
    try:
        import reworker.web.app
        import reworker.web.server  # noqa: F401  that it can be
    except ModuleNotFoundError as error:
        reason = f"{error.name} is missing; the HTTP side needs it: install reworker[server]"
        raise ConfigError(reason, key="web") from error


@contextmanager
def _answering(site: Site, storage: Storage) -> Iterator[WebSide]:
    """Have a server answer for the block, with the link of the first start when nobody has logged in."""
    from reworker.web.app import create_app
    from reworker.web.conductor.parts import parts_of
    from reworker.web.server import WebServer

    settings = site.settings
    app = create_app(site, conductor=parts_of(site, storage, site.gateway) if site.gateway else None)
    with WebServer(app, settings, on_stop=app.state.end) as server:
        secret = site.access.first_link() if settings.has_auth else None
        link = f"{server.url}/login/{secret}" if secret else ""
        yield WebSide(server, link, settings.conductor.prefixes[0] if settings.conductor else None)


def _gateway(mq: str | MqSettings | None, settings: ConductorSettings) -> AbstractContextManager[PollGateway]:
    # not above: most servers have none, and need no connection to the broker
    from reworker.cli.gateway_side import running_gateway

    return running_gateway(mq, settings)


def _with_gateway(probe: Probe, gateway: PollGateway | None) -> Probe:
    if gateway is None:
        return probe
    from reworker.cli.gateway_side import with_gateway

    return with_gateway(probe, gateway)


def _oidc(oidc: OidcSettings, settings: WebSettings) -> OidcLogin:
    try:
        from reworker.web.oidc.login import OidcLogin
    except ModuleNotFoundError as error:
        reason = f"{error.name} is missing; OpenID Connect needs it: install reworker[oidc]"
        raise ConfigError(reason, key="oidc_issuer") from error
    oidc.require_fits(settings)
    return OidcLogin(oidc, SystemClock())


def _desk(mq: str | MqSettings, management: str, storage: Storage, access: Access) -> BusDesk:
    from reworker.config import mq_settings, with_password_of
    from reworker.web.desk import BusDesk

    settings = with_password_of(mq_settings(mq) if isinstance(mq, str) else mq, os.environ)
    return BusDesk(settings, storage.reader, SystemClock(), access.note, management=management)


def _allow_connections() -> None:
    """Let this process have as many connections as the system allows: each open page keeps one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTION_COUNT if hard == resource.RLIM_INFINITY else min(CONNECTION_COUNT, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
