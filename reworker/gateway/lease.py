"""One step in the hands of a worker: from the moment it is found until its final reply is settled."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from reworker.clock import Clock
from reworker.gateway.contract import Offer, Standing, TaskRules, TaskType
from reworker.gateway.house import House, new_task_id
from reworker.gateway.lease_book import LeaseRow
from reworker.gateway.performer import Performer
from reworker.gateway.telling import tell_people
from reworker.gateway.timers import Timer
from reworker.jobs.attempt import Attempt
from reworker.jobs.station import Station
from reworker.jobs.trying import tries_of
from reworker.messages import Reply

#: seconds of silence beyond what a worker was told, and the share of it that counts when that is more.
GRACE_S, GRACE_SHARE = 2.0, 0.2
#: seconds for which a lease that nobody has is remembered at least: a day.
PARKED_S = 86_400.0
_STARTED = Reply("started")


class Phase(enum.Enum):
    """Where a lease stands."""

    #: found for a poll whose answer is not written yet.
    OFFERED = "offered"
    #: a worker has it.
    HELD = "held"
    #: nobody has it: it is to be offered again.
    PARKED = "parked"
    #: its final reply is on its way.
    ENDING = "ending"
    OVER = "over"


class Source(Protocol):
    """What a lease asks of where it comes from; see `intake.Intake`."""

    #: how often the queue was found, or found again.
    epoch: int

    @property
    def ack_within_s(self) -> float | None:
        """Seconds after a delivery in which it is to be settled; None is without limit."""
        ...

    def keep(self, key: str, reply: Reply) -> None:
        """Keep a final reply that the broker did not take."""
        ...


class Owner(Protocol):
    """What a lease asks of its lane; see `lane.Lane`."""

    house: House
    station: Station
    performer: Performer

    @property
    def intake(self) -> Source:
        """Where its steps come from."""
        ...

    def note_end(self) -> None:
        """See what is wanted now that a lease is over."""
        ...

    def forget(self, lease: Lease) -> None:
        """Note that a lease is over; the lock is held."""
        ...

    def offer_again(self, lease: Lease) -> None:
        """Hand it out once more."""
        ...

    def give_back(self, lease: Lease) -> None:
        """Give it to somebody else: nobody has got it."""
        ...


class Lease:
    """See the module; its users hold the house's lock, where not said otherwise.

    Args:
        lane: that it belongs to.
        attempt: the record of its delivery, which has passed `execution.start`.
        kind: what was polled.
        task_id: of a lease from before a restart; empty is a new one.
    """

    __slots__ = (
        "again_mono_s",
        "attempt",
        "began_epoch",
        "delivered_mono_s",
        "heard_mono_s",
        "is_begun",
        "kind",
        "lane",
        "listeners",
        "offered_s",
        "output",
        "phase",
        "poll_count",
        "response_s",
        "rules",
        "task_id",
        "timer",
        "updated_s",
        "worker_id",
    )

    def __init__(self, lane: Owner, attempt: Attempt, kind: TaskType, task_id: str = "") -> None:
        house, properties = lane.house, attempt.delivery.properties
        self.lane, self.attempt, self.kind = lane, attempt, kind
        self.rules: TaskRules = house.rules(kind.name)
        self.task_id = task_id or new_task_id(
            getattr(properties, "message_id", None), properties.correlation_id
        )
        self.phase = Phase.OFFERED
        self.is_begun = False
        self.poll_count, self.worker_id = 0, ""
        self.response_s = house.response_s(self.rules)
        self.heard_mono_s = self.delivered_mono_s = attempt.started_mono_s = house.clock.mono_s()
        self.offered_s = self.updated_s = house.clock.now().timestamp()
        self.again_mono_s = 0.0
        #: how often the lane's queue had been found (again) when this began: more means that it was lost.
        self.began_epoch = 0
        self.output: Mapping[str, Any] = {}
        #: who is to be told that the final reply is settled.
        self.listeners: list[Callable[[Standing], None]] = []
        self.timer: Timer | None = None

    def offer_to(self, worker_id: str, station: Station) -> None:
        """Give it into the hands of a worker."""
        self.worker_id, self.attempt.station = worker_id, station
        self.phase = Phase.OFFERED
        self.poll_count += 1
        self.hear()

    def hear(self) -> None:
        """Note a sign of life."""
        clock = self.lane.house.clock
        self.heard_mono_s, self.updated_s = clock.mono_s(), clock.now().timestamp()

    @property
    def silent_mono_s(self) -> float:
        """When its silence will have been too long."""
        return self.heard_mono_s + self.response_s + max(GRACE_S, GRACE_SHARE * self.response_s)

    @property
    def end_mono_s(self) -> float | None:
        """When it has to be over, whatever is heard; None is without limit."""
        limit_s = self.attempt.timeout_s
        return None if limit_s is None else self.attempt.started_mono_s + limit_s

    def begin(self) -> None:
        """Note that a worker has it, and tell the core, the first time. Any thread, without the lock."""
        with self.lane.house.lock:
            if self.phase is not Phase.OFFERED:
                return
            self.phase = Phase.HELD
            is_first, self.is_begun = not self.is_begun, True
            self.hear()
        if is_first:
            say_begun(self.attempt)
            if is_new(self.attempt):
                tell_people(self.attempt, "started", self.worker_id)

    def note(self) -> None:
        """Remember it as it is now, beyond the end of this process."""
        house = self.lane.house
        if house.book.is_kept:
            house.book.note(self._row(house.clock))

    def _row(self, clock: Clock) -> LeaseRow:
        now_s, now_mono_s = clock.now().timestamp(), clock.mono_s()
        is_parked = self.phase is Phase.PARKED
        return LeaseRow(
            key=self.attempt.key,
            name=self.kind.name,
            domain=self.kind.domain,
            task_id=self.task_id,
            worker_id=self.worker_id,
            poll_count=self.poll_count,
            offered_s=self.offered_s,
            again_s=now_s + max(0.0, self.again_mono_s - now_mono_s) if is_parked else 0.0,
            ends_s=now_s + (PARKED_S if is_parked else self.silent_mono_s - now_mono_s),
            output=dict(self.output),
        )

    def restore(self, row: LeaseRow, station: Station) -> None:
        """Take up what was remembered; its worker could say nothing meanwhile, and is not blamed for that."""
        clock = self.lane.house.clock
        now_s, now_mono_s = clock.now().timestamp(), clock.mono_s()
        self.phase = Phase.PARKED if row.again_s else Phase.HELD
        self.is_begun, self.poll_count, self.output = True, row.poll_count, row.output
        self.worker_id, self.attempt.station = row.worker_id, station
        self.offered_s = row.offered_s
        self.attempt.started_mono_s = now_mono_s - max(0.0, now_s - row.offered_s)
        self.again_mono_s = now_mono_s + max(0.0, row.again_s - now_s)

    def offer(self) -> Offer:
        """Return it as workers see it."""
        attempt = self.attempt
        step = attempt.step
        assert step is not None, "a step without parameters is not leased"
        properties = attempt.delivery.properties
        return Offer(
            task_id=self.task_id,
            type=self.kind,
            attempt_id=attempt.correlation_id or "",
            group=step.group,
            parameters={**self.rules.input_template, **step.parameters},
            dynamic=step.dynamic,
            message=attempt.body,
            poll_count=self.poll_count,
            retry_count=tries_of(attempt),
            worker_id=self.worker_id,
            queued_s=float(getattr(properties, "timestamp", None) or 0),
            offered_s=self.offered_s,
            updated_s=self.updated_s,
            response_timeout_s=self.response_s,
            output=self.output,
            retried_task_id=self.lane.house.previous.get(attempt.key) or "",
        )


def say_begun(attempt: Attempt) -> None:
    """Say `started`, once per dispatch; of what was begun before, the core only hears that it goes on."""
    if is_new(attempt):
        attempt.reply(_STARTED)
    elif attempt.headers is not None and attempt.headers.heartbeat_s is not None:
        attempt.reply(Reply("running", message="a worker has taken it once more"))


def is_new(attempt: Attempt) -> bool:
    """Tell whether no worker has had this step before."""
    return not tries_of(attempt) and not attempt.is_redelivered
