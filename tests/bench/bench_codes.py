"""What a task costs that a code worker runs: processor time of ours, throughput with slots, latency.

    python -m tests.bench.bench_codes [--tasks N] [--slots N] [--rounds N] [--rabbitmq] [--folder DIR]
        [--write PAGE]

A worker process runs tasks of the smallest Python program there is, from a warm cache; the messages go
through the embedded broker or a RabbitMQ of our own. Beside it the same processes are started by hand, as
many at once, with the arguments and the environment of a task, and each in a session of its own, like a task.
Both go in turn, and processor time counts all processes, ours and theirs. Broker, server and this program
share the processors with the worker: what they take is told apart.

The folders of tasks are in memory where that can be: what a disk takes for a new folder and two files depends
on its file system, and on what others have deleted there. An ext4 without a journal looks for each new file
through all that were deleted in the last minutes, which may take longer than all that is measured here.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import queue
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

import msgspec

from reworker.broker.server import BrokerThread
from reworker.bus.connection import PikaBus
from reworker.bus.contract import (
    BindingSpec,
    Delivery,
    Outgoing,
    Properties,
    QueueSpec,
    TopologySpec,
    Verdict,
)
from reworker.codes.process import PATH, TaskOrder, environment_of
from reworker.config import mq_settings
from reworker.messages import StepHeaders, encode, headers_of_step
from reworker.topology.code_queues import code_topology
from tests.bench.pages import place, written
from tests.integration.code_support import CODE, DOWNLOAD, PROJECT, TASK, package, step_body
from tests.support.http_server import Answer, HttpServer
from tests.support.rabbitmq import RabbitMQNode

#: seconds that anything may take at most.
LIMIT_S = 120.0
#: in which the kernel counts processor time.
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
MARK = "codes"
#: a file system in memory.
MEMORY = "/dev/shm"
#: the smallest task.
SCRIPT = "import sys\n"
#: a task that says when its process has begun.
CLOCK = "import time\nprint(time.clock_gettime(time.CLOCK_REALTIME))\n"


class Parts(NamedTuple):
    """Processor seconds by who has used them.

    Args:
        worker: the worker process.
        keepers: what starts and ends its tasks.
        tasks: their processes, from the moment that they are there.
        rest: broker, server and this program.
    """

    worker: float
    keepers: float
    tasks: float
    rest: float

    @property
    def ours(self) -> float:
        """All that the worker costs, with its tasks."""
        return self.worker + self.keepers + self.tasks

    def since(self, before: Parts, count: int) -> Parts:
        """Return the milliseconds for each of so many tasks."""
        return Parts(*((now - then) * 1000 / count for now, then in zip(self, before, strict=True)))


class Figures(NamedTuple):
    """What tasks cost.

    Args:
        own_cpu_ms: processor time for each task, less that of its process alone.
        parts_ms: the same by who has used it, with the processes.
        tasks_per_s: with all slots.
        alone: processes started by hand, as many at once.
        latency_ms: from the publish of a task to its process, in the middle and for 95 of 100.
    """

    own_cpu_ms: float
    parts_ms: Parts
    tasks_per_s: float
    alone: Alone
    latency_ms: tuple[float, float]

    @property
    def share(self) -> float:
        """Tasks for each process that could have been started by hand."""
        return self.tasks_per_s / self.alone.per_s

    @property
    def cpu_share(self) -> float:
        """The same if processors had nothing else to do: by processor time of the worker and its tasks."""
        return (self.alone.process_ms + self.alone.start_ms) / self.parts_ms.ours


class Yard:
    """A broker, a server with one package, and a code worker in a process of its own."""

    def __init__(self, url: str, server: HttpServer, top: Path, slots: int, broker_pid: int | None) -> None:
        self._server, self._content = server, b""
        self.upload(SCRIPT)
        server.answers["/2/projects"] = Answer(body=encode({"projects": [{"id": PROJECT}]}))
        server.answers[f"/2/projects/{PROJECT}/codes"] = Answer(body=encode({"codes": [{"id": CODE}]}))
        self._replies: queue.Queue[str] = queue.Queue()
        self._output: queue.Queue[str] = queue.Queue()
        self._number, self._broker_pid = 0, broker_pid
        self.bus = PikaBus(mq_settings(url), name="bench")
        self.bus.open(timeout_s=LIMIT_S)
        self.bus.declare(code_topology(CODE))
        self.bus.declare(TopologySpec(queues=(QueueSpec("bench"),)))
        self.bus.consume("bench", self._keep, prefetch=0)
        config = top / "code.json"
        folders = {"cache_dir": str(top / "cache"), "work_dir": str(top / "work")}
        config.write_text(json.dumps({"server": server.url, "token": "t", **folders}), encoding="utf-8")
        words = ["-m", "reworker", "worker", "code", url, "-w", str(config), "--instances", str(slots)]
        self.worker = subprocess.Popen([sys.executable, *words], stderr=subprocess.DEVNULL)

    def _keep(self, delivery: Delivery) -> None:
        status = json.loads(delivery.body)["status"]
        delivery.settle(Verdict.ACK)
        if status != "started":
            self._replies.put(status)

    def upload(self, script: str) -> None:
        """Have the tasks from here on be of this program."""
        self._content = package({"main.py": script})
        self._server.answers[DOWNLOAD] = Answer(body=self._content)

    def send(self) -> None:
        """Publish one task."""
        self._number += 1
        body = step_body(self._content, "main.py", runtime="python")
        properties = Properties(
            correlation_id=f"{self._number:024x}.1",
            reply_to="bench",
            delivery_mode=2,
            headers=headers_of_step(StepHeaders()),
        )
        self.bus.publish(Outgoing("re", f"worker.code.{CODE}", encode(body), properties))

    def wait(self, count: int) -> None:
        """Wait for the ends of so many tasks, which all have to be good."""
        ends = {self._replies.get(timeout=LIMIT_S) for _ in range(count)}
        if ends != {"completed"}:
            raise RuntimeError(f"tasks ended otherwise: {ends}")

    def latencies_ms(self, count: int) -> list[float]:
        """Return the milliseconds from the publish of each task to its process, one after the other."""
        found = []
        output = QueueSpec("bench.output")
        self.bus.declare(TopologySpec(queues=(output,), bindings=(BindingSpec("re", output.name, "output"),)))
        self.bus.consume(output.name, self._heard, prefetch=0)
        self.upload(CLOCK)
        for _ in range(count + 1):
            begin_s = time.clock_gettime(time.CLOCK_REALTIME)
            self.send()
            self.wait(1)
            found.append((float(self._output.get(timeout=LIMIT_S)) - begin_s) * 1000)
        return found[1:]  # the first one was fetched

    def _heard(self, delivery: Delivery) -> None:
        text = json.loads(delivery.body)["message"].strip()
        if text:
            self._output.put(text)
        delivery.settle(Verdict.ACK)

    def parts(self) -> Parts:
        """Return the processor time until now."""
        first, *keepers = _family(self.worker.pid)
        own, started = zip(*map(_cpu_s, keepers), strict=True)
        usage = resource.getrusage(resource.RUSAGE_SELF)
        rest = usage.ru_utime + usage.ru_stime
        if self._broker_pid is not None:
            rest += sum(sum(_cpu_s(pid)) for pid in _family(self._broker_pid))
        return Parts(sum(_cpu_s(first)), sum(own), sum(started), rest)

    def close(self) -> None:
        """End all of it."""
        self.worker.terminate()
        self.worker.wait(LIMIT_S)
        self.bus.close()


def _family(pid: int) -> list[int]:
    found, waiting = [], [pid]
    while waiting:
        one = waiting.pop()
        found.append(one)
        for children in Path(f"/proc/{one}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                waiting += [int(word) for word in children.read_text(encoding="ascii").split()]
    return found


def _cpu_s(pid: int) -> tuple[float, float]:
    """Return what a process has used, and what those have that it has waited for."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0.0, 0.0
    user, system, children_user, children_system = (int(one) / TICKS_PER_S for one in words[11:15])
    return user + system, children_user + children_system


