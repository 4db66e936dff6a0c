"""A pool of many queues: hears for which of them a message has come, and has the others looked at in time."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable
from functools import partial

from reworker import backoff
from reworker.bus.contract import BindingSpec, Delivery, Outgoing, QueueSpec, TopologySpec, Verdict
from reworker.bus.rota import Rota
from reworker.ids import new_id
from reworker.jobs.envelopes import plain_properties
from reworker.jobs.station import Station
from reworker.messages import Reply, encode
from reworker.topology import names

#: seconds between two looks at all queues that are known, for what came in without a bell.
SWEEP_S = 5.0
#: queues looked at in a second on the average; more of them make the sweeps rarer.
SWEPT_PER_S = 50
#: seconds after which the worker is asked again which queues it knows; after an error, at least and at most.
ASK_S = 60.0
ASK_BASE_S, ASK_CAP_S = 2.0, 60.0
#: bells that may wait while this process stands still; a sweep finds what the others would have told.
WAITING_COUNT = 1_000
#: bells that the broker sends ahead.
PREFETCH = 100


class Bells:
    """Keeps the rota of a pool.

    Duties: ring for each message that the broker copies to us, answer for those that no other queue has got,
    ask the worker for the queues that it knows, sweep.
    Threads: `on_delivery` on the I/O thread of the bus, the rest of the work on a thread of its own.
    End of life: `stop`.

    Args:
        station: of the pool.
        rota: to keep.
        ask: returns the names of the queues that the worker knows; may raise anything.

    Attributes:
        queue: where the copies arrive; it goes with its connection.
    """

    def __init__(self, station: Station, rota: Rota, ask: Callable[[], Iterable[str]]) -> None:
        own_id = new_id(station.clock.now())
        self.queue = names.control_queue(station.settings.suffix, own_id)
        self._station, self._rota, self._ask = station, rota, ask
        self._sweep_s = station.settings.polling_interval_s or SWEEP_S
        self._failed_count = 0
        self._ask_at_mono_s = self._sweep_at_mono_s = station.clock.mono_s()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="queues", daemon=True)

    def topology(self) -> TopologySpec:
        """Return the queue to listen on."""
        arguments = {"x-max-length": WAITING_COUNT}
        spec = QueueSpec(self.queue, durable=False, exclusive=True, auto_delete=True, arguments=arguments)
        binding = BindingSpec(self._station.settings.exchange, self.queue, self._rota.key)
        return TopologySpec(queues=(spec,), bindings=(binding,))

    def on_delivery(self, delivery: Delivery) -> None:
        """Ring for a message."""
        delivery.settle(Verdict.ACK)
        queue, found = delivery.routing_key, delivery.properties
        on_lost = partial(self._answer_lost, queue, found.correlation_id, found.reply_to)
        self._rota.ring(queue, on_lost)

    def _answer_lost(self, queue: str, correlation_id: str | None, reply_to: str | None) -> None:
        """Tell who waits for a step that no queue but ours has taken: to its sender, that was one."""
        if not reply_to or reply_to == names.NO_REPLY:
            return
        properties = plain_properties(self._station.app_id, correlation_id, names.NO_REPLY)
        reply = encode(Reply("failed", message=f"not done: there is no queue {queue}"))
        with contextlib.suppress(TypeError, ValueError):  # an address that nobody can write to
            self._station.bus.publish(Outgoing("", reply_to, reply, properties))

    def start(self) -> None:
        """Begin to ask and to sweep."""
        self._thread.start()

    def stop(self) -> None:
        """Stop asking. Safe twice."""
        self._end.set()

    def _run(self) -> None:
        while not self._end.wait(self.turn()):
            pass

    def turn(self) -> float:
        """Do what is due, and return the seconds until something is again."""
        clock = self._station.clock
        if clock.mono_s() >= self._ask_at_mono_s:
            self._ask_at_mono_s = clock.mono_s() + self._ask_worker()
        if clock.mono_s() >= self._sweep_at_mono_s:
            pause_s = max(self._sweep_s, self._rota.sweep() / SWEPT_PER_S)
            self._sweep_at_mono_s = clock.mono_s() + pause_s
        return max(0.0, min(self._ask_at_mono_s, self._sweep_at_mono_s) - clock.mono_s())

    def _ask_worker(self) -> float:
        """Return the seconds until it is to be asked again."""
        try:
            found = [str(one) for one in self._ask()]
        except Exception as error:  # noqa: BLE001  a plugin's method may raise anything; the queues that rang go on
            if not self._failed_count:
                self._station.logger.warning(
                    "the worker cannot say which queues there are, asked again: %s", error
                )
            self._failed_count += 1
            return backoff.delay_s(
                self._failed_count, base_s=ASK_BASE_S, cap_s=ASK_CAP_S, rand=self._station.rand
            )
        self._failed_count = 0
        self._rota.expect(found)
        return ASK_S
