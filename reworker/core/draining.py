"""Whether a core has brought to an end what was open, so that it can be stopped for good."""

from __future__ import annotations

from reworker.core import codec
from reworker.core.upkeep import open_ids
from reworker.errors import StorageUnavailable
from reworker.fsm.commands import TimerKind
from reworker.fsm.deployment import Deployment
from reworker.fsm.states import DeploymentStatus
from reworker.storage.contract import Reader

#: deployments of one status that are looked at.
PAGE_COUNT = 1000
#: states in which a deployment comes to its end by itself; one that is queued waits for one of these.
_MOVING = (DeploymentStatus.RUNNING, DeploymentStatus.ROLLING_BACK, DeploymentStatus.CANCELLING)
#: states in which it waits for people, once what was under way has ended.
_HALTED = (DeploymentStatus.PAUSED, DeploymentStatus.WAITING)


class Draining:
    """Follows the deployments that were open at its beginning; those started later hold nothing up."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._ids = set(open_ids(reader, PAGE_COUNT * PAGE_COUNT))
        self._was_still = False

    def left(self) -> list[str]:
        """Return which of them have not ended; some may wait for people."""
        return [one for one in open_ids(self._reader, PAGE_COUNT * PAGE_COUNT) if one in self._ids]

    def is_over(self) -> bool:
        """Tell whether nothing moves any more without people; to be asked about twice a second.

        The answer is yes the second time that nothing moves: who waits for a lock may be about to begin.
        While the database is away it is no.
        """
        try:
            is_moving = any(self._is_any_moving(status) for status in (*_MOVING, *_HALTED))
            is_still = not is_moving and not self._is_any_woken()
        except StorageUnavailable:
            is_still = False
        was_still, self._was_still = self._was_still, is_still
        return is_still and was_still

    def _is_any_woken(self) -> bool:
        """Tell whether one is about to get its locks; a core that has just started lets timers rest."""
        return any(
            row.kind == TimerKind.LOCKS and row.deployment_id in self._ids for row in self._reader.timers()
        )

    def _is_any_moving(self, status: DeploymentStatus) -> bool:
        before_id = ""
        while page := self._reader.deployments(limit=PAGE_COUNT, status=status, before_id=before_id):
            before_id = page[-1].id
            mine = (row for row in page if row.id in self._ids)
            if any(status in _MOVING or _has_open_work(codec.decode_snapshot(row.snapshot)) for row in mine):
                return True
        return False


def _has_open_work(state: Deployment) -> bool:
    return any(not attempt.is_for_people for attempt in state.attempts)
