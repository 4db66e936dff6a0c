"""One queue that workers poll: who waits for its steps, and which of them are leased."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict, deque
from collections.abc import Callable

from reworker.gateway.contract import Poll, TaskType
from reworker.gateway.house import House
from reworker.gateway.intake import Intake
from reworker.gateway.keeping import look_after
from reworker.gateway.lease import Lease, Phase
from reworker.gateway.lease_book import LeaseRow
from reworker.gateway.marking import Marker
from reworker.gateway.performer import Performer, Room
from reworker.gateway.request import Request
from reworker.gateway.settings import lane_settings
from reworker.jobs.attempt import Attempt
from reworker.jobs.returning import return_to_queue
from reworker.jobs.senders import SenderGate
from reworker.jobs.station import Station
from reworker.jobs.trying import limit
from reworker.topology import names

#: workers of one type whose names are kept with their stations.
WORKERS_COUNT = 1_000
#: seconds for an answer that is not to wait, when the broker does not give any.
NO_HOLD_S = 1.0


class Lane:
    """Hands out the steps of one queue to those who poll. Any thread.

    End of life: `close`; leases that are not over stay with the broker, which delivers them again.

    Args:
        house: of the gateway.
        kind: what is polled.
        owner: token of who polled for it first; empty is nobody's.

    Raises:
        ConfigError: the type cannot be the name of a queue.
    """

    def __init__(self, house: House, kind: TaskType, owner: str = "") -> None:
        self.house, self.kind, self.owner = house, kind, owner
        settings = lane_settings(house.settings, kind)
        self.queue = settings.queue
        self.station = Station(
            bus=house.bus,
            app_id=f"{kind.name.lower().removesuffix('worker')}worker",
            worker_id=house.worker_id,
            logger=house.logger,
            settings=settings,
            ledger=house.ledger,
            clock=house.clock,
            room=Room(),
        )
        self.quota = house.quota(kind.name)
        self.quota.on_room.append(self.look)
        self._marker = Marker(house, self.queue)
        self.waiting: OrderedDict[Request, None] = OrderedDict()
        self.parked: deque[Lease] = deque()
        own = names.commands_of(kind.name)
        #: what control messages call it: by its name, and with the domain.
        self.commands = (*own, *(f"{kind.domain}.{one}" for one in own)) if kind.domain else own
        self.is_paused = False
        self.lease_count = 0
        self.last_polled_mono_s = house.clock.mono_s()
        self.last_worker, self.last_polled_s = "", 0.0
        self.performer = Performer(house.logger)
        self.gate = SenderGate(self.station, house.bus) if settings.accept_from else None
        self._stations: OrderedDict[str, Station] = OrderedDict()
        self._wanted_count = 0
        self.is_closed = self._is_told_rate = False
        self.intake = Intake(self)

    # ---- polls

    def poll(
        self, kind: TaskType, worker_id: str, on_done: Callable[[Poll], None], *, count: int, hold_s: float
    ) -> Request:
        """Take a poll; see `contract.Gateway.poll`.

        Raises:
            BusError: the queue could not be declared just now.
        """
        house, now_mono_s = self.house, self.house.clock.mono_s()
        request = Request(self, kind, worker_id, on_done, count=max(1, count), is_holding=hold_s > 0)
        with house.lock:
            self.intake.raise_failure(now_mono_s)
            self._marker.note(now_mono_s)
            self.last_polled_mono_s = now_mono_s
            self.last_worker, self.last_polled_s = worker_id, house.clock.now().timestamp()
            house.pollers.note(self.kind, worker_id, self.last_polled_s)
            self._take_parked(request)
            is_over = house.is_closing or self.is_closed or (hold_s <= 0 and not self._may_offer())
            if not request.leases and not is_over:
                self._wait(request, now_mono_s + (hold_s if hold_s > 0 else NO_HOLD_S))
        if request.leases or is_over:
            request.answer()
        else:
            self.intake.open()
            self.look()
        return request

    def _wait(self, request: Request, until_mono_s: float) -> None:
        self.waiting[request] = None
        self._wanted_count += request.room_count
        request.timer = self.house.timers.at(until_mono_s, request.time_up)

    def leave(self, request: Request) -> None:
        """Let a poll wait no more; the lock is held."""
        if request in self.waiting:
            del self.waiting[request]
            self._wanted_count -= request.room_count

    def _take_parked(self, request: Request) -> None:
        while self.parked and request.room_count and not self.is_paused:
            self._hand(self.parked.popleft(), request)

    def _hand(self, lease: Lease, request: Request) -> None:
        """Put a step into the hands of whoever polled; the lock is held."""
        lease.offer_to(request.worker_id, self._station_of(request.worker_id))
        lease.kind, lease.began_epoch = request.kind, self.intake.epoch
        if request in self.waiting:
            self._wanted_count -= 1
        request.leases.append(lease)
        self.house.leases[lease.task_id] = lease
        self.house.counts["offers"] += 1

    def _station_of(self, worker_id: str) -> Station:
        """Return the lane's station under the name of a worker, as replies show it."""
        found = self._stations.get(worker_id)
        if found is None:
            name = f"{self.house.worker_id}:{worker_id}" if worker_id else self.house.worker_id
            found = self._stations[worker_id] = dataclasses.replace(self.station, worker_id=name[:200])
            if len(self._stations) > WORKERS_COUNT:
                self._stations.popitem(last=False)
        return found

    def _may_offer(self) -> bool:
        return not self.is_paused and self.quota.room_count() > 0

    def is_wanted(self) -> bool:
        """Tell whether a step could be handed out now."""
        with self.house.lock:
            return bool(self.waiting) and self._may_offer()

    def polls_count(self) -> int:
        """Return how many steps could be handed out now; the lock is held."""
        if self._wanted_count <= 0 or self.is_paused or self.is_closed:
            return 0
        room_count = self.quota.room_count()
        if not room_count:
            self._look_when_rate_lets()
        return min(self._wanted_count, room_count)

    def _look_when_rate_lets(self) -> None:
        next_mono_s = self.quota.next_mono_s()
        if next_mono_s is not None and not self._is_told_rate:
            self._is_told_rate = True
            self.house.timers.at(next_mono_s, self._look_again)

    def _look_again(self) -> None:
        self._is_told_rate = False
        self.look()

    def answer_empty(self) -> None:
        """Answer who has something, and who does not wait: there is nothing more now."""
        with self.house.lock:
            done = [one for one in self.waiting if one.leases or not one.is_holding]
        for request in done:
            request.answer()

    def answer_all(self) -> None:
        """Answer everybody who waits with what there is."""
        with self.house.lock:
            waiting = list(self.waiting)
        for request in waiting:
            request.answer()

    def look(self) -> None:
        """See what is wanted now."""
        self.intake.look()

    def note_end(self) -> None:
        """See what is wanted now that a lease is over: where so many may be leased at once, in all lanes."""
        if self.quota.rules.concurrent_count:
            for look in list(self.quota.on_room):
                look()
        else:
            self.look()

    # ---- leases

    def restore(self, attempt: Attempt, row: LeaseRow) -> None:
        """Go on with a lease from before a restart, now that its message is here."""
        lease = Lease(self, attempt, TaskType(row.name, row.domain), row.task_id)
        with self.house.lock:
            self.quota.take()
            self.lease_count += 1
            lease.restore(row, self._station_of(row.worker_id))
            self.house.leases[lease.task_id] = lease
            self.station.open_attempts[attempt.key] = attempt
        limit(attempt)
        if lease.rules.timeout_s:
            attempt.limit(lease.rules.timeout_s)
        if lease.phase is Phase.PARKED and lease.again_mono_s <= self.house.clock.mono_s():
            self.offer_again(lease)  # its time came while nobody was here
        look_after(lease)

    def place(self, attempt: Attempt) -> None:
        """Give a step to whoever has waited longest; back to the queue when nobody waits any more."""
        lease = Lease(self, attempt, self.kind)
        limit(attempt)
        if lease.rules.timeout_s:
            attempt.limit(lease.rules.timeout_s)
        with self.house.lock:
            request = next(iter(self.waiting), None) if self._may_offer() else None
            self.quota.take()
            self.lease_count += 1
            if request is not None:
                self._hand(lease, request)
        if request is None:
            self.give_back(lease)
            return
        look_after(lease)
        if not request.room_count:
            request.answer()

    def offer_again(self, lease: Lease) -> None:
        """Hand out a step once more whose worker has asked for it, now or with the next poll."""
        with self.house.lock:
            if lease.phase is not Phase.PARKED or lease in self.parked:
                return
            request = next(iter(self.waiting), None) if not self.is_paused else None
            if request is None:
                self.parked.append(lease)
                return
            self._hand(lease, request)
        request.answer()
        self.look()

    def give_back(self, lease: Lease) -> None:
        """Give a step to somebody else that nobody has got; without the lock."""
        with self.house.lock:
            if lease.phase is not Phase.OFFERED:
                return
            self.house.counts["given_back"] += 1
            if lease.is_begun:
                lease.phase = Phase.PARKED
                lease.note()
            else:
                self.forget(lease)
        if lease.is_begun:
            self.offer_again(lease)
            return
        self.station.open_attempts.pop(lease.attempt.key, None)
        accepted = self.station.settings.accept_from
        return_to_queue(self.station.bus, lease.attempt.delivery, accepted=accepted)

    def forget(self, lease: Lease) -> None:
        """Note that a lease is over; the lock is held."""
        lease.phase = Phase.OVER
        self.house.leases.pop(lease.task_id, None)
        self.house.book.drop(lease.attempt.key)
        self.lease_count -= 1
        self.quota.end()
        if lease in self.parked:
            self.parked.remove(lease)
        if lease.timer is not None:
            lease.timer.cancel()

    # ---- its end

    def is_idle_since(self, mono_s: float) -> bool:
        """Tell whether nobody has polled since, and nothing is leased or kept; the lock is held."""
        is_used = self.waiting or self.lease_count or self.intake.is_busy
        return self.last_polled_mono_s < mono_s and not is_used

    def close(self) -> None:
        """Answer who waits, and take no more; what is leased stays so as long as the bus."""
        with self.house.lock:
            self.is_closed = True
            if self.look in self.quota.on_room:
                self.quota.on_room.remove(self.look)
            self.house.close_quota(self.kind.name)
        self.answer_all()
        self.intake.close()
