"""The core's thread: takes in what happened, one transaction per batch, then publishes and settles.

The order is what the guarantees rest on: COMMIT, then publish, then acknowledge.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from reworker.backoff import delay_s
from reworker.clock import Clock
from reworker.core.batch import Batch
from reworker.core.counters import Counters
from reworker.core.inbound import Intake, Item, PublishedItem
from reworker.core.memory import Memory
from reworker.core.publisher import Publisher, doubt
from reworker.core.timers import BUSY_S, JUMP_S, ClockWatch, Timers, is_for_reply, timer_request
from reworker.errors import StaleVersion, StorageUnavailable
from reworker.storage.contract import Changes, EventRow, Storage, Unit

logger = logging.getLogger(__name__)

#: seconds between two looks whether another process has written to the database.
LOOK_S = 0.05
#: the same once nothing has happened for so long: each look wakes a processor.
IDLE_LOOK_S, IDLE_AFTER_S = 0.2, 10.0
#: seconds until the next look when that failed: it would make a new connection each time.
BLIND_LOOK_S = 1.0
#: seconds before the database is tried again, at first and at most.
RETRY_BASE_S, RETRY_CAP_S = 0.05, 5.0
#: times that a batch is tried again at once when another core has changed its deployments meanwhile.
RACE_COUNT = 20
#: seconds for which deployments are looked at before they are changed, after somebody else had changed one.
WARY_S = 10.0
#: seconds for which every event's key is looked up after one has come twice: there may be more of them.
CAREFUL_S = 10.0
#: timers fired in one transaction at most.
TIMER_COUNT = 50
#: seconds by which a timer is put off whose event cannot be stored; a bug, that must not block the others.
POSTPONED_S = 60.0
#: seconds for which timers rest after a start, or after this process stood still for as long: replies that
#: have arrived meanwhile come first, for they may say that what the timer waits for has happened.
CATCH_UP_S = 1.0
#: seconds for which timers that a reply may stop rest after the broker was away: a worker's longest pause
#: between two tries to reach it, and a little. Then it is back with what it could not say meanwhile.
RETURN_S = 35.0


def _nothing(*_told: object) -> None:
    return None


@dataclass(frozen=True)
class Listeners:
    """Who is told on the loop's thread; each returns at once and raises nothing."""

    #: of events that were stored.
    on_events: Callable[[Sequence[EventRow]], None] = _nothing
    #: of a commit of another process.
    on_foreign_writes: Callable[[], None] = _nothing


