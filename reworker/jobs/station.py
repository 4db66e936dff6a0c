"""What the attempts of one worker instance share: bus, identity, what is open, finished and cancelled."""

from __future__ import annotations

import itertools
import os
import random
import secrets
import threading
import weakref
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from logging import Logger
from typing import Any, Protocol

from reworker.bus import contract
from reworker.bus.contract import DeclareMode, Delivery, TopologySpec
from reworker.bus.rota import Rota
from reworker.clock import Clock, SystemClock
from reworker.jobs.settings import WorkerSettings
from reworker.jobs.tally import JobTally
from reworker.ledger import Ledger, MemoryLedger
from reworker.tracing import StepTracer

#: output lines and notifications of a process that may wait for their confirm; more make the job wait.
ROOM_COUNT = 1_000
#: cancelled attempts that are remembered.
CANCELLED_COUNT = 10_000


class Publisher(contract.Publisher, Protocol):
    """What a job needs of a bus."""

    def declare(self, topology: TopologySpec, mode: DeclareMode = DeclareMode.DECLARE) -> None:
        """See `bus.contract.Bus.declare`."""
        ...


class Gate(Protocol):
    """Decides whose messages a worker takes; see `jobs.senders`."""

    def before(self, on_delivery: Callable[[Delivery], None]) -> Callable[[Delivery], None]:
        """Return what takes deliveries and passes on those that are welcome."""
        ...


class Cancellations:
    """Attempts that are to be refused, with the reason; the oldest are forgotten."""

    def __init__(self, max_count: int = CANCELLED_COUNT) -> None:
        self._reasons: OrderedDict[str, str] = OrderedDict()
        self._max_count = max_count
        self._lock = threading.Lock()

    def add(self, attempt_id: str, reason: str) -> None:
        """Remember a cancelled attempt."""
        with self._lock:
            self._reasons[attempt_id] = reason
            if len(self._reasons) > self._max_count:
                self._reasons.popitem(last=False)

    def reason(self, attempt_id: str | None) -> str | None:
        """Return why an attempt was cancelled, or None when it was not."""
        return self._reasons.get(attempt_id) if attempt_id is not None and self._reasons else None


class ForkMark:
    """Tells whether this process is a forked child of the one that made the mark; cheaper than a pid."""

    def __init__(self) -> None:
        self.is_child = False
        mark = weakref.ref(self)

        def in_child() -> None:
            own = mark()
            if own is not None:
                own.is_child = True

        os.register_at_fork(after_in_child=in_child)


@dataclass(slots=True)
class Station:
    """Where one instance works.

    Args:
        bus: for publishing.
        app_id: the worker class's name in lower case.
        worker_id: ``host:pid:instance``.
        logger: the worker's own.
        settings: of the worker.
        ledger: finished level 2 attempts.
        recent: finished level 1 steps of this process, by correlation id and body.
        clock: for durations.
        open_attempts: each `Attempt` that is not settled yet, by its key.
        cancellations: attempts to refuse.
        room: lets so many output lines be on their way.
        counts: of what happened; for health and metrics.
        tally: of the jobs of this instance; for metrics.
        tracer: makes a span for each job; None is none.
        redact: takes secrets out of a line of output; None is nothing to take out.
        nonce: tells the replies of two runs of one attempt apart.
        numbers: for the same purpose, within this process.
        fork_mark: tells whether user code has forked this process.
        gate: lets only the messages of certain users in; None lets all.
        rota: of a worker of many queues: which may have a message; None is one queue.
        rand: chance, for pauses between tries.
        current: the `Attempt` that the instance performs now, or None.
    """

    bus: Publisher
    app_id: str
    worker_id: str
    logger: Logger
    settings: WorkerSettings
    ledger: Ledger = field(default_factory=MemoryLedger)
    recent: Ledger = field(default_factory=MemoryLedger)
    clock: Clock = field(default_factory=SystemClock)
    open_attempts: dict[str, Any] = field(default_factory=dict)
    cancellations: Cancellations = field(default_factory=Cancellations)
    room: threading.BoundedSemaphore = field(default_factory=lambda: threading.BoundedSemaphore(ROOM_COUNT))
    counts: Counter[str] = field(default_factory=Counter)
    tally: JobTally = field(default_factory=JobTally)
    tracer: StepTracer | None = None
    redact: Callable[[str], str] | None = None
    nonce: str = field(default_factory=lambda: secrets.token_hex(4))
    numbers: itertools.count[int] = field(default_factory=itertools.count)
    fork_mark: ForkMark = field(default_factory=ForkMark)
    gate: Gate | None = None
    rota: Rota | None = None
    rand: Callable[[], float] = random.random
    current: Any = None
