"""Figures of the Conductor interface, with conductor-python as it is on PyPI.

`python -m tests.bench.bench_conductor` prints tasks per second, how long a task takes to an idle worker,
polls of an idle slot, and the memory of 1,000 polls that are held. The server is a process of its own, and
so are the embedded broker (or another one, by --url) and the client.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import socket
import statistics
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pika

from reworker.storage.opening import open_storage
from tests.bench.bench_worker import usage
from tests.support.conductor_site import client_process
from tests.support.processes import Process
from tests.support.waiting import wait_until

TYPE, REPLY_QUEUE = "idle", "bench.replies"
#: tasks of one run, of those that warm up, and of the measurement of single ones.
TASK_COUNT, WARM_UP_COUNT, SINGLE_COUNT = 5000, 300, 100
#: threads of the client: it asks for so many tasks at once.
THREAD_COUNT = 10
#: seconds between two single tasks, over which an idle client is watched, and that all may take.
PAUSE_S, IDLE_S, LIMIT_S = 0.1, 20.0, 60.0
HELD_COUNT = 1000
_BODY = json.dumps(
    {
        "group": "bench",
        "parameters": {"command": TYPE, "subcommand": "Do", "hosts": ["web1"], "speed": 3},
        "dynamic": {},
    }
).encode()


class Queue:
    """Steps for the client, and what becomes of them.

    Args:
        url: of the broker.
    """

    def __init__(self, url: str) -> None:
        self._connection = pika.BlockingConnection(pika.URLParameters(url))
        wait_until(self._is_there, 60)
        self._channel = self._connection.channel()
        self._channel.queue_declare(REPLY_QUEUE, durable=True)
        self._count = 0

    def _is_there(self) -> bool:
        """Tell whether somebody has polled, which makes the queue."""
        channel = self._connection.channel()
        try:
            channel.queue_declare(f"worker.{TYPE}", passive=True)
        except pika.exceptions.ChannelClosedByBroker:
            return False
        channel.close()
        return True

    def put(self, count: int) -> float:
        """Put steps in; return when, seconds since 1970."""
        for _ in range(count):
            self._count += 1
            properties = pika.BasicProperties(
                delivery_mode=2,
                correlation_id=f"{self._count:024x}.1",
                message_id=f"m{self._count}",
                reply_to=REPLY_QUEUE,
                content_type="application/json",
                headers={"x-reworker": 2, "x-attempt": 1, "x-idempotent": True},
            )
            self._channel.basic_publish("re", f"worker.{TYPE}", _BODY, properties)
        return time.time()

    def ends(self, count: int) -> list[dict[str, float]]:
        """Wait for the ends of so many steps; return what the client said of each."""
        found: list[dict[str, float]] = []
        for method, _, body in self._channel.consume(REPLY_QUEUE, auto_ack=True, inactivity_timeout=LIMIT_S):
            assert method is not None, f"{len(found)} of {count} steps have ended in {LIMIT_S:g} s"
            reply = json.loads(body)
            if reply["status"] in ("completed", "failed"):
                assert reply["status"] == "completed", reply
                found.append(reply["data"])
            if len(found) == count:
                break
        return found


@contextlib.contextmanager
def served(folder: Path, url: str) -> Iterator[tuple[str, Process, str]]:
    """Run the server, and a broker unless one is named; give (address, server, URL of the broker)."""
    with contextlib.ExitStack() as stack:
        if not url:
            broker = _started(stack, "broker", "--port", "0", "--store", str(folder / "broker.db"))
            broker.wait_for_line("amqp://")
            found = re.search(r"amqp://\S*?([\d.]+:\d+)", broker.output)
            assert found is not None, broker.output
            url = f"amqp://guest:guest@{found[1]}/"
        db = f"sqlite:///{folder / 'bench.db'}"
        open_storage(db).close()
        options = ("--db", db, "--mq", url, "--port", "0", "--no-auth", "--conductor")
        server = _started(stack, "web", *options)
        server.wait_for_line("workers of Conductor")
        address = re.search(r"workers of Conductor: (\S+)/api", server.output)
        assert address is not None, server.output
        yield address[1], server, url


def _started(stack: contextlib.ExitStack, *arguments: str) -> Process:
    made = Process("-m", "reworker", *arguments)
    stack.callback(made.close)
    return made


def polls(address: str) -> int:
    """Return how often the server was polled."""
    with urllib.request.urlopen(f"{address}/metrics") as answer:
        found = re.search(r"^reworker_gateway_polls_total (\d+)", answer.read().decode(), re.MULTILINE)
    assert found is not None
    return int(found[1])


def held_mib(address: str, server: Process) -> float:
    """Return how much memory the server takes more while so many polls are held."""
    before_mib, _ = usage(server.pid)
    parts = urlsplit(address)
    request = f"GET /api/tasks/poll/held HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode()
    with contextlib.ExitStack() as stack:
        for _ in range(HELD_COUNT):
            made = stack.enter_context(socket.create_connection((str(parts.hostname), parts.port)))
            made.sendall(request)
        waiting = re.compile(rf"^reworker_gateway_waiting_polls {HELD_COUNT}", re.MULTILINE)

        def are_held() -> bool:
            with urllib.request.urlopen(f"{address}/metrics") as answer:
                return bool(waiting.search(answer.read().decode()))

        wait_until(are_held, 5)
        return usage(server.pid)[0] - before_mib


def figures(url: str = "", task_count: int = TASK_COUNT) -> dict[str, float]:
    """Return all figures.

    Args:
        url: of a broker; empty runs the embedded one.
        task_count: for tasks per second.
    """
    with tempfile.TemporaryDirectory() as name, served(Path(name), url) as (address, server, broker_url):
        found = {"held_mib": held_mib(address, server)}
        environment = {"CONDUCTOR_SERVER_URL": f"{address}/api"}
        arguments = ("conductor_idle.py", Path(name), environment, TYPE, str(THREAD_COUNT))
        with contextlib.closing(client_process(*arguments)):
            wait_until(lambda: polls(address) > HELD_COUNT, 60)
            queue = Queue(broker_url)
            queue.put(WARM_UP_COUNT)
            queue.ends(WARM_UP_COUNT)
            _, before_cpu_s = usage(server.pid)
            began_s = queue.put(task_count)
            queue.ends(task_count)
            found["tasks_per_s"] = task_count / (time.time() - began_s)
            found["server_cpu_ms"] = (usage(server.pid)[1] - before_cpu_s) / task_count * 1000
            found |= _single(queue)
            before = polls(address)
            threading.Event().wait(IDLE_S)
            found["idle_polls_per_s"] = (polls(address) - before) / IDLE_S
        return found


def _single(queue: Queue) -> dict[str, float]:
    """Return how long single tasks took from their publishing to the function of an idle worker."""
    took_s, pause = [], threading.Event()
    for _ in range(SINGLE_COUNT):
        pause.wait(PAUSE_S)
        began_s = queue.put(1)
        took_s.append(queue.ends(1)[0]["at"] - began_s)
    cuts = statistics.quantiles(took_s, n=100)
    return {"pickup_p50_ms": cuts[49] * 1000, "pickup_p95_ms": cuts[94] * 1000}


def shown(found: dict[str, float]) -> str:
    """Return figures as lines."""
    return "\n".join(f"{name:<17} {value:9.2f}" for name, value in found.items())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="", help="of a broker in place of the embedded one")
    parser.add_argument("--tasks", type=int, default=TASK_COUNT)
    chosen = parser.parse_args()
    print(shown(figures(chosen.url, chosen.tasks)))
