"""What a database must read for the picture of one deployment; see `contract`."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from reworker.storage.rows import AttemptRow, EventRow, MarkRow


class MarkReader(Protocol):
    """The reads that a picture of a deployment needs."""

    def marks(self, deployment_id: str) -> list[MarkRow]:
        """Return the attempts that say more than that their step completed, in order."""
        ...

    def attempts_numbered(self, deployment_id: str, numbers: Collection[int]) -> list[AttemptRow]:
        """Return the attempts of these numbers, in order."""
        ...

    def attempts_between(
        self, deployment_id: str, first_index: int, end_index: int, *, limit: int
    ) -> list[AttemptRow]:
        """Return the last attempts at the steps of a stretch of the plan, in order."""
        ...

    def events_about(self, deployment_id: str, attempt: int, *, limit: int) -> list[EventRow]:
        """Return the events that may be about an attempt, in order: their data names its number somewhere."""
        ...

    def playbook_version(self, playbook_id: str, digest: str) -> int:
        """Return the newest version of a playbook whose text has this SHA-256, or 0."""
        ...
