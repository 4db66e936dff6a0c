"""The bus contract without a network: several `MemoryBus` on one `MemoryBroker`, for unit tests.

With a thread per bus like the real one, or without any: then `pump()` runs the callbacks, in a fixed order.
"""

from __future__ import annotations

import queue as stdlib_queue
import threading
from collections import deque
from collections.abc import Callable

from reworker.bus.contract import (
    PUBLISH_DEADLINE_S,
    DeclareMode,
    Health,
    Outcome,
    Outgoing,
    Published,
    TopologySpec,
)
from reworker.bus.memory_consuming import ConsumingBus
from reworker.bus.memory_model import Model, PendingPublish, stamped
from reworker.bus.queue_state import OnFound, QueueState
from reworker.clock import Clock, SystemClock
from reworker.errors import CannotConnect, ConnectionLost, TopologyMismatch

#: seconds between two looks at the deadlines while publishes wait.
TICK_S = 0.01
_URL = "memory://"

Callback = Callable[[], None]


class MemoryBroker:
    """Exchanges and queues that buses of one process share; also plays the faults that tests ask for."""

    def __init__(self) -> None:
        self.changed = threading.Condition(threading.RLock())
        self.model = Model()
        self.is_up = True
        self.is_blocked = False
        #: False routes messages but keeps their confirms back.
        self.is_confirming = True
        self._buses: list[MemoryBus] = []

    def attach(self, bus: MemoryBus) -> None:
        """Connect a bus; used by `MemoryBus.open`."""
        with self.changed:
            self._buses.append(bus)

    def detach(self, bus: MemoryBus) -> None:
        """Forget a bus; used by `MemoryBus.close`."""
        with self.changed:
            self._buses = [one for one in self._buses if one is not bus]

    def pump(self) -> int:
        """Run the callbacks of all buses without a thread until none is left; return how many ran."""
        ran_count = 0
        while any(counts := [bus.pump() for bus in list(self._buses) if not bus.is_threaded]):
            ran_count += sum(counts)
        return ran_count

    def message_count(self, queue: str) -> int:
        """Return how many messages wait in a queue; those delivered and unsettled do not count."""
        with self.changed:
            found = self.model.queues.get(queue)
            return len(found.ready) if found else 0

    def delete_queue(self, name: str) -> None:
        """Delete a queue under its consumers; each bus declares it again and consumes again."""
        with self.changed:
            self.model.delete_queue(name)
            for bus in self._buses:
                bus.on_queue_deleted(name)

    def stop(self) -> None:
        """Lose all connections and refuse new ones; queues and messages stay."""
        with self.changed:
            self.is_up = False
            for bus in self._buses:
                bus.on_connection(is_up=False)
            self.changed.notify_all()

    def start(self) -> None:
        """Accept connections again; every bus reconnects at once."""
        with self.changed:
            self.is_up = True
            for bus in self._buses:
                bus.on_connection(is_up=True)
            self.changed.notify_all()

    def drop_connections(self) -> None:
        """Lose all connections; the buses reconnect at once."""
        with self.changed:
            self.stop()
            self.start()

    def block(self, is_blocked: bool = True) -> None:
        """Say connection.blocked (or unblocked): publishing waits."""
        with self.changed:
            self.is_blocked = is_blocked
            self._flush()

    def hold_confirms(self, is_held: bool = True) -> None:
        """Keep confirms back, or send the ones that were kept."""
        with self.changed:
            self.is_confirming = not is_held
            self._flush()

    def attach_consumers(self) -> None:
        """Let every bus start the consumers whose queue has appeared."""
        for bus in self._buses:
            bus.start_consumers()

    def _flush(self) -> None:
        for bus in self._buses:
            bus.flush()
        self.changed.notify_all()


