"""The gateway: lanes by queue, leases by task id; see `contract.Gateway`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import groupby
from logging import getLogger

from reworker.bus.contract import Bus
from reworker.clock import Clock, SystemClock
from reworker.errors import ReworkerError
from reworker.gateway.contract import (
    CallLater,
    Failed,
    LateResult,
    Offer,
    Poll,
    PollData,
    Standing,
    TaskRules,
    TaskType,
    Update,
    Updated,
)
from reworker.gateway.control import Desk
from reworker.gateway.ending import end, fail, reply_of
from reworker.gateway.house import House
from reworker.gateway.keeping import look_after
from reworker.gateway.lane import Lane
from reworker.gateway.late import Dropped, accept_late
from reworker.gateway.lease import Lease, Phase
from reworker.gateway.lease_book import LeaseBook, LeaseRow
from reworker.gateway.lines import send_lines
from reworker.gateway.room import make_room
from reworker.gateway.settings import GatewaySettings, queue_of
from reworker.gateway.tally import PollTally
from reworker.gateway.timers import Timers
from reworker.ledger import open_ledger
from reworker.topology import names

#: threads that may wait for the broker: to declare, and for steps that have been with somebody before.
WAITERS_COUNT = 4
#: seconds between two looks for types that nobody polls any more.
SWEEP_S = 30.0

CountMessages = Callable[[Iterable[str]], Mapping[str, int]]


class PollGateway:
    """Leases the steps of many queues to workers that poll; see `contract.Gateway`.

    Threads: a timer, and a few that wait for the broker. Callbacks come on these, on the bus's, or on the
    caller's before the call returns.
    End of life: `close`, before that of the bus, which belongs to whoever has opened it.

    Args:
        bus: open.
        settings: see there.
        clock: for all times.
        count_messages: asks the broker how many messages wait in queues; None counts nothing.
    """

    def __init__(
        self,
        bus: Bus,
        settings: GatewaySettings | None = None,
        *,
        clock: Clock | None = None,
        count_messages: CountMessages | None = None,
    ) -> None:
        settings, clock = settings or GatewaySettings(), clock or SystemClock()
        if settings.accept_from:
            bus.stamp()  # steps that go back are copies of ours
        self._executor = ThreadPoolExecutor(WAITERS_COUNT, "gateway")
        self.timers, self.tally = Timers(clock), PollTally()
        logger = getLogger("reworker.gateway")
        book = LeaseBook(settings.ledger, logger, self._soon)
        self.house = House(
            bus, settings, self.timers, self._submit, book, clock, open_ledger(settings.ledger), logger
        )
        self._dropped = Dropped(clock, logger)
        self._count_messages = count_messages
        self._lanes: dict[str, Lane] = {}
        self.desk = Desk(self.house, self._lanes)
        self.house.on_new_lane = self.desk.listen_for

    def start(self) -> None:
        """Begin to keep the time and to listen to control messages; waits for the broker.

        Raises:
            TopologyMismatch: the broker does not let us listen.
        """
        self.desk.open()
        self.restore()
        self.timers.start()
        self._sweep()

    def restore(self) -> None:
        """Look for the steps that were leased before a restart; their workers may report on them."""
        rows = sorted(self.house.book.load(self.house.clock.now().timestamp()), key=_kind_of)
        for (name, domain), of_kind in groupby(rows, _kind_of):
            self._lane(TaskType(name, domain)).intake.remember(of_kind)
        if rows:
            self.house.logger.info("%d leases of before are looked for", len(rows))

    def _soon(self, delay_s: float, call: Callable[[], None]) -> None:
        self.timers.after(delay_s, partial(self._submit, call))

    def _submit(self, call: Callable[[], None]) -> None:
        if not self.house.is_closing:
            self._executor.submit(self._guarded, call)

    def _guarded(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception:  # top of a thread
            self.house.logger.exception("a call that waits for the broker failed: %r", call)

    # ---- polls

    def poll(
        self,
        kind: TaskType,
        worker_id: str,
        on_done: Callable[[Poll], None],
        *,
        count: int,
        hold_s: float,
        owner: str = "",
    ) -> Poll:
        """Ask for steps; see `contract.Gateway.poll`."""
        try:
            lane = self._lane(kind, owner)
            self.house.counts["polls"] += 1
            self.tally.note(kind.name)
            return lane.poll(kind, worker_id, on_done, count=count, hold_s=hold_s)
        except ReworkerError as error:
            self.tally.note_refused(kind.name, error)
            raise

    def _lane(self, kind: TaskType, owner: str = "") -> Lane:
        house, queue = self.house, queue_of(kind)
        with house.lock:
            lane = self._lanes.get(queue)
            if lane is not None:
                return lane
            left = make_room(self._lanes, kind, owner, house.settings, house.clock.mono_s())
            lane = self._lanes[queue] = Lane(house, kind, owner)
        if left is not None:
            left.close()
        return lane

    def _sweep(self) -> None:
        """Forget types that nobody polls any more."""
        house = self.house
        oldest_mono_s = house.clock.mono_s() - house.settings.idle_close_s
        with house.lock:
            idle = [one for one in self._lanes.values() if one.is_idle_since(oldest_mono_s)]
            for lane in idle:
                del self._lanes[lane.queue]
        for lane in idle:
            lane.close()
        house.timers.after(SWEEP_S, self._sweep)

    # ---- what workers say

    def update(self, update: Update, on_done: Callable[[Updated], None]) -> None:
        """Take a result; see `contract.Gateway.update`."""
        lease = self._held(update)
        if lease is None and update.task_id in self.house.remembered:
            on_done(Updated(Standing.UNSENT))  # its message has not come back yet: to be said again
            return
        if lease is None:
            self._take_late(update, on_done)
            return
        lease.begin()  # whoever reports on it has got it
        send_lines(lease.attempt, update.lines)
        if isinstance(update.result, CallLater):
            is_kept = self._park(lease, update.result)
            on_done(Updated(Standing.KEPT if is_kept else Standing.DROPPED))
            return
        listener = self._listener(lease, update, on_done)
        if isinstance(update.result, Failed):
            is_end = fail(lease, update.result, listener)
        else:
            is_end = end(lease, reply_of(update.result, lease.worker_id), listener)
        if not is_end:
            self._join(lease, listener)

    def _held(self, update: Update) -> Lease | None:
        """Return the lease that an update is about; who had it before it was offered again has none."""
        with self.house.lock:
            lease: Lease | None = self.house.leases.get(update.task_id)
            if lease is None or lease.phase is Phase.OVER:
                return None
            is_passed_on = lease.poll_count > 1 and lease.phase is not Phase.PARKED
            if is_passed_on and update.worker_id and update.worker_id != lease.worker_id:
                return None
            return lease

    def _take_late(self, update: Update, on_done: Callable[[Updated], None]) -> None:
        house = self.house
        house.counts["late_updates"] += 1
        if house.settings.late_result is LateResult.ACCEPT and not isinstance(update.result, CallLater):
            with house.lock:
                lease: Lease | None = house.late.pop(update.task_id)
            if lease is not None and accept_late(lease, update.result, lambda one: on_done(Updated(one))):
                return
        with house.lock:
            self._dropped.note(update.task_id, update.worker_id)
        on_done(Updated(Standing.DROPPED))

    def _listener(
        self, lease: Lease, update: Update, on_done: Callable[[Updated], None]
    ) -> Callable[[Standing], None]:
        """Return what tells a worker once how its result was taken, in any case after some seconds."""
        told: list[Standing] = []

        def tell(standing: Standing) -> None:
            with self.house.lock:
                if told:
                    return
                told.append(standing)
            timer.cancel()
            if standing is Standing.DONE and update.take_next:
                self._take_next(lease, update, on_done)
            else:
                on_done(Updated(standing))

        timer = self.timers.after(self.house.settings.unsent_after_s, partial(tell, Standing.UNSENT))
        return tell

    def _join(self, lease: Lease, listener: Callable[[Standing], None]) -> None:
        """Let a result that is said twice be answered with the first one."""
        with self.house.lock:
            self.house.counts["repeated_updates"] += 1
            is_over = lease.phase is Phase.OVER
            if not is_over:
                lease.listeners.append(listener)
        if is_over:
            listener(Standing.DROPPED)

    def _take_next(self, lease: Lease, update: Update, on_done: Callable[[Updated], None]) -> None:
        def on_polled(poll: Poll) -> None:
            on_done(Updated(Standing.DONE, poll if poll.offers else None))

        worker_id = update.worker_id or lease.worker_id
        try:
            self.poll(lease.kind, worker_id, on_polled, count=1, hold_s=0)
        except Exception as error:  # noqa: BLE001  the result was taken, whatever becomes of the next step
            self.house.logger.warning("no further step of %s is offered: %s", lease.kind.name, error)
            on_done(Updated(Standing.DONE))

    def _park(self, lease: Lease, later: CallLater) -> bool:
        house = self.house
        after_s = max(0.0, later.after_s)
        with house.lock:
            if lease.phase not in (Phase.HELD, Phase.PARKED):
                return False
            lease.phase, lease.output = Phase.PARKED, later.output
            lease.again_mono_s = house.clock.mono_s() + after_s
            lease.hear()
            lease.note()
            house.counts["call_later"] += 1
        if not after_s:
            lease.lane.offer_again(lease)
        look_after(lease)
        return True

    def extend(self, task_id: str) -> bool:
        """Let a lease last anew; see `contract.Gateway.extend`."""
        with self.house.lock:
            lease = self._live(task_id)
            if lease is None:
                return task_id in self.house.remembered
            lease.hear()
            lease.note()
        lease.begin()
        return True

    def say(self, task_id: str, lines: Sequence[str]) -> bool:
        """Send lines of output; see `contract.Gateway.say`."""
        with self.house.lock:
            lease = self._live(task_id)
            if lease is None:
                return False
            lease.hear()
        send_lines(lease.attempt, lines)
        return True

    def _live(self, task_id: str) -> Lease | None:
        """Return the lease of an id, unless it is over or about to be; the lock is held."""
        lease: Lease | None = self.house.leases.get(task_id)
        return None if lease is None or lease.phase in (Phase.ENDING, Phase.OVER) else lease

    # ---- what others ask

    def find(self, task_id: str) -> Offer | None:
        """Return what is offered under an id now."""
        with self.house.lock:
            lease: Lease | None = self.house.leases.get(task_id)
            return None if lease is None else lease.offer()

    def rule(self, name: str, rules: TaskRules | None) -> None:
        """Let these rules count for a task type from now on; leases keep those they began with."""
        self.house.quota(name).rules = rules or TaskRules()
        with self.house.lock:
            self.house.close_quota(name)
        for lane in self._lanes_of(name):
            lane.look()

    def sizes(self, names_: Sequence[str]) -> Mapping[str, int]:
        """Count messages that wait for each type; see `contract.Gateway.sizes`."""
        queues = {
            name: {names.worker_queue(name), *(one.queue for one in self._lanes_of(name))} for name in names_
        }
        wanted = sorted(set().union(*queues.values()))
        found = self._count_messages(wanted) if self._count_messages is not None and wanted else {}
        return {name: sum(found.get(one, 0) for one in of_type) for name, of_type in queues.items()}

    def polled(self, name: str | None = None) -> Sequence[PollData]:
        """Return who has polled last, by type and domain."""
        with self.house.lock:
            return [
                PollData(lane.kind, lane.last_worker, lane.last_polled_s)
                for lane in self._lanes.values()
                if lane.last_polled_s and name in (None, lane.kind.name)
            ]

    def pollers(self) -> Sequence[PollData]:
        """Return which workers have polled lately; see `contract.Gateway.pollers`."""
        with self.house.lock:
            return self.house.pollers.known(self.house.clock.now().timestamp())

    def _lanes_of(self, name: str) -> list[Lane]:
        with self.house.lock:
            return [one for one in self._lanes.values() if one.kind.name == name]

    @property
    def counts(self) -> Mapping[str, int]:
        """What has happened, and how much is leased and waits now."""
        with self.house.lock:
            waiting_count = sum(len(one.waiting) for one in self._lanes.values())
            now = {"leases": len(self.house.leases), "waiting": waiting_count, "types": len(self._lanes)}
            return {**self.house.counts, **now}

    def close(self) -> None:
        """Answer all polls, hand out nothing more; leases stay as long as the bus. Safe twice."""
        with self.house.lock:
            if self.house.is_closing:
                return
            self.house.is_closing = True
            lanes = list(self._lanes.values())
            unwritten = [one for one in self.house.leases.values() if one.phase is Phase.OFFERED]
        for lane in lanes:
            lane.close()
        for lease in unwritten:
            lease.lane.give_back(lease)
        self.desk.say_goodbye()
        self.timers.close()
        self._executor.shutdown()
        self.house.book.close()
        self.house.ledger.close()


def _kind_of(row: LeaseRow) -> tuple[str, str]:
    return row.name, row.domain
