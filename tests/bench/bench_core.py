"""How fast the core is: 40 steps end to end, a long deployment, many at once, and one hop.

    python -m tests.bench.bench_core [--url AMQP_URL] [--folder DIR]

Without a URL the bus is in memory. The database is SQLite, synchronous=FULL, in a fresh folder.
The worker answers `started` and `completed` at once, so what is measured is the core and the bus; with a
URL it has a process of its own. CPU is that of the core's process. A hop is reply to next step.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import platform
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from reworker.bus.contract import Bus, Delivery, Outgoing, Properties, Verdict
from reworker.bus.memory import MemoryBroker, MemoryBus
from reworker.core.core import Core
from reworker.core.settings import CoreSettings
from reworker.storage.log import SqlLog, log_path
from reworker.storage.sql import SqlStorage
from reworker.topology.model import worker_topology

POLL_S = 0.002
#: part of the elapsed time between two looks at a deployment; bounds the error of its end.
POLL_PART = 0.02
#: deployments in flight at once, and steps of each, for the throughput.
CROWD_COUNT, CROWD_STEPS = 100, 20
SIZES = (100, 500, 2000)


class EchoWorker:
    """Answers each step at once; notes when it replied and when it got the next step of a deployment."""

    def __init__(self, bus: Bus) -> None:
        self._bus, self._numbers = bus, itertools.count(1)
        self.hops_s: list[float] = []
        self._replied_at: dict[str, float] = {}
        bus.declare(worker_topology("worker.bench", ["worker.bench"]))
        self._consumer = bus.consume("worker.bench", self._on_delivery, prefetch=500)

    def _on_delivery(self, delivery: Delivery) -> None:
        correlation_id = delivery.properties.correlation_id or ""
        own_id = correlation_id.partition(".")[0]
        before = self._replied_at.get(own_id)
        if before is not None:
            self.hops_s.append(time.perf_counter() - before)
        for status in ("started", "completed"):
            properties = Properties(
                correlation_id=correlation_id,
                message_id=f"b{os.getpid()}-{next(self._numbers)}",
                app_id="benchworker",
                delivery_mode=2,
            )
            body = json.dumps({"status": status}).encode()
            self._bus.publish(Outgoing("", delivery.properties.reply_to or "", body, properties))
        self._replied_at[own_id] = time.perf_counter()
        delivery.settle(Verdict.ACK)


def buses(url: str) -> Callable[[str], Bus]:
    """Return what makes a bus of a name, on one broker."""
    if not url:
        broker = MemoryBroker()
        return lambda name: MemoryBus(broker, name=name)
    from reworker.bus.connection import PikaBus
    from reworker.config import mq_settings

    return lambda name: PikaBus(mq_settings(url), name=name)


class LocalWorker(EchoWorker):
    """The worker in this process, for the bus in memory."""

    def end(self) -> list[float]:
        """Return the hops, seconds."""
        return self.hops_s


class WorkerProcess:
    """The worker in a process of its own, as in real life."""

    def __init__(self, url: str) -> None:
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.bench_core", "--url", url, "--worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._popen.stdout is not None
        self._popen.stdout.readline()

    def end(self) -> list[float]:
        """Stop it; return the hops, seconds."""
        output, _ = self._popen.communicate()
        hops_s: list[float] = json.loads(output)
        return hops_s


def serve_worker(url: str) -> None:
    """Be the worker until stdin ends, then print the hops."""
    bus = buses(url)("worker")
    bus.open(timeout_s=10)
    worker = EchoWorker(bus)
    print("ready", flush=True)
    sys.stdin.read()
    bus.close()
    print(json.dumps(worker.hops_s))


@contextlib.contextmanager
def running(url: str, folder: Path) -> Iterator[tuple[Core, LocalWorker | WorkerProcess]]:
    """Run a core and a worker on a fresh database."""
    make = buses(url)
    storage, logs = SqlStorage(folder / "bench.db"), SqlLog(log_path(folder / "bench.db"))
    bus = make("core")
    bus.open(timeout_s=10)
    core = Core(bus, storage, logs, CoreSettings())
    core.start()
    with contextlib.ExitStack() as stack:
        for close in (logs.close, storage.close, bus.close, core.stop):
            stack.callback(close)
        worker: LocalWorker | WorkerProcess
        if url:
            worker = WorkerProcess(url)
        else:
            worker_bus = make("worker")
            worker_bus.open(timeout_s=10)
            stack.callback(worker_bus.close)
            worker = LocalWorker(worker_bus)
        yield core, worker


def playbook(step_count: int) -> str:
    """Return a playbook of trivial steps on one host."""
    sequence = {"description": "bench", "hosts": ["host1"], "steps": ["bench:Do"] * step_count}
    return json.dumps({"group": "bench", "name": "bench", "execution": [sequence]})


def run(core: Core, count: int, step_count: int) -> float:
    """Run deployments side by side; return seconds from the first submit to the last end."""
    text = playbook(step_count)
    started_s = time.perf_counter()
    ids = [core.service.submit(text) for _ in range(count)]
    for own_id in ids:
        while not core.service.deployment(own_id).is_over:
            # Looking costs time of the process that is measured: look ever more seldom.
            time.sleep(max(POLL_S * min(count, 10), (time.perf_counter() - started_s) * POLL_PART))
    return time.perf_counter() - started_s


def measured(url: str, folder: Path, count: int, step_count: int) -> tuple[float, list[float], int, float]:
    """Return (seconds, hops, growth of memory in KiB, CPU seconds)."""
    with running(url, folder) as (core, worker):
        run(core, 1, 2)
        before = resource.getrusage(resource.RUSAGE_SELF)
        elapsed_s = run(core, count, step_count)
        after = resource.getrusage(resource.RUSAGE_SELF)
        hops_s = worker.end()
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return elapsed_s, hops_s, after.ru_maxrss - before.ru_maxrss, cpu_s


def report(title: str, url: str, count: int, step_count: int, folder: Path) -> None:
    """Measure one workload and print its line."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        elapsed_s, hops_s, grown_kib, cpu_s = measured(url, Path(name), count, step_count)
        size_kib = sum(file.stat().st_size for file in Path(name).iterdir()) >> 10
    steps = count * step_count
    quantiles = statistics.quantiles(hops_s, n=100) if len(hops_s) > 1 else [0.0] * 99
    print(
        f"{title:<30} {elapsed_s:7.3f} s {steps / elapsed_s:6.0f} steps/s"
        f"  hop p50 {1e3 * quantiles[49]:6.2f} p99 {1e3 * quantiles[98]:6.2f} ms"
        f"  CPU {1e6 * cpu_s / steps:5.0f} us/step  memory +{grown_kib} KiB  database {size_kib} KiB"
    )


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description="Measure the core.")
    parser.add_argument("--url", default="", help="amqp:// URL; memory without")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--worker", action="store_true", help="be the worker; for the program itself")
    options = parser.parse_args()
    if options.worker:
        serve_worker(options.url)
        return
    print(
        f"{platform.machine()} {os.cpu_count()} CPUs, Python {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version} WAL synchronous=FULL, bus {options.url or 'memory'}, "
        "confirms on, persistent, batch 50"
    )
    report("40 steps, one deployment", options.url, 1, 40, options.folder)
    for size in SIZES:
        report(f"{size} steps, one deployment", options.url, 1, size, options.folder)
    title = f"{CROWD_COUNT} deployments of {CROWD_STEPS} steps"
    report(title, options.url, CROWD_COUNT, CROWD_STEPS, options.folder)


if __name__ == "__main__":
    main()
