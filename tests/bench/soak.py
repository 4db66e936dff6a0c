"""A worker under load for long, its connection cut again and again: is anything lost, does it grow?

    python -m tests.bench.soak [--minutes N] [--cuts N] [--once] [--url URL]

Steps are kept on their way to one worker process, through a proxy that cuts its connection. Ends with 1 when
a step got no final answer, did not complete, or, with `--once`, was answered in two ways. `make soak` runs it
for ten minutes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reworker.bus.connection import PikaBus
from reworker.bus.contract import Delivery, Outgoing, Properties, QueueSpec, TopologySpec, Verdict
from reworker.config import mq_settings
from reworker.topology.model import worker_topology
from reworker.worker import Job, Worker, step
from tests.bench.pages import place
from tests.support.proxy import Proxy
from tests.support.rabbitmq import RabbitMQNode

QUEUE, REPLY_QUEUE = "worker.soak", "soak.replies"
#: steps without a final answer at most.
WINDOW_COUNT = 400
SAMPLE_S = 1.0
#: part of the time after which memory is looked at: caches fill first.
WARM_UP_SHARE = 0.3
#: seconds that the last answers may take.
DRAIN_S = 60.0
KIB_PER_MIB = 1024


class SoakWorker(Worker):
    """Says how many steps this process has begun, so that a second run of one shows."""

    _count = 0

    @step("Do")
    def do(self, job: Job, *, number: int) -> dict[str, int]:
        """Count."""
        self._count += 1
        return {"number": number, "run": self._count}


class Tally:
    """What became of each step; any thread."""

    def __init__(self, *, is_once: bool) -> None:
        self._lock = threading.Lock()
        self._is_once = is_once
        self.repeated_count = 0
        self._open: set[str] = set()
        self._finals: dict[str, str] = {}
        self.room = threading.Semaphore(WINDOW_COUNT)
        self.message_count = self.done_count = 0
        self.problems: list[str] = []

    def begin(self, own_id: str) -> None:
        """Note a step that is published now."""
        with self._lock:
            self._open.add(own_id)
            self.message_count += 1

    def answer(self, own_id: str, body: bytes) -> None:
        """Take in a reply."""
        text = body.decode()
        is_final = json.loads(text)["status"] != "started"
        with self._lock:
            self.message_count += 1
            if not is_final:
                return
            if own_id in self._open:
                self._open.remove(own_id)
                self._keep(own_id, text)
                self.room.release()
            elif self._finals.get(own_id, text) != text:
                self.repeated_count += 1
                if self._is_once:
                    self.problems.append(f"{own_id} was answered twice: {self._finals[own_id]}, {text}")

    def _keep(self, own_id: str, text: str) -> None:
        self.done_count += 1
        if json.loads(text)["status"] != "completed":
            self.problems.append(f"{own_id} ended with {text}")
        self._finals[own_id] = text
        if len(self._finals) > 100 * WINDOW_COUNT:
            del self._finals[next(iter(self._finals))]

    @property
    def open_count(self) -> int:
        """Steps without a final answer."""
        return len(self._open)


def slope_per_hour(samples: Sequence[tuple[float, float]]) -> float:
    """Return by how much a value grows per hour: least squares over (seconds, value)."""
    count = len(samples)
    mean_s, mean = (sum(one[index] for one in samples) / count for index in (0, 1))
    spread = sum((at_s - mean_s) ** 2 for at_s, _ in samples)
    return 3600 * sum((at_s - mean_s) * (value - mean) for at_s, value in samples) / spread if spread else 0.0


def memory_mib(pid: int) -> float:
    """Return the resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.partition("VmRSS:")[2].split()[0]) / KIB_PER_MIB


