"""Who has polled lately: each worker by its name, task type and domain."""

from __future__ import annotations

from collections import OrderedDict

from reworker.gateway.contract import PollData, TaskType

#: workers that are remembered, and seconds after their last poll for which they are.
WORKER_COUNT, REMEMBERED_S = 2_000, 3600.0


class Pollers:
    """The workers that have polled last, bounded by count and age; its users hold the house's lock."""

    def __init__(self) -> None:
        self._polled_s: OrderedDict[tuple[TaskType, str], float] = OrderedDict()

    def note(self, kind: TaskType, worker_id: str, at_s: float) -> None:
        """Note a poll; of too many workers, whoever has polled longest ago is forgotten."""
        key = (kind, worker_id)
        self._polled_s[key] = at_s
        self._polled_s.move_to_end(key)
        if len(self._polled_s) > WORKER_COUNT:
            self._polled_s.popitem(last=False)

    def known(self, now_s: float) -> list[PollData]:
        """Return who has polled lately, the last first; forget the others."""
        while self._polled_s and next(iter(self._polled_s.values())) < now_s - REMEMBERED_S:
            self._polled_s.popitem(last=False)
        return [PollData(kind, worker, at_s) for (kind, worker), at_s in reversed(self._polled_s.items())]