class Loop:
    """Everything that changes deployments in this process, on one thread.

    `turn` does one round and may be called without the thread, by tests. While the database is away,
    nothing is taken in: what was taken is held, unacknowledged, and tried again.
    """

    def __init__(
        self,
        storage: Storage,
        publisher: Publisher,
        intake: Intake,
        clock: Clock,
        counters: Counters,
        *,
        batch_count: int,
        listeners: Listeners | None = None,
    ) -> None:
        self._storage, self._publisher, self._intake = storage, publisher, intake
        self._clock, self._counters = clock, counters
        self._batch_count, self._listeners = batch_count, listeners or Listeners()
        self._memory = Memory()
        self._timers, self._watch = Timers(), ClockWatch(clock)
        self._held: list[Item] = []
        self._timer_count = TIMER_COUNT
        self._failure_count = 0
        self._retry_at_mono_s = self._look_at_mono_s = self._stop_at_mono_s = 0.0
        self._seen_mono_s, self._catch_up_mono_s = float("-inf"), 0.0
        self._away_mono_s = self._wary_mono_s = self._careful_mono_s = float("-inf")
        self._busy_mono_s = clock.mono_s()
        self._is_woken = self._is_blind = False
        self._taken_at: datetime | None = None
        self._stopping = threading.Event()
        #: why the database cannot be used, in words; empty when it can.
        self.storage_error = ""

    def run(self) -> None:
        """Do rounds until `stop`, then finish what was taken; the body of the core's thread."""
        while not self._stopping.is_set() or self._can_finish():
            self._notice_pause()
            is_idle = self._seen_mono_s - self._busy_mono_s > IDLE_AFTER_S
            try:
                self.turn(IDLE_LOOK_S if is_idle else LOOK_S)
            except Exception:  # the thread's top: it must live, whatever it meets
                logger.exception("the core met an error of its own; it goes on")
                self._stopping.wait(RETRY_CAP_S)

    def _notice_pause(self) -> None:
        now_s = self._clock.mono_s()
        if now_s - self._seen_mono_s > CATCH_UP_S:
            self._catch_up_mono_s = now_s + CATCH_UP_S
        self._seen_mono_s = now_s

    def _is_timer_due(self) -> bool:
        return self._clock.mono_s() >= self._catch_up_mono_s and self._timers.has_work(self._clock.now())

    def stop(self, *, deadline_s: float) -> None:
        """Let `run` return when all is finished, or at the deadline."""
        self._stop_at_mono_s = self._clock.mono_s() + deadline_s
        self._stopping.set()
        self._intake.wake()

    def _can_finish(self) -> bool:
        """Tell whether something is left that this life of the core can still finish."""
        is_left = self._publisher.in_flight_count > 0 or not self._intake.is_empty()
        return is_left and not self.storage_error and self._clock.mono_s() < self._stop_at_mono_s

    def note_clock(self, unit: Unit) -> None:
        """Take note of what cores have done about jumps of the clock before this one began."""
        self._watch.shifted_s = unit.shifted_s()

    def wake(self) -> None:
        """Look into the database now: somebody in this process has written to it. Any thread."""
        self._is_woken = True
        self._intake.wake()

    def is_quiet(self) -> bool:
        """Tell whether nothing waits to be done. Any thread."""
        is_idle = self._intake.is_empty() and self._publisher.in_flight_count == 0
        return is_idle and not self._held and not self.storage_error

    def turn(self, wait_s: float = 0.0) -> bool:
        """Do one round; return whether there was something to do.

        Args:
            wait_s: how long to wait for something at most.
        """
        if self.storage_error and self._clock.mono_s() < self._retry_at_mono_s:
            self._stopping.wait(wait_s)
            return False
        items, self._held = self._held, []
        if not self._publisher.is_open:
            self._away_mono_s = self._clock.mono_s()
        self._look_outside()
        if not items:
            self._taken_at = None
            is_busy = self._publisher.has_work() or self._is_timer_due()
            items = self._intake.take(self._batch_count, 0.0 if is_busy else wait_s, self._prepare)
        self._follow_clock()
        is_timer_due = self._is_timer_due()
        if not items and not is_timer_due and not self._publisher.has_work():
            return False
        self._take_in(items)
        if is_timer_due and not self.storage_error:
            self._fire_timers()
        return True

    def _look_outside(self) -> None:
        """Notice commits of other processes, and of other threads of this one."""
        is_woken, self._is_woken = self._is_woken, False
        if self._clock.mono_s() >= self._look_at_mono_s:
            self._look_at_mono_s = self._clock.mono_s() + LOOK_S
            has_written = self._has_foreign_writes()
            is_woken = has_written or is_woken
            if has_written:
                self._listeners.on_foreign_writes()
        if is_woken:
            self._publisher.poll_soon()
            self._timers.forget()

    def _has_foreign_writes(self) -> bool:
        try:
            found, self._is_blind = self._storage.has_foreign_writes(), False
        except StorageUnavailable as error:
            self._look_at_mono_s += BLIND_LOOK_S - LOOK_S
            if not self._is_blind:
                logger.warning("commits of other processes cannot be watched: %s", error)
            self._memory.forget()
            found = self._is_blind = True  # the transaction that follows finds out whether all of it is away
        return found

    def _follow_clock(self) -> None:
        """Move timers along when the wall clock was set: they measure how long something took."""
        jump = self._watch.jump()
        if jump is None:
            self._watch.accept()
            return
        self._timers.forget()
        try:
            total_s = self._shift(jump)
        except (StorageUnavailable, StaleVersion):
            return  # the transaction that follows finds out why
        self._watch.accept()
        self._watch.shifted_s = total_s
        logger.warning("the clock has jumped by %s; timers were moved along", jump)

    def _shift(self, jump: timedelta) -> float:
        """Move timers by what other cores have not moved them; return by how much they were moved ever."""
        with self._storage.begin() as unit:
            total_s = unit.shifted_s()
            left = jump - timedelta(seconds=total_s - self._watch.shifted_s)
            if abs(left.total_seconds()) > JUMP_S / 2:
                unit.shift_times(left)
                total_s += left.total_seconds()
                unit.note_shift(total_s)
        return total_s

    def _take_in(self, items: Sequence[Item]) -> None:
        try:
            self._transact(items)
        except (StorageUnavailable, StaleVersion) as error:
            self._hold(items, error)
        except Exception as error:  # noqa: BLE001  # one event must not poison the others of its batch
            self._forget_guesses()
            self._isolate(items, error)
        else:
            self._failure_count, self.storage_error = 0, ""

    def _transact(self, items: Sequence[Item]) -> None:
        now = self._clock.now()
        with self._storage.begin() as unit:
            claim, cores = self._publisher.claim_at_once(now), self._storage.reader.instances
            batch = Batch(unit, self._memory, claim, cores=cores)
            requests = [item.request for item in items if item.request is not None]
            now_s = self._clock.mono_s()
            is_careful, is_trusting = now_s < self._careful_mono_s, now_s >= self._wary_mono_s
            batch.load(requests, is_careful=is_careful, is_trusting=is_trusting and not is_careful)
            for item in items:
                item.apply(batch)
            batch.save()
            claimed, doubtful = self._publisher.claim(unit, now)
        if items or claimed:
            self._busy_mono_s = self._clock.mono_s()
        self._publisher.publish(claimed)
        self._committed(batch)
        for row in doubtful:
            self._intake.put(PublishedItem(*doubt(row), self._publisher, self._counters))
        for item in items:
            self._settle(item)

    def _prepare(self, item: Item) -> bool:
        # One time for all that is taken together: it is asked for, and written, a hundred times a batch.
        self._taken_at = self._taken_at or self._clock.now()
        try:
            return item.prepare(self._taken_at)
        except Exception as error:  # noqa: BLE001  # the others that were taken with it must go on
            self._counters.add("set_aside")
            item.set_aside(error)
            return False

    def _settle(self, item: Item) -> None:
        try:
            item.settle()
        except Exception:  # it is stored; the others must be settled too
            logger.exception("something that is stored could not be settled")

    def _committed(self, batch: Batch) -> None:
        changes = batch.changes
        self._publisher.offer(changes.outbox_added)  # before the rest: workers wait for it
        batch.remember()
        self._timers.note(changes.timers_set)
        self._counters.add("events", len(changes.events))
        self._listeners.on_events(changes.events)

    def _hold(self, items: Sequence[Item], error: Exception) -> None:
        """Keep what was taken, unacknowledged, until the database is back, or gives the newest version."""
        self._forget_guesses(is_lost=not isinstance(error, StaleVersion))
        self._held += items
        self._failure_count += 1
        if isinstance(error, StaleVersion) and self._failure_count <= RACE_COUNT:
            self._look_closer()
            return
        wait_s = delay_s(self._failure_count, base_s=RETRY_BASE_S, cap_s=RETRY_CAP_S, rand=random.random)
        self._retry_at_mono_s = self._clock.mono_s() + wait_s
        if not self.storage_error:
            logger.error("the database is away, nothing is taken in until it is back: %s", error)
        self.storage_error = str(error)

    def _look_closer(self) -> None:
        """Have the next rounds read what there is: another was faster, or else an event has come twice."""
        now_s = self._clock.mono_s()
        if now_s < self._wary_mono_s:
            self._careful_mono_s = now_s + CAREFUL_S
        self._wary_mono_s = now_s + WARY_S

    def _isolate(self, items: Sequence[Item], error: Exception) -> None:
        if len(items) == 1:
            self._counters.add("set_aside")
            items[0].set_aside(error)
            return
        if not items:
            raise error
        half = len(items) // 2
        for some in (items[:half], items[half:]):
            if self.storage_error:
                self._held += some
            else:
                self._take_in(some)

    def _forget_guesses(self, *, is_lost: bool = True) -> None:
        """Drop what was remembered of the database: the transaction that it came from has failed.

        If the database was not lost, but has an answer of its own, deployments are still of their versions.
        """
        if is_lost:
            self._memory.forget()
        self._publisher.recover()
        self._timers.forget()

    def _fire_timers(self) -> None:
        try:
            batch = self._fire(self._timer_count)
        except (StorageUnavailable, StaleVersion) as error:
            self._hold((), error)
        except Exception as error:  # noqa: BLE001  # one timer must not stop the others
            self._forget_guesses()
            if self._timer_count == 1:
                self._postpone(error)
            self._timer_count = 1
        else:
            self._timer_count = TIMER_COUNT
            self._committed(batch)

    def _fire(self, count: int) -> Batch:
        with self._storage.begin() as unit:
            now = self._clock.now()  # not earlier: what another core did first has an earlier time
            batch = Batch(unit, self._memory, self._publisher.claim_at_once(now))
            due = unit.due_timers(now, count)
            is_back = self._clock.mono_s() - self._away_mono_s > RETURN_S
            ended = [row for row in due if is_back or not is_for_reply(row)]
            for row in due:
                if row not in ended:
                    batch.put_off_timer(row, now + timedelta(seconds=RETURN_S))
            requests = [timer_request(row, now) for row in ended]
            batch.load(requests)
            for row, request in zip(ended, requests, strict=True):
                batch.apply(request)
                batch.remove_timer(row)
            batch.save()
            # With nothing to handle, what is due belongs to deployments that another core has in hand.
            self._timers.refresh(unit, now if due else now + timedelta(seconds=BUSY_S))
        self._counters.add("timers_fired", len(ended))
        return batch

    def _postpone(self, error: Exception) -> None:
        now = self._clock.now()
        with self._storage.begin() as unit:
            later = now + timedelta(seconds=POSTPONED_S)
            late = [msgspec.structs.replace(row, due_at=later) for row in unit.due_timers(now, 1)]
            unit.save(Changes(timers_set=late))
        self._counters.add("set_aside")
        logger.error("timer %s cannot be handled, it is put off: %s", late, error, exc_info=error)
