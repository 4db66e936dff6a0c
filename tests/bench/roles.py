"""The processes of a measurement: cores and a worker, each one told what to do by lines on its stdin.

    python -m tests.bench.roles core URL DB NAME
    python -m tests.bench.roles worker URL DELAY_S

Each line that a role reads is a command, and each is answered by one line of JSON.
"""

from __future__ import annotations

import itertools
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from reworker.bus.connection import PikaBus
from reworker.bus.contract import Delivery, Outgoing, Properties, Verdict
from reworker.config import mq_settings
from reworker.core.core import Core
from reworker.core.settings import CoreSettings
from reworker.storage.opening import open_logs, open_storage
from reworker.topology.model import worker_topology

QUEUE = "worker.bench"
PREFETCH = 2000
Answer = dict[str, Any]


class EchoWorker:
    """Answers each step with `started` and `completed`, after a delay; notes when steps come.

    A hop is the time from a reply to the deployment's next step, seconds.
    """

    def __init__(self, bus: PikaBus, delay_s: float) -> None:
        self._bus, self._delay_s, self._numbers = bus, delay_s, itertools.count(1)
        self._hops_s: list[float] = []
        self._replied_at: dict[str, float] = {}
        self._arrivals: list[tuple[float, str]] = []
        self._later: queue.SimpleQueue[tuple[float, Delivery]] = queue.SimpleQueue()
        bus.declare(worker_topology(QUEUE, [QUEUE]))
        if delay_s:
            threading.Thread(target=self._reply_later, daemon=True).start()

    def go(self) -> Answer:
        """Begin to consume."""
        self._bus.consume(QUEUE, self._on_delivery, prefetch=PREFETCH)
        return {}

    def arrivals(self, since_mono_s: str) -> Answer:
        """Return how many deployments got a step since a moment, and when the last of them got its first."""
        since = float(since_mono_s)
        first: dict[str, float] = {}
        for at, own_id in list(self._arrivals):
            if at >= since:
                first.setdefault(own_id, at)
        return {"count": len(first), "last_mono_s": max(first.values(), default=since)}

    def report(self) -> Answer:
        """Return the number of steps, the hops and the CPU time."""
        return {"steps": len(self._arrivals), "hops_s": self._hops_s, "cpu_s": time.process_time()}

    def _on_delivery(self, delivery: Delivery) -> None:
        now = time.monotonic()
        own_id = (delivery.properties.correlation_id or "").partition(".")[0]
        before = self._replied_at.pop(own_id, None)
        if before is not None:
            self._hops_s.append(now - before)
        self._arrivals.append((now, own_id))
        if self._delay_s:
            self._later.put((now + self._delay_s, delivery))
        else:
            self._reply(delivery)

    def _reply_later(self) -> None:
        while True:
            due_mono_s, delivery = self._later.get()
            time.sleep(max(0.0, due_mono_s - time.monotonic()))
            self._reply(delivery)

    def _reply(self, delivery: Delivery) -> None:
        correlation_id = delivery.properties.correlation_id or ""
        self._replied_at[correlation_id.partition(".")[0]] = time.monotonic()
        for status in ("started", "completed"):
            properties = Properties(
                correlation_id=correlation_id,
                message_id=f"b{os.getpid()}-{next(self._numbers)}",
                app_id="benchworker",
                delivery_mode=2,
            )
            body = json.dumps({"status": status}).encode()
            self._bus.publish(Outgoing("", delivery.properties.reply_to or "", body, properties))
        delivery.settle(Verdict.ACK)


def replies(core: Core) -> int:
    """Return how many replies a core has taken; cheap, so that asking is no part of what is measured."""
    return core.counters.snapshot().get("replies", 0)


def usage(core: Core) -> Answer:
    """Return what a core has used so far: CPU seconds, memory, threads."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    rss_kib = int(status.partition("VmRSS:")[2].split()[0])
    return {
        "cpu_s": time.process_time(),
        "rss_kib": rss_kib,
        "threads": threading.active_count(),
    }


def serve_core(url: str, db: str, name: str) -> None:
    """Be a core until stdin ends."""
    bus, storage, logs = PikaBus(mq_settings(url), name=name), open_storage(db), open_logs(db)
    bus.open(timeout_s=10)
    core = Core(bus, storage, logs, CoreSettings(name=name))
    core.start()
    _serve({"usage": lambda: usage(core), "replies": lambda: {"count": replies(core)}})
    core.stop()
    for close in (bus.close, storage.close, logs.close):
        close()


def serve_worker(url: str, delay_s: str) -> None:
    """Be the worker until stdin ends."""
    bus = PikaBus(mq_settings(url), name="bench worker")
    bus.open(timeout_s=10)
    worker = EchoWorker(bus, float(delay_s))
    _serve({"go": worker.go, "arrivals": worker.arrivals, "report": worker.report})
    bus.close()


def _serve(commands: dict[str, Any]) -> None:
    print("{}", flush=True)
    for line in sys.stdin:
        name, *arguments = line.split()
        print(json.dumps(commands[name](*arguments)), flush=True)


class Role:
    """A process in a role; ends with the block."""

    def __init__(self, *arguments: str) -> None:
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.roles", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answer()

    def ask(self, command: str) -> Answer:
        """Give a command and return its answer."""
        assert self._popen.stdin is not None
        self._popen.stdin.write(f"{command}\n")
        self._popen.stdin.flush()
        return self._answer()

    def _answer(self) -> Answer:
        assert self._popen.stdout is not None
        answer: Answer = json.loads(self._popen.stdout.readline())
        return answer

    def kill(self) -> None:
        """Kill it as `kill -9` does."""
        self._popen.kill()
        self._popen.communicate()

    def __enter__(self) -> Role:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._popen.poll() is None:
            try:
                self._popen.communicate(timeout=20)
            except subprocess.TimeoutExpired:
                self.kill()


if __name__ == "__main__":
    role: Callable[..., None] = serve_core if sys.argv[1] == "core" else serve_worker
    role(*sys.argv[2:])
