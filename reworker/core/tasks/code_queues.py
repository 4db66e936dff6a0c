"""The queues of codes on the broker, as the core keeps them: made for tasks, deleted with their code."""

from __future__ import annotations

import logging

from reworker.bus.contract import Bus
from reworker.clock import Clock
from reworker.errors import BusError
from reworker.storage.contract import Storage
from reworker.topology.code_queues import code_topology, delete_code_queue

logger = logging.getLogger(__name__)

#: seconds after which a queue is declared again: somebody may have deleted it by hand.
AGAIN_S = 30.0
#: seconds between two looks for queues of deleted codes.
LOOK_S = 60.0
#: deleted codes that are looked at, the last ones first.
DELETED_COUNT = 1000


class CodeQueues:
    """One thread.

    Args:
        bus: of the core.
        storage: knows which codes there are.
        clock: for the time between two declarations.
        exchange: that steps are published to.
    """

    def __init__(self, bus: Bus, storage: Storage, clock: Clock, exchange: str) -> None:
        self._bus, self._storage, self._clock, self._exchange = bus, storage, clock, exchange
        self._declared: dict[str, float] = {}
        self._deleted: set[str] = set()
        self._look_at_mono_s = clock.mono_s()

    def require(self, code_id: str) -> None:
        """Have the queue of a code there.

        Raises:
            BusError: the broker is away, or has another queue of this name.
        """
        now_s = self._clock.mono_s()
        if now_s - self._declared.get(code_id, float("-inf")) >= AGAIN_S:
            self._bus.declare(code_topology(code_id, self._exchange))
            self._declared[code_id] = now_s

    def retire(self) -> None:
        """Delete the queues of deleted codes none of whose tasks runs, now and then."""
        if self._clock.mono_s() < self._look_at_mono_s:
            return
        self._look_at_mono_s = self._clock.mono_s() + LOOK_S
        for code_id in self._storage.reader.deleted_codes(limit=DELETED_COUNT):
            if code_id not in self._deleted and self._is_gone(code_id):
                self._deleted.add(code_id)
                self._declared.pop(code_id, None)

    def _is_gone(self, code_id: str) -> bool:
        try:
            return delete_code_queue(self._bus, code_id)
        except BusError as error:
            logger.info("the queue of the deleted code %s is deleted later: %s", code_id, error)
            return False
