"""What a database must read for those who follow deployments; see `contract`."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

import msgspec


class HeadRow(msgspec.Struct, frozen=True):
    """What tells whether a deployment has changed: `version` grows with each change; see `DeploymentRow`."""

    id: str
    group: str
    environment: str
    status: str
    version: int


class HeadReader(Protocol):
    """The reads that followers need: small, and few for all of them together."""

    def heads(self, ids: Collection[str]) -> list[HeadRow]:
        """Return those deployments that exist, in no order."""
        ...

    def moving(self, statuses: Collection[str], after_id: str, *, limit: int) -> list[HeadRow]:
        """Return deployments that have one of these statuses or come after an id, newest first."""
        ...