class Alone(NamedTuple):
    """What processes cost that are started by hand: how many a second, and milliseconds of a processor.

    Args:
        per_s: with as many at once.
        process_ms: of each.
        start_ms: of this program, for each.
    """

    per_s: float
    process_ms: float
    start_ms: float


def alone(count: int, slots: int) -> Alone:
    """Start the processes by hand."""
    program = shutil.which("python3", path=PATH) or "python3"
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "main.py").write_text(SCRIPT, encoding="utf-8")
        order = msgspec.convert(step_body(b"", "main.py", runtime="python")["parameters"], TaskOrder)
        env = environment_of(order, Path(folder), folder, PATH, "http://localhost:8080", {})
        words = ["-d", f"{folder}/", "-e", "production", "-id", TASK, "-payload", env["PAYLOAD_FILE"]]
        argv = [program, "-u", "main.py", *words]
        left = queue.SimpleQueue[int]()
        for number in range(count):
            left.put(number)

        def work() -> None:
            with contextlib.suppress(queue.Empty):
                while True:
                    left.get_nowait()
                    subprocess.run(argv, cwd=folder, check=True, env=env, start_new_session=True)

        before, begin_s = _used_ms(), time.monotonic()
        threads = [threading.Thread(target=work) for _ in range(slots)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        seconds, after = time.monotonic() - begin_s, _used_ms()
    process_ms, start_ms = ((now - then) / count for now, then in zip(after, before, strict=True))
    return Alone(count / seconds, process_ms, start_ms)


def _used_ms() -> tuple[float, float]:
    """Return what the processes have used that this one has waited for, and this one itself."""
    found = map(resource.getrusage, (resource.RUSAGE_CHILDREN, resource.RUSAGE_SELF))
    children, own = ((one.ru_utime + one.ru_stime) * 1000 for one in found)
    return children, own


@contextlib.contextmanager
def _broker(*, is_rabbitmq: bool) -> Iterator[tuple[str, int | None]]:
    """Give the URL of a broker, and its process if it has one of its own."""
    if not is_rabbitmq:
        with BrokerThread() as broker:
            yield broker.url(), None
        return
    with RabbitMQNode() as node:
        yield node.url(node.add_vhost()), node.pid


def measured(
    count: int, slots: int, rounds: int, *, is_rabbitmq: bool = False, folder: str | None = None
) -> Figures:
    """Measure in turn; return the middle of the rounds."""
    with (
        tempfile.TemporaryDirectory(dir=folder) as top,
        HttpServer() as server,
        _broker(is_rabbitmq=is_rabbitmq) as (url, broker_pid),
    ):
        Path(top).chmod(0o755)
        yard = Yard(url, server, Path(top), slots, broker_pid)
        try:
            for _ in range(4 * slots):
                yard.send()
            yard.wait(4 * slots)
            return _rounds(yard, count, slots, rounds)
        finally:
            yard.close()


def _rounds(yard: Yard, count: int, slots: int, rounds: int) -> Figures:
    ours, theirs = [], []
    for _ in range(rounds):
        theirs.append(alone(count, slots))
        before, begin_s = yard.parts(), time.monotonic()
        for _ in range(count):
            yard.send()
        yard.wait(count)
        seconds = time.monotonic() - begin_s
        ours.append((count / seconds, yard.parts().since(before, count)))
    by_hand = Alone(*map(median, zip(*theirs, strict=True)))
    parts_ms = Parts(*map(median, zip(*(parts for _, parts in ours), strict=True)))
    latencies = quantiles(yard.latencies_ms(max(count // 4, 20)), n=20)
    return Figures(
        own_cpu_ms=median(parts.ours for _, parts in ours) - by_hand.process_ms,
        parts_ms=parts_ms,
        tasks_per_s=median(one[0] for one in ours),
        alone=by_hand,
        latency_ms=(latencies[9], latencies[18]),
    )


def report(figures: Figures, slots: int) -> list[str]:
    """Return the lines of the table."""
    (middle_ms, late_ms), parts, by_hand = figures.latency_ms, figures.parts_ms, figures.alone
    return [
        "| figure | value |",
        "|---|---|",
        f"| processor time of ours for each task | {figures.own_cpu_ms:.1f} ms |",
        f"| of that the worker, and the keepers | {parts.worker:.1f} ms, {parts.keepers:.1f} ms |",
        f"| of a process by hand, and to start it | {by_hand.process_ms:.1f} ms, {by_hand.start_ms:.1f} ms |",
        f"| beside it for each task: broker and server | {parts.rest:.1f} ms |",
        f"| tasks a second with {slots} slots | {figures.tasks_per_s:.0f} |",
        f"| processes alone, {slots} at once | {by_hand.per_s:.0f} ({figures.share:.0%} of them) |",
        f"| if broker and server had another machine | {figures.cpu_share:.0%} of them, by processor time |",
        f"| publish to process, p50 and p95 | {middle_ms:.0f} ms, {late_ms:.0f} ms |",
    ]


def main() -> None:
    """Measure, print, and write into a page if one is named."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--slots", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rabbitmq", action="store_true", help="instead of the embedded broker")
    in_memory = MEMORY if os.path.isdir(MEMORY) else tempfile.gettempdir()
    parser.add_argument("--folder", default=in_memory, metavar="DIR", help="where tasks have their folders")
    parser.add_argument("--write", type=Path, metavar="PAGE")
    options = parser.parse_args()
    found = measured(
        options.tasks, options.slots, options.rounds, is_rabbitmq=options.rabbitmq, folder=options.folder
    )
    lines = [*report(found, options.slots), f"| folders of tasks | in {options.folder} |"]
    sys.stdout.write("\n".join(lines) + "\n")
    if options.write is not None:
        page = options.write.read_text(encoding="utf-8")
        options.write.write_text(written(page, MARK, [place(), "", *lines]), encoding="utf-8")


if __name__ == "__main__":
    main()
