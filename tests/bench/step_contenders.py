"""The programs that W1 compares, each run in a process of its own.

    python -m tests.bench.step_contenders NAME URL COUNT PREFETCH

prints ``{"cpu_s": float, "wall_s": float, "steps": int}`` for the steps after the warm-up. Each consumes the
queue `QUEUE`, answers every step with `started` and `completed` (persistent, mandatory, confirmed) and
acknowledges it when both are confirmed. All but ``plain`` send the same replies, with the id and the headers
by which the core knows a reply that comes twice: they cost the broker more than any of the programs.
"""

from __future__ import annotations

import json
import os
import platform
import queue
import resource
import signal
import sys
import time
from collections import deque
from functools import partial
from typing import Any

import pika
import pika.channel

from reworker.bus.connection import PikaBus
from reworker.bus.contract import Delivery, Outcome, Outgoing, Properties, Published, Verdict
from reworker.config import mq_settings
from reworker.worker import Job, Worker, step

QUEUE, REPLY_QUEUE = "worker.benchworker", "bench.replies"
#: steps before the measurement begins.
WARM_UP_COUNT = 500
#: host, process and instance, as `Worker` sends them.
WORKER_ID = f"{platform.node()}:{os.getpid()}:0"


class Meter:
    """Counts steps and measures processor and wall time after the warm-up."""

    def __init__(self, count: int) -> None:
        self._last = WARM_UP_COUNT + count
        self._seen = 0
        self._began = (0.0, 0.0)
        self.figures: dict[str, float] = {}

    def tick(self) -> bool:
        """Count one step; tell whether it was the last."""
        self._seen += 1
        if self._seen == WARM_UP_COUNT:
            self._began = _now()
        if self._seen == self._last:
            cpu_s, wall_s = (end - begin for end, begin in zip(_now(), self._began, strict=True))
            self.figures = {"cpu_s": cpu_s, "wall_s": wall_s, "steps": self._last - WARM_UP_COUNT}
        return self._seen == self._last


def _now() -> tuple[float, float]:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime, time.monotonic()


def replies(step_body: bytes) -> tuple[bytes, bytes]:
    """Do the work of a step: decode it, encode its two replies."""
    parameters = json.loads(step_body)["parameters"]
    started = json.dumps({"status": "started"}).encode()
    return started, json.dumps({"status": "completed", "data": {"frobbed": parameters["speed"]}}).encode()


def identity(correlation_id: str | None, seq: int) -> dict[str, Any]:
    """Return the properties that make a reply known: its id, its worker and its number within the attempt."""
    return {
        "message_id": f"{correlation_id}:{'started' if seq == 1 else 'completed'}",
        "headers": {"x-reworker": 2, "x-worker": WORKER_ID, "x-seq": seq},
    }


