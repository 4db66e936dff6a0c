"""What a core remembers of deployments between two transactions, so that most events need no reading.

The database stays the only truth: what is remembered counts only if the row is still of the same version,
which every change of a deployment or of its attempts raises.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping

import msgspec

from reworker.core.codec import PlanCache
from reworker.fsm.deployment import Deployment
from reworker.storage.contract import AttemptRow, DeploymentRow

#: JSON of the snapshots that are kept decoded; about ten times that in memory.
HEADS_BYTES = 2 << 20


class Head(msgspec.Struct, frozen=True):
    """A deployment as it was committed, with the rows of its open attempts by id.

    It does not hold its plan, which may be a thousand times as large: those are counted by themselves.
    """

    row: DeploymentRow
    deployment: Deployment
    attempts: Mapping[str, AttemptRow]

    @property
    def version(self) -> int:
        """Return the version that the row must still have."""
        return self.row.version


class Memory:
    """The plans and deployments used last. One thread at a time."""

    def __init__(self, *, heads_bytes: int = HEADS_BYTES) -> None:
        self.plans = PlanCache()
        self._heads: OrderedDict[str, Head] = OrderedDict()
        self._limit_bytes, self._size_bytes = heads_bytes, 0

    def heads(self, ids: Iterable[str]) -> dict[str, Head]:
        """Return those that are remembered."""
        return {one: self._heads[one] for one in ids if one in self._heads}

    def keep(self, head: Head) -> None:
        """Remember a deployment, unless it is over; those that changed longest ago are forgotten."""
        before = self._heads.pop(head.row.id, None)
        if before is not None:
            self._size_bytes -= len(before.row.snapshot)
        if head.deployment.status.is_terminal:
            return
        self._heads[head.row.id] = head
        self._size_bytes += len(head.row.snapshot)
        while self._size_bytes > self._limit_bytes and len(self._heads) > 1:
            self._size_bytes -= len(self._heads.popitem(last=False)[1].row.snapshot)

    def forget(self) -> None:
        """Forget the deployments: a database that was away may be back without what it had committed last.

        A stand-by server that has taken over reaches the same versions again, with other contents.
        """
        self._heads.clear()
        self._size_bytes = 0
