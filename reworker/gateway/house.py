"""What all lanes and leases of one gateway share."""

from __future__ import annotations

import os
import re
import secrets
import socket
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from logging import Logger, getLogger
from typing import Any

from reworker.bus.contract import Bus
from reworker.clock import Clock, SystemClock
from reworker.gateway.contract import TaskRules
from reworker.gateway.lease_book import LeaseBook, LeaseRow
from reworker.gateway.pollers import Pollers
from reworker.gateway.quota import Quota
from reworker.gateway.settings import GatewaySettings
from reworker.gateway.timers import Timers
from reworker.ledger import Ledger, MemoryLedger

#: things of one kind that are remembered, and bytes of the messages that they hold.
REMEMBERED_COUNT, REMEMBERED_BYTES = 1_000, 32 << 20
_SAFE_ID = re.compile(r"[A-Za-z0-9._:~-]{1,100}")


class Remembered:
    """The newest of what somebody may ask for later, bounded by count and size; its users hold the lock."""

    def __init__(self, max_count: int = REMEMBERED_COUNT, max_bytes: int = REMEMBERED_BYTES) -> None:
        self._max_count, self._max_bytes = max_count, max_bytes
        self._values: OrderedDict[str, tuple[Any, int]] = OrderedDict()
        self._size_bytes = 0

    def keep(self, key: str, value: Any, size_bytes: int = 0) -> None:
        """Remember something, and how much it holds; the oldest is forgotten."""
        self.pop(key)
        self._values[key] = (value, size_bytes)
        self._size_bytes += size_bytes
        while len(self._values) > self._max_count or self._size_bytes > self._max_bytes:
            self._size_bytes -= self._values.popitem(last=False)[1][1]

    def get(self, key: str) -> Any:
        """Return it; None when it is not known any more."""
        return self._values.get(key, (None, 0))[0]

    def pop(self, key: str) -> Any:
        """Return it, and forget it; None when it is not known."""
        value, size_bytes = self._values.pop(key, (None, 0))
        self._size_bytes -= size_bytes
        return value

    def __len__(self) -> int:
        return len(self._values)


@dataclass(slots=True)
class House:
    """Shared by the parts of one gateway.

    Args:
        bus: open.
        settings: of the gateway.
        timers: for everything that comes at its time.
        submit: has a call made on a thread that may wait for the broker.
        book: remembers leases over a restart.
        clock: for times.
        ledger: of finished attempts.
        logger: of the gateway.
        lock: guards all that lanes, requests and leases hold; never held while somebody is called back.
        leases: that are not over, by task id.
        late: leases that ended with their step going back to its queue, by task id.
        remembered: leases from before a restart that are looked for, by task id.
        previous: id of the try before, by the key of its attempt.
        quotas: by task type.
        counts: of what has happened.
        pollers: who has polled lately.
        worker_id: beginning of the ids of all workers that poll here.
        is_closing: nothing is handed out any more.
        on_new_lane: called with a lane before its queue is declared; may wait for the broker.
    """

    bus: Bus
    settings: GatewaySettings
    timers: Timers
    submit: Callable[[Callable[[], None]], None]
    book: LeaseBook
    clock: Clock = field(default_factory=SystemClock)
    ledger: Ledger = field(default_factory=MemoryLedger)
    logger: Logger = field(default_factory=lambda: getLogger("reworker.gateway"))
    lock: threading.RLock = field(default_factory=threading.RLock)
    leases: dict[str, Any] = field(default_factory=dict)
    late: Remembered = field(default_factory=Remembered)
    remembered: dict[str, LeaseRow] = field(default_factory=dict)
    previous: Remembered = field(default_factory=Remembered)
    quotas: dict[str, Quota] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    pollers: Pollers = field(default_factory=Pollers)
    worker_id: str = field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}")
    is_closing: bool = False
    on_new_lane: Callable[[Any], None] = lambda lane: None

    def quota(self, name: str) -> Quota:
        """Return what may be handed out of a task type."""
        with self.lock:
            found = self.quotas.get(name)
            if found is None:
                found = self.quotas[name] = Quota(self.clock)
            return found

    def close_quota(self, name: str) -> None:
        """Forget a type of which no lane is left, and that has no rules of its own; the lock is held."""
        found = self.quotas.get(name)
        if found is not None and not found.on_room and found.rules == TaskRules():
            del self.quotas[name]

    def rules(self, name: str) -> TaskRules:
        """Return the rules of a task type."""
        return self.quota(name).rules

    def response_s(self, rules: TaskRules) -> float:
        """Return the silence after which a lease is over, as workers are told."""
        own_s = rules.response_timeout_s or self.settings.response_timeout_s
        return max(own_s, self.settings.least_response_timeout_s)


def new_task_id(message_id: str | None, correlation_id: str | None) -> str:
    """Return the id of a new lease, which no other has or will have; it is safe in a path."""
    step = message_id or correlation_id or ""
    lease = secrets.token_hex(8)
    return f"{step}.{lease}" if _SAFE_ID.fullmatch(step) else lease
