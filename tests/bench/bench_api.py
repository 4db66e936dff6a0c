"""Figures of the HTTP API: how long a start takes at 50 in a second, and what a read costs the server.

`python -m tests.bench.bench_api` prints them. The server is a process of its own, on SQLite.
"""

from __future__ import annotations

import contextlib
import re
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from reworker.clock import SystemClock
from reworker.core.access import Access
from reworker.core.principal import Scope
from reworker.storage.opening import open_storage
from tests.support.api import playbook
from tests.support.processes import Process

#: starts in a second, and for how long.
RATE, SPAN_S = 50, 10
READ_COUNT = 1000
_TICKS_PER_S = 100


@contextlib.contextmanager
def server(folder: Path) -> Iterator[tuple[httpx.Client, Process]]:
    """Run `reworker web`; give a client with a token that may start and read."""
    url = f"sqlite:///{folder / 'bench.db'}"
    with (
        contextlib.closing(open_storage(url)) as storage,
        contextlib.closing(Access(storage, SystemClock())) as access,
    ):
        token = access.create_token("bench", [Scope.RUN, Scope.READ])[1]
    process = Process("-m", "reworker", "web", "--db", url, "--port", "0")
    try:
        line = str(process.wait_for_line(r"ready: http://(\S+)"))
        address = re.search(r"http://[\w.:]+", line)
        assert address is not None
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(
            base_url=f"{address[0]}/api/v1", headers=headers, trust_env=False, timeout=60
        ) as client:
            yield client, process
    finally:
        process.terminate()


def starts(client: httpx.Client) -> list[float]:
    """Return the seconds that each start took, at a steady rate; the first second warms up."""
    pause, took_s = threading.Event(), []

    def start(number: int) -> float:
        began_s = time.perf_counter()
        answer = client.post(
            "/deployments",
            json={"text": playbook(hosts=f"[host{number}]")},
            headers={"Idempotency-Key": f"bench-{number}"},
        )
        assert answer.status_code == 201, answer.text
        return time.perf_counter() - began_s

    with ThreadPoolExecutor(32) as pool:
        first_s, waiting = time.perf_counter(), []
        for number in range(RATE * SPAN_S):
            pause.wait(max(first_s + number / RATE - time.perf_counter(), 0))
            waiting.append(pool.submit(start, number))
        took_s = [one.result() for one in waiting]
    return took_s[RATE:]


def read_cpu_s(client: httpx.Client, process: Process) -> float:
    """Return the seconds of a processor that one read of a deployment costs the server, all included."""
    own_id = client.get("/deployments?limit=1").json()["items"][0]["id"]
    for _ in range(100):
        client.get(f"/deployments/{own_id}")
    began_s = _cpu_s(process.pid)
    for _ in range(READ_COUNT):
        assert client.get(f"/deployments/{own_id}").status_code == 200
    return (_cpu_s(process.pid) - began_s) / READ_COUNT


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def figures() -> dict[str, float]:
    """Return all figures, in milliseconds."""
    with tempfile.TemporaryDirectory() as folder, server(Path(folder)) as (client, process):
        took_s = sorted(starts(client))
        cuts = statistics.quantiles(took_s, n=100)
        return {
            "start_p50_ms": cuts[49] * 1000,
            "start_p99_ms": cuts[98] * 1000,
            "start_max_ms": took_s[-1] * 1000,
            "read_cpu_ms": read_cpu_s(client, process) * 1000,
        }


if __name__ == "__main__":
    for name, value in figures().items():
        print(f"{name:<14} {value:8.2f}")