class MemoryBus(ConsumingBus):
    """A bus on a `MemoryBroker`; see `contract.Bus`.

    Args:
        broker: shared with the other buses of the test.
        is_threaded: False runs callbacks only in `pump`.
        name: for the thread.
        clock: for deadlines.
        user: that it is logged in as.
    """

    def __init__(
        self,
        broker: MemoryBroker,
        *,
        is_threaded: bool = True,
        name: str = "",
        clock: Clock | None = None,
        user: str = "guest",
    ) -> None:
        self.broker, self.is_threaded = broker, is_threaded
        self._user, self.user_id = user, ""
        super().__init__(broker.changed, broker.model, clock or SystemClock())
        self._name = name
        self._jobs: stdlib_queue.SimpleQueue[Callback | None] = stdlib_queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self._reconnect_count = 0
        self._topologies: list[tuple[TopologySpec, DeclareMode]] = []
        self._pending: deque[PendingPublish] = deque()
        self._last_error = ""

    def stamp(self) -> None:
        """Name our user as the sender of every message; see `contract.Bus.stamp`."""
        self.user_id = self._user

    def open(self, *, timeout_s: float) -> None:
        """Connect; see `contract.Bus.open`."""
        with self.broker.changed:
            wait_s = timeout_s if self.is_threaded else 0
            if not self.broker.changed.wait_for(lambda: self.broker.is_up, wait_s):
                raise CannotConnect(_URL, "the broker is stopped")
            self.broker.attach(self)
            self._is_connected = True
            self.start_consumers()
            self.flush()
        if self.is_threaded:
            self._thread = threading.Thread(target=self._run, name=f"bus {self._name}".strip(), daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=TICK_S if self._pending or self._is_pulling else None)
            except stdlib_queue.Empty:
                self._look_at_time()
                continue
            if job is None:
                return
            job()

    def post(self, job: Callback) -> None:
        """Have a callback run on the I/O thread."""
        self._jobs.put(job)

    def pump(self) -> int:
        """Run the callbacks that wait, on this thread; return how many ran. Only without a thread."""
        ran_count = 0
        self._look_at_time()
        while not self._jobs.empty():
            job = self._jobs.get()
            if job is not None:
                job()
                ran_count += 1
        return ran_count

    def declare(self, topology: TopologySpec, mode: DeclareMode = DeclareMode.DECLARE) -> None:
        """Declare now and after each reconnection; see `contract.Bus.declare`."""
        with self.broker.changed:
            self._topologies.append((topology, mode))
            if not self._is_connected:
                raise ConnectionLost("not connected; it will be declared on return")
            try:
                self._apply(topology, mode)
            except TopologyMismatch as error:
                self._topologies.remove((topology, mode))
                self._last_error = str(error)
                raise

    def _apply(self, topology: TopologySpec, mode: DeclareMode) -> None:
        if mode is DeclareMode.VERIFY:
            self.broker.model.require(topology)
        if mode is DeclareMode.DECLARE:
            self.broker.model.declare(topology, self)
        self.broker.attach_consumers()

    def delete(self, queue: str) -> bool:
        """Delete an empty queue; see `contract.Bus.delete`."""
        with self.broker.changed:
            if not self._is_connected:
                raise ConnectionLost(f"not connected: {queue} cannot be deleted")
            is_deleted = self.model.delete_if_unused(queue)
            if is_deleted:
                self._topologies = [one for one in self._topologies if not one[0].is_of_queue(queue)]
            return is_deleted

    def look(self, queue: str, on_found: OnFound, *, deadline_s: float) -> None:
        """Ask how a queue stands; see `contract.Bus.look`."""
        with self.broker.changed:
            found = self.model.queues.get(queue)
            state = QueueState(is_there=found is not None)
            if found is not None:
                state = QueueState(True, len(found.ready), len(found.subscribers))
            answer, is_closed = state if self._is_connected else None, self._is_closed
            if not is_closed:
                self.post(lambda: on_found(answer))
        if is_closed:  # no I/O thread is left to call it
            on_found(None)

    def publish(
        self,
        message: Outgoing,
        on_done: Callable[[Published], None] | None = None,
        *,
        deadline_s: float = PUBLISH_DEADLINE_S,
    ) -> None:
        """Publish with confirm; see `contract.Bus.publish`."""
        message = stamped(message, self.user_id) if self.user_id else message
        pending = PendingPublish(message, on_done, self._clock.mono_s() + deadline_s)
        with self.broker.changed:
            if not self._is_closed:
                self._pending.append(pending)
                self.flush()
                if self._pending:
                    self.post(_nothing)  # wakes the thread, so that it looks at deadlines
                return
        if on_done is not None:  # no I/O thread is left to call it
            on_done(Published(Outcome.TIMED_OUT, is_sent=False, reason="the bus is closed"))

    def flush(self) -> None:
        """Send and confirm what can be; the broker's lock is held."""
        if not self._is_connected or self.broker.is_blocked:
            return
        left: deque[PendingPublish] = deque()
        for pending in self._pending:
            result = self.broker.model.take_in(pending)
            if result is None and self.broker.is_confirming:
                result = Published(Outcome.CONFIRMED)
            if result is None:
                left.append(pending)
            else:
                self._finish(pending, result)
        self._pending = left
        self.broker.changed.notify_all()

    def _finish(self, pending: PendingPublish, result: Published) -> None:
        on_done = pending.on_done
        if on_done is not None:
            self.post(lambda: on_done(result))

    def _look_at_time(self) -> None:
        now = self._clock.mono_s()
        with self.broker.changed:
            for consumer in self._consumers:
                consumer.pull()
            self._time_out([one for one in self._pending if one.deadline_mono_s <= now], "deadline")

    def _time_out(self, late: list[PendingPublish], reason: str) -> None:
        for pending in late:
            self._pending.remove(pending)
            self._finish(pending, Published(Outcome.TIMED_OUT, is_sent=pending.is_sent, reason=reason))

    def on_queue_deleted(self, name: str) -> None:
        """Repair after a queue was deleted; the broker's lock is held."""
        for consumer in self._consumers:
            if consumer.queue == name:
                consumer.release()
        self._declare_again()

    def on_connection(self, *, is_up: bool) -> None:
        """Note the loss, or repair everything after one; the broker's lock is held."""
        self._come_back() if is_up else self._lose()

    def _lose(self) -> None:
        if not self._is_connected:
            return
        self._is_connected = False
        self._last_error = "connection lost"
        for consumer in self._consumers:
            consumer.release()
        for name in [n for n, queue in self.broker.model.queues.items() if queue.owner is self]:
            self.broker.model.delete_queue(name)
        for pending in [one for one in self._pending if one.is_sent]:
            pending.is_sent = False
            if not pending.message.may_resend:
                self._pending.remove(pending)
                self._finish(pending, Published(Outcome.LOST, reason="connection lost before the confirm"))

    def _come_back(self) -> None:
        if not self._is_connected:
            self._is_connected = True
            self._reconnect_count += 1
            self._declare_again()
            self.flush()

    def _declare_again(self) -> None:
        for topology, mode in self._topologies:
            try:
                self._apply(topology, mode)
            except TopologyMismatch as error:
                self._last_error = str(error)
        self.start_consumers()

    def health(self) -> Health:
        """Return the present state; see `contract.Bus.health`."""
        with self.broker.changed:
            wanted = [one for one in self._consumers if not one.is_cancelled]
            return Health(
                is_connected=self._is_connected,
                is_blocked=self.broker.is_blocked,
                reconnect_count=self._reconnect_count,
                unconfirmed_count=len(self._pending),
                active_consumer_count=sum(one.is_active for one in wanted),
                wanted_consumer_count=len(wanted),
                last_error=self._last_error,
                deaf_reason=next((f"{one.queue} is missing" for one in wanted if not one.is_active), ""),
            )

    def close(self, *, deadline_s: float = 5.0) -> None:
        """Flush, give every publish its outcome, end the thread; see `contract.Bus.close`."""
        self._let_end(deadline_s)
        with self.broker.changed:
            if self._is_closed:
                return
            self._is_closed = True
            self._time_out(list(self._pending), "the bus is closed")
            self._lose()
            self.broker.detach(self)
        self._end_thread(deadline_s)

    def _let_end(self, deadline_s: float) -> None:
        """Wait for confirms, and for what is done about them: deliveries may be settled with them."""
        if self._is_closed or self._thread is None or self._thread is threading.current_thread():
            return
        with self.broker.changed:
            self.broker.changed.wait_for(lambda: not self._pending, deadline_s)
        done = threading.Event()
        self.post(done.set)
        done.wait(deadline_s)

    def _end_thread(self, deadline_s: float) -> None:
        self._jobs.put(None)
        if self._thread is None:
            self.pump()
        elif self._thread is not threading.current_thread():
            self._thread.join(deadline_s)


def _nothing() -> None:
    return None
