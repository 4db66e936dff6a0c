"""How fast the core is, how much it needs and how soon it is back: workloads W3, W4 and W5, and recovery.

    python -m tests.bench.bench_core [--url AMQP_URL] [--db DB ...] [--only NAME ...] [--scale PART]

Cores and the worker are processes of their own; the worker answers `started` and `completed` at once. Every
deployment has a host of its own. CPU is that of the cores' processes; a hop is reply to next step.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from reworker.clock import SystemClock
from reworker.core.service import Service
from reworker.storage.opening import open_logs, open_storage
from tests.bench.pages import place, written
from tests.bench.roles import Role
from tests.support.postgres import PostgresServer
from tests.support.rabbitmq import RabbitMQNode
from tests.support.waiting import wait_until

POLL_S = 0.02
#: seconds that one workload may take at most.
LIMIT_S = 900.0
#: deployments side by side, and steps of each, for the throughput.
CROWD_COUNT, CROWD_STEPS = 100, 60
#: steps per second of the workload that measures hops, and for how many seconds.
HOP_RATE, HOP_S = 100, 20
#: seconds that the worker takes for a step then.
HOP_DELAY_S = 0.5
WAITING_COUNT = 10_000
IN_FLIGHT_COUNT, IN_FLIGHT_STEPS = 1000, 10
SIZES = (10, 100, 1000, 10_000)
#: of the figures on a page.
MARK = "core"


class Bed:
    """A broker's URL and a database, with cores, a worker and the means to submit.

    Args:
        url: AMQP URL of a virtual host that nobody else uses.
        db: an empty database.
    """

    def __init__(self, url: str, db: str) -> None:
        self.url, self.db = url, db
        self._stack = contextlib.ExitStack()
        storage, logs = open_storage(db), open_logs(db)
        self._stack.callback(storage.close)
        self._stack.callback(logs.close)
        self.service = Service(storage, logs, SystemClock())
        self.reader = storage.reader
        self.worker = self._stack.enter_context(Role("worker", url, "0"))

    def core(self, name: str) -> Role:
        """Start a core."""
        return self._stack.enter_context(Role("core", self.url, self.db, name))

    def slow_worker(self, delay_s: float) -> Role:
        """Start a worker that answers after a delay."""
        return self._stack.enter_context(Role("worker", self.url, str(delay_s)))

    def submit(self, count: int, step_count: int, *, first_host: int = 0) -> list[str]:
        """Start deployments; return their ids."""
        return [self.service.submit(playbook(step_count, [f"h{first_host + i}"])) for i in range(count)]

    def wait_for_outbox(self) -> None:
        """Wait until every message has reached the broker."""
        wait_until(lambda: self.reader.outbox_count() == 0, LIMIT_S, "all to be published", poll_s=0.1)

    def wait_for_end(self, ids: list[str]) -> None:
        """Wait until deployments are over, looking seldom: that costs time of the database."""
        left = list(ids)
        until_mono_s = time.monotonic() + LIMIT_S
        while left and time.monotonic() < until_mono_s:
            while left and self.service.deployment(left[-1]).is_over:
                left.pop()
            time.sleep(POLL_S)
        assert not left, f"{len(left)} deployments have not ended"

    def close(self) -> None:
        """End all processes."""
        self._stack.close()


def playbook(step_count: int, hosts: list[str]) -> str:
    """Return a playbook of trivial steps, hosts side by side."""
    step = {"bench:Do": {}, "idempotent": True}
    sequence = {"hosts": hosts, "steps": [step] * step_count, "strategy": {"batch": len(hosts)}}
    return json.dumps({"group": "bench", "name": "bench", "execution": [sequence]})


def hops(bed: Bed, scale: float) -> Iterator[str]:
    """W3: reply to next step, at a fixed rate; and 40 steps one after the other."""
    bed.core("one")
    worker = bed.slow_worker(delay_s=HOP_DELAY_S)
    worker.ask("go")
    ids = []
    for number in range(int(HOP_RATE * HOP_DELAY_S)):
        ids += bed.submit(1, max(2, int(HOP_S * scale / HOP_DELAY_S)), first_host=number)
        time.sleep(1 / HOP_RATE)
    bed.wait_for_end(ids)
    found = sorted(1e3 * one for one in worker.ask("report")["hops_s"])
    centiles = statistics.quantiles(found, n=100)
    yield f"hop at {HOP_RATE} steps/s: p50 {centiles[49]:.1f} ms, p99 {centiles[98]:.1f} ms"


def forty(bed: Bed, scale: float) -> Iterator[str]:
    """W3: 40 steps one after the other, the best of three."""
    bed.core("one")
    bed.worker.ask("go")
    bed.wait_for_end(bed.submit(1, 2))
    elapsed_s = []
    for _ in range(3):
        started_s = time.monotonic()
        bed.wait_for_end(bed.submit(1, 40))
        elapsed_s.append(time.monotonic() - started_s)
    yield f"40 steps: {min(elapsed_s):.2f} s"


def throughput(bed: Bed, scale: float, core_count: int = 1) -> Iterator[str]:
    """W4: steps per second of deployments side by side, from the moment that the worker begins."""
    cores = [bed.core(f"core{number}") for number in range(core_count)]
    step_count = max(2, int(CROWD_STEPS * scale))
    ids = bed.submit(CROWD_COUNT, step_count)
    bed.wait_for_outbox()
    before = [core.ask("usage") for core in cores]
    started_s = time.monotonic()
    bed.worker.ask("go")
    reply_count = 2 * CROWD_COUNT * step_count
    wait_until(
        lambda: sum(core.ask("replies")["count"] for core in cores) >= reply_count,
        LIMIT_S,
        "all replies",
        poll_s=POLL_S,
    )
    elapsed_s = time.monotonic() - started_s
    cpu_s = [core.ask("usage")["cpu_s"] - one["cpu_s"] for core, one in zip(cores, before, strict=True)]
    bed.wait_for_end(ids)
    steps = CROWD_COUNT * step_count
    name = f"{CROWD_COUNT} deployments, {core_count} core{'s' * (core_count > 1)}"
    yield f"{name}: {steps / elapsed_s:.0f} steps/s, CPU {1e6 * sum(cpu_s) / steps:.0f} us/step"


def two_cores(bed: Bed, scale: float) -> Iterator[str]:
    """W6: the same with two cores on one database."""
    return throughput(bed, scale, core_count=2)


def crowd(bed: Bed, scale: float) -> Iterator[str]:
    """W5: what a core needs for deployments that wait for a reply."""
    core = bed.core("one")
    before = core.ask("usage")
    count = int(WAITING_COUNT * scale)
    bed.submit(count, 1)
    bed.wait_for_outbox()
    then = core.ask("usage")
    time.sleep(2)
    after = core.ask("usage")
    mib, mib_before = after["rss_kib"] / 1024, before["rss_kib"] / 1024
    yield (
        f"{count} waiting deployments: {mib:.0f} MiB ({mib_before:.0f} without), "
        f"{after['threads']} threads, CPU while they wait {50 * (after['cpu_s'] - then['cpu_s']):.1f} %"
    )


def _recovered(bed: Bed, ids: list[str], since_mono_s: float) -> float:
    """Wait until every deployment that is open at a moment has got a step, or ended, since."""
    open_count = sum(not bed.service.deployment(one).is_over for one in ids)
    wait_until(
        lambda: bed.worker.ask(f"arrivals {since_mono_s}")["count"] >= open_count,
        LIMIT_S,
        "all to go on",
        poll_s=0.1,
    )
    last: float = bed.worker.ask(f"arrivals {since_mono_s}")["last_mono_s"]
    return last - since_mono_s


def _kill_midway(bed: Bed, scale: float) -> tuple[list[str], Role]:
    core = bed.core("one")
    count = max(10, int(IN_FLIGHT_COUNT * scale))
    ids = bed.submit(count, IN_FLIGHT_STEPS)
    bed.wait_for_outbox()
    bed.worker.ask("go")
    part = 2 * count * IN_FLIGHT_STEPS // 4
    wait_until(lambda: core.ask("replies")["count"] >= part, LIMIT_S, "a quarter of the replies")
    return ids, core


def restart(bed: Bed, scale: float) -> Iterator[str]:
    """W8: a core is killed amid its work and started again."""
    ids, core = _kill_midway(bed, scale)
    core.kill()
    since_mono_s = time.monotonic()
    bed.core("one")
    elapsed_s = _recovered(bed, ids, since_mono_s)
    yield f"core killed with {len(ids)} deployments in flight: all go on {elapsed_s:.1f} s after its restart"
    bed.wait_for_end(ids)


def takeover(bed: Bed, scale: float) -> Iterator[str]:
    """W8: a core is killed amid its work, another one goes on."""
    bed.core("two")
    ids, core = _kill_midway(bed, scale)
    core.kill()
    elapsed_s = _recovered(bed, ids, time.monotonic())
    yield f"one of two cores killed with {len(ids)} deployments: all go on within {elapsed_s:.1f} s"
    bed.wait_for_end(ids)


def growth(bed: Bed, scale: float) -> Iterator[str]:
    """Cost per step for plans of different sizes: steps on one host, then hosts with one step."""
    core = bed.core("one")
    bed.worker.ask("go")
    for size in (one for one in SIZES if one <= max(SIZES) * scale):
        for title, text in (
            ("steps on a host", playbook(size, ["h"])),
            ("hosts", playbook(1, [f"h{number}" for number in range(size)])),
        ):
            before, started_s = core.ask("usage")["cpu_s"], time.monotonic()
            bed.wait_for_end([bed.service.submit(text)])
            elapsed_s, cpu_s = time.monotonic() - started_s, core.ask("usage")["cpu_s"] - before
            yield f"{size} {title}: {elapsed_s:.2f} s, CPU {1e6 * cpu_s / size:.0f} us/step"


WORKLOADS: dict[str, Callable[[Bed, float], Iterator[str]]] = {
    "hops": hops,
    "forty": forty,
    "throughput": throughput,
    "two_cores": two_cores,
    "crowd": crowd,
    "restart": restart,
    "takeover": takeover,
    "growth": growth,
}
#: need a database that several cores can share.
ON_SERVER = ("two_cores", "takeover")


class Servers:
    """Makes a fresh virtual host and a fresh database for each workload; starts what has no URL.

    Args:
        url: of an empty virtual host; empty starts a RabbitMQ.
        db: ``sqlite``, ``postgres``, which starts a server that syncs, or the URL of an empty database.
    """

    def __init__(self, url: str, db: str) -> None:
        self._url, self._db = url, db
        self._stack = contextlib.ExitStack()
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        self._node = None if url else self._stack.enter_context(RabbitMQNode())
        is_started = db == "postgres"
        self._server = self._stack.enter_context(PostgresServer(is_durable=True)) if is_started else None

    @property
    def is_server(self) -> bool:
        """Whether several cores can share the database."""
        return self._db not in ("", "sqlite")

    @property
    def title(self) -> str:
        """Words for the database."""
        return "PostgreSQL, synchronous_commit=on" if self.is_server else "SQLite, synchronous=FULL"

    def bed(self) -> Bed:
        """Return a fresh bed."""
        name = f"b{uuid.uuid4().hex[:12]}"
        url = self._node.url(self._node.add_vhost(name)) if self._node else self._url
        if self._server is not None:
            return Bed(url, self._server.add_database(name))
        return Bed(url, self._db if self.is_server else f"sqlite:///{self._folder / name}.db")

    def close(self) -> None:
        """Stop what was started."""
        self._stack.close()


def measured(url: str, db: str, names: list[str], scale: float) -> Iterator[str]:
    """Run workloads, each on a fresh virtual host and database; yield lines.

    Args:
        url: see `Servers`; `db` too.
        names: of workloads; empty is all.
        scale: part of each workload's size.
    """
    with contextlib.closing(Servers(url, db)) as servers:
        yield servers.title
        for name in names or [name for name in WORKLOADS if servers.is_server or name not in ON_SERVER]:
            with contextlib.closing(servers.bed()) as bed:
                yield from (f"- {line}" for line in WORKLOADS[name](bed, scale))


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description="Measure the core.")
    parser.add_argument(
        "--url", default="", help="amqp:// URL of an empty virtual host; else RabbitMQ is started"
    )
    parser.add_argument("--db", nargs="+", default=["sqlite"], help="`sqlite`, `postgres` or a URL")
    parser.add_argument("--only", nargs="+", choices=WORKLOADS, default=[], help="workloads; all without")
    parser.add_argument("--scale", type=float, default=1.0, help="part of each workload's size")
    parser.add_argument("--write", type=Path, help="page that the figures go to, between its marks")
    options = parser.parse_args()
    lines = [f"{place()}; confirms on, all persistent.", ""]
    for db in options.db:
        for line in measured(options.url, db, options.only, options.scale):
            print(line, flush=True)
            lines += [line] if line.startswith("-") else ["", f"{line}:", ""]
    if options.write:
        options.write.write_text(written(options.write.read_text(), MARK, lines))


if __name__ == "__main__":
    main()