class Soak:
    """One run.

    Args:
        url: an empty virtual host.
        minutes: how long steps are sent.
        cuts: of the worker's connection, evenly over that time.
        is_once: the steps are such that may not run twice; else they are idempotent.
    """

    def __init__(self, url: str, minutes: float, cuts: int, *, is_once: bool) -> None:
        self._url, self._seconds, self._cuts, self._is_once = url, 60 * minutes, cuts, is_once
        self.tally = Tally(is_once=is_once)
        self.samples: list[tuple[float, float]] = []
        self.cut_count = 0
        self._bus = PikaBus(mq_settings(url), name="soak")

    def run(self) -> None:
        """Send steps, cut, watch; then wait for the last answers."""
        self._bus.open(timeout_s=10)
        self._bus.declare(worker_topology(QUEUE, [QUEUE]))
        self._bus.declare(TopologySpec(queues=(QueueSpec(REPLY_QUEUE),)))
        self._bus.consume(REPLY_QUEUE, self._on_reply, prefetch=1000)
        with Proxy.for_url(self._url) as proxy:
            worker = subprocess.Popen(
                [sys.executable, "-m", "tests.bench.soak", "--worker", proxy.url(self._url)]
            )
            try:
                self._send(proxy, worker.pid)
                self._drain()
            finally:
                worker.terminate()
                worker.wait(30)
        self._bus.close()

    def _send(self, proxy: Proxy, pid: int) -> None:
        began_s = time.monotonic()
        number, next_sample_s = 0, 0.0
        while (passed_s := time.monotonic() - began_s) < self._seconds:
            if passed_s >= self._seconds * (self.cut_count + 1) / (self._cuts + 1):
                self.cut_count += proxy.cut(is_reset=self.cut_count % 2 == 0) > 0
            if passed_s >= next_sample_s:
                next_sample_s = passed_s + SAMPLE_S
                self.samples.append((passed_s, memory_mib(pid)))
            if self.tally.room.acquire(timeout=0.02):
                number += 1
                self._publish(number)

    def _publish(self, number: int) -> None:
        own_id = f"{number:024x}.1"
        self.tally.begin(own_id)
        parameters: dict[str, Any] = {"command": "soak", "subcommand": "Do", "hosts": ["h"], "number": number}
        body = json.dumps({"group": "soak", "parameters": parameters, "dynamic": {}, "notify": {}}).encode()
        headers = {"x-reworker": 2, "x-attempt": 1, "x-idempotent": not self._is_once}
        properties = Properties(
            correlation_id=own_id, message_id=own_id, reply_to=REPLY_QUEUE, delivery_mode=2, headers=headers
        )
        self._bus.publish(Outgoing("", QUEUE, body, properties), deadline_s=DRAIN_S)

    def _on_reply(self, delivery: Delivery) -> None:
        self.tally.answer(delivery.properties.correlation_id or "", delivery.body)
        delivery.settle(Verdict.ACK)

    def _drain(self) -> None:
        until_s = time.monotonic() + DRAIN_S
        while self.tally.open_count and time.monotonic() < until_s:
            time.sleep(0.1)
        if self.tally.open_count:
            self.tally.problems.append(f"{self.tally.open_count} steps got no final answer")

    def report(self) -> list[str]:
        """Return the figures, in lines."""
        warm = [one for one in self.samples if one[0] >= WARM_UP_SHARE * self._seconds]
        tally = self.tally
        return [
            f"{tally.done_count} steps, {tally.message_count} messages, {self.cut_count} connections cut",
            f"memory of the worker: {warm[0][1]:.1f} MiB, then {warm[-1][1]:.1f} MiB; "
            f"slope {slope_per_hour(warm):+.2f} MiB per hour",
            f"answered again in another way, which only an idempotent step may be: {tally.repeated_count}",
            f"problems: {len(tally.problems)}",
            *tally.problems[:10],
        ]


def main() -> None:
    """Read the arguments, run, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--cuts", type=int, default=500)
    parser.add_argument("--once", action="store_true", help="steps that may not run twice")
    parser.add_argument("--url", help="an empty virtual host; without it RabbitMQ is started")
    parser.add_argument("--worker", metavar="URL", help="be the worker")
    given = parser.parse_args()
    if given.worker:
        SoakWorker(given.worker, queue="soak", prefetch=64).run_forever()
        return
    print(place(), flush=True)
    if given.url:
        soak = Soak(given.url, given.minutes, given.cuts, is_once=given.once)
        soak.run()
    else:
        with RabbitMQNode() as node:
            soak = Soak(node.url(), given.minutes, given.cuts, is_once=given.once)
            soak.run()
    print("\n".join(soak.report()))
    sys.exit(1 if soak.tally.problems else 0)


if __name__ == "__main__":
    main()
