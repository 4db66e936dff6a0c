"""What the Conductor interface works with."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from reworker.core.definitions import Definitions
from reworker.core.worker_tokens import WorkerTokens
from reworker.gateway.contract import Gateway
from reworker.storage.contract import Storage
from reworker.web.conductor.authority import Authority
from reworker.web.conductor.recent import RecentOffers
from reworker.web.conductor.rule_book import RuleBook
from reworker.web.conductor.settings import ConductorSettings
from reworker.web.context import Site


@dataclass(frozen=True)
class Parts:
    """The parts that its addresses need.

    Args:
        site: of the HTTP side.
        gateway: has the tasks.
        settings: of this interface.
        definitions: of task types, as they are stored.
        book: what they say.
        authority: knows who asks.
        recent: tasks by their names within a workflow.
        waiting: polls that are held.
    """

    site: Site
    gateway: Gateway
    settings: ConductorSettings
    definitions: Definitions
    book: RuleBook
    authority: Authority
    recent: RecentOffers = field(default_factory=RecentOffers)
    waiting: set[asyncio.Future[Any]] = field(default_factory=set)

    def end(self) -> None:
        """Answer polls that are held: the server ends. The event loop's thread."""
        for one in list(self.waiting):
            one.cancel()


def parts_of(site: Site, storage: Storage, gateway: Gateway) -> Parts:
    """Return the parts, with what is stored already told to the gateway; the site has the settings.

    Raises:
        StorageError: the database cannot be used.
    """
    settings = site.settings.conductor or ConductorSettings()
    tokens = WorkerTokens(storage, site.clock)
    tokens.prepare()
    definitions = Definitions(storage, site.clock)
    book = RuleBook(definitions, gateway, site.clock)
    book.load()
    return Parts(site, gateway, settings, definitions, book, Authority(site, tokens))