class HandWritten:
    """What a user would write: everything in the callbacks of pika's `SelectConnection`.

    Args:
        is_plain: send replies without an id and headers.
    """

    def __init__(self, url: str, count: int, prefetch: int, *, is_plain: bool = False) -> None:
        self._meter, self._prefetch, self._is_plain = Meter(count), prefetch, is_plain
        self._channel: Any = None
        self._sequence = 0
        self._unconfirmed: deque[tuple[int, int]] = deque()
        self._left: dict[int, int] = {}
        parameters = pika.URLParameters(url)
        self._connection = pika.SelectConnection(parameters, on_open_callback=self._on_open)

    def run(self) -> dict[str, float]:
        """Consume until the last step."""
        self._connection.ioloop.start()
        return self._meter.figures

    def _on_open(self, connection: pika.SelectConnection) -> None:
        connection.channel(on_open_callback=self._on_channel)

    def _on_channel(self, channel: pika.channel.Channel) -> None:
        self._channel = channel
        channel.confirm_delivery(self._on_confirm)
        channel.basic_qos(prefetch_count=self._prefetch)
        channel.basic_consume(QUEUE, self._on_message)

    def _on_message(self, channel: Any, method: Any, properties: Any, body: bytes) -> None:
        self._left[method.delivery_tag] = 2
        for seq, reply in enumerate(replies(body), 1):
            own = {} if self._is_plain else identity(properties.correlation_id, seq)
            channel.basic_publish(
                "",
                properties.reply_to,
                reply,
                pika.BasicProperties(
                    app_id="benchworker",
                    correlation_id=properties.correlation_id,
                    reply_to="log",
                    delivery_mode=2,
                    content_type="application/json",
                    **own,
                ),
                mandatory=True,
            )
            self._sequence += 1
            self._unconfirmed.append((self._sequence, method.delivery_tag))
        if self._meter.tick():
            self._connection.ioloop.stop()

    def _on_confirm(self, frame: Any) -> None:
        tag = frame.method.delivery_tag
        assert isinstance(frame.method, pika.spec.Basic.Ack)
        if frame.method.multiple:
            while self._unconfirmed and self._unconfirmed[0][0] <= tag:
                self._confirmed(self._unconfirmed.popleft()[1])
        else:
            found = next(pair for pair in self._unconfirmed if pair[0] == tag)
            self._unconfirmed.remove(found)
            self._confirmed(found[1])

    def _confirmed(self, delivery_tag: int) -> None:
        self._left[delivery_tag] -= 1
        if not self._left[delivery_tag]:
            del self._left[delivery_tag]
            self._channel.basic_ack(delivery_tag)


class OnTheBus:
    """One worker thread directly on the bus."""

    def __init__(self, url: str, count: int, prefetch: int) -> None:
        self._meter, self._prefetch = Meter(count), prefetch
        self._bus = PikaBus(mq_settings(url), name="bench")
        self._inbox: queue.SimpleQueue[Delivery] = queue.SimpleQueue()

    def run(self) -> dict[str, float]:
        """Consume until the last step."""
        self._bus.open(timeout_s=10)
        self._bus.consume(QUEUE, self._inbox.put, prefetch=self._prefetch)
        while True:
            self._perform(self._inbox.get())
            if self._meter.tick():
                break
        self._bus.close()
        return self._meter.figures

    def _perform(self, delivery: Delivery) -> None:
        left = [None, None]

        def on_done(result: Published) -> None:
            assert result.outcome is Outcome.CONFIRMED
            left.pop()
            if not left:
                delivery.settle(Verdict.ACK)

        received = delivery.properties
        for seq, reply in enumerate(replies(delivery.body), 1):
            properties = Properties(
                app_id="benchworker",
                correlation_id=received.correlation_id,
                reply_to="log",
                delivery_mode=2,
                content_type="application/json",
                **identity(received.correlation_id, seq),
            )
            self._bus.publish(Outgoing("", received.reply_to or "", reply, properties), on_done)


_meters: list[Meter] = []


class BenchWorker(Worker):
    """The same step with the worker library."""

    @step("Frob", idempotent=True)
    def frob(self, job: Job, *, speed: int) -> dict[str, int]:
        """Do nothing; the library sends both replies."""
        if _meters[0].tick():
            os.kill(os.getpid(), signal.SIGTERM)
        return {"frobbed": speed}


class WithTheWorker:
    """A `Worker` with one instance."""

    def __init__(self, url: str, count: int, prefetch: int) -> None:
        _meters.append(Meter(count))
        self._worker = BenchWorker(url, prefetch=prefetch)

    def run(self) -> dict[str, float]:
        """Consume until the last step."""
        self._worker.run_forever()
        return _meters[0].figures


CONTENDERS: dict[str, Any] = {
    "hand-written": HandWritten,
    "plain": partial(HandWritten, is_plain=True),
    "bus": OnTheBus,
    "worker": WithTheWorker,
}

if __name__ == "__main__":
    name, url, count, prefetch = sys.argv[1:]
    print(json.dumps(CONTENDERS[name](url, int(count), int(prefetch)).run()))
