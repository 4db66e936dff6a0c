"""The deployments that a batch changes: where they come from, and how far what is remembered may be trusted.

What is in memory is as it was committed, unless another core, or a request, has changed it since. A batch
may trust it without asking: the database refuses what was made from an older version.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from reworker.core import codec
from reworker.core.memory import Head, Memory
from reworker.errors import StaleVersion
from reworker.fsm.deployment import FORMAT, Deployment
from reworker.fsm.machine import replay
from reworker.fsm.plan import Plan
from reworker.ids import attempt_id
from reworker.storage.contract import AttemptRow, DeploymentRow, Unit


class Work:
    """One deployment while the batch changes it."""

    def __init__(self, row: DeploymentRow, deployment: Deployment, plan: Plan) -> None:
        self.row, self.deployment, self.plan = row, deployment, plan
        self.last_seq, self.last_hash, self.updated_at = row.last_seq, row.last_hash, row.updated_at
        #: something of it was changed, so that its row is to be written, with a version of its own.
        self.is_changed = False
        self.stored_timers = {(str(t), a.number) for a in deployment.attempts for t in a.timers}
        self.stored_timers |= {(str(t), 0) for t in deployment.timers}


class Works:
    """The deployments of one batch by id, and the attempts that memory knew of."""

    def __init__(self, unit: Unit, memory: Memory) -> None:
        self._unit, self._memory = unit, memory
        self._works: dict[str, Work] = {}
        self._trusted: dict[str, int] = {}
        self.attempts: dict[str, AttemptRow] = {}

    def load(self, ids: Collection[str], *, is_trusting: bool) -> None:
        """Take deployments from memory, the others from the database.

        Args:
            ids: of deployments, which need not exist.
            is_trusting: if all are in memory, ask nobody. Else they are locked, and what is remembered
                counts only if it is still of the version in the database.
        """
        remembered = self._memory.heads(ids)
        if not remembered:
            self._read(ids)
        elif is_trusting and len(remembered) == len(ids):
            self._trusted = {head.row.id: head.version for head in remembered.values()}
            self._take(remembered, self._trusted)
        else:
            versions = self._unit.versions(ids)
            self._take(remembered, versions)
            self._read([one for one in versions if one not in self._works])

    def _take(self, remembered: Mapping[str, Head], versions: Mapping[str, int]) -> None:
        for head in remembered.values():
            if versions.get(head.row.id) == head.version:
                plan = self._memory.plans.get(head.row.id, self._unit.plan)
                self._works[head.row.id] = Work(head.row, head.deployment, plan)
                self.attempts |= head.attempts

    def _read(self, ids: Collection[str]) -> None:
        for row in self._unit.deployments(ids).values():
            plan = self._memory.plans.get(row.id, self._unit.plan)
            self._works[row.id] = Work(row, self._snapshot(row, plan), plan)

    def _snapshot(self, row: DeploymentRow, plan: Plan) -> Deployment:
        """Return the snapshot of a row; one of an older version is made anew from the events."""
        found = codec.decode_snapshot(row.snapshot)
        if found.format == FORMAT:
            return found
        return replay(plan, row.id, map(codec.decode_event, self._unit.events(row.id)))

    def add(self, row: DeploymentRow, plan: Plan) -> Work:
        """Add a deployment without events; return it."""
        self._works[row.id] = Work(row, Deployment(id=row.id), plan)
        return self._works[row.id]

    def get(self, deployment_id: str) -> Work | None:
        """Return a deployment, or None when there is none."""
        return self._works.get(deployment_id)

    def changed(self) -> list[Work]:
        """Return those whose rows are to be written.

        Raises:
            StaleVersion: see `confirm`; to be done by then for all that nothing is written of.
        """
        found = [work for work in self._works.values() if work.is_changed]
        if len(found) < len(self._works):
            # That an event changes nothing, or is of no attempt, was said of what may be an older version.
            self.confirm()
        return found

    def confirm(self) -> None:
        """Lock those that were taken on trust, and make sure of them.

        Raises:
            StaleVersion: another transaction has changed one of them.
        """
        trusted, self._trusted = self._trusted, {}
        versions = self._unit.versions(trusted.keys())
        stale = [one for one, version in trusted.items() if versions.get(one) != version]
        if stale:
            raise StaleVersion(f"deployment {', '.join(stale[:3])} was changed by another core meanwhile")

    def remember(self, rows: Collection[DeploymentRow], attempts: Mapping[str, AttemptRow]) -> None:
        """Keep deployments in memory as they were committed, with the rows of their open attempts."""
        for row in rows:
            now = self._works[row.id].deployment
            ids = (attempt_id(row.id, one.number) for one in now.attempts)
            self._memory.keep(Head(row, now, {one: attempts[one] for one in ids if one in attempts}))
