"""W1: processor time and throughput of one step, against a hand-written pika consumer.

    python -m tests.bench.bench_step [--url URL] [--steps N] [--pairs N] [--prefetch N] [--contender NAME]

The two run in turn (A B A B ...), each in a process of its own on a queue filled beforehand; medians and
their ratio are printed with the machine, the versions and the settings.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from statistics import median
from typing import Any

import pika

from tests.bench.step_contenders import QUEUE, REPLY_QUEUE, WARM_UP_COUNT
from tests.support.rabbitmq import RabbitMQNode

STEP_BYTES = 250
BASELINE = "hand-written"
TOPOLOGY_ARGUMENTS = {"x-dead-letter-exchange": "re.dead"}


def step_body() -> bytes:
    """Return a step message of 250 bytes."""
    parameters = {"command": "bench", "subcommand": "Frob", "hosts": ["web1.example"], "speed": 7}
    message: dict[str, Any] = {"group": "", "parameters": parameters, "dynamic": {}, "notify": {}}
    message["group"] = "g" * (STEP_BYTES - len(json.dumps(message)))
    return json.dumps(message).encode()


def fill(url: str, count: int) -> str:
    """Put steps into the queue and empty that of the replies; return the broker's version."""
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.queue_declare(QUEUE, durable=True, arguments=TOPOLOGY_ARGUMENTS)
    channel.queue_declare(REPLY_QUEUE, durable=True)
    channel.queue_purge(QUEUE)
    channel.queue_purge(REPLY_QUEUE)
    for number in range(count):
        properties = pika.BasicProperties(
            delivery_mode=2,
            correlation_id=f"{number:024x}.1",
            reply_to=REPLY_QUEUE,
            message_id=f"m{number}",
            content_type="application/json",
            headers={"x-reworker": 2, "x-attempt": 1, "x-idempotent": True},
        )
        channel.basic_publish("", QUEUE, step_body(), properties)
    version = str(connection._impl.server_properties["version"])
    connection.close()
    return version


def run_once(name: str, url: str, steps: int, prefetch: int) -> tuple[float, float]:
    """Return (microseconds of processor time per step, steps per second) of one run."""
    # what is unacknowledged when a contender ends goes back, and is purged with the next filling
    fill(url, steps + WARM_UP_COUNT + prefetch)
    command = [sys.executable, "-m", "tests.bench.step_contenders", name, url, str(steps), str(prefetch)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode or not done.stdout:
        raise RuntimeError(f"{name} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    figures = json.loads(done.stdout.splitlines()[-1])
    return figures["cpu_s"] / figures["steps"] * 1e6, figures["steps"] / figures["wall_s"]


def compare(contender: str, url: str, *, steps: int, pairs: int, prefetch: int) -> str:
    """Run both in turn and return the report."""
    version = fill(url, 0)
    results: dict[str, list[tuple[float, float]]] = {BASELINE: [], contender: []}
    for _ in range(pairs):
        for name, runs in results.items():
            runs.append(run_once(name, url, steps, prefetch))
    lines = [
        f"W1 step: {steps} steps of {STEP_BYTES} bytes, {pairs} pairs, prefetch {prefetch}, persistent, "
        "mandatory, confirms on, late acknowledgement",
        f"machine: {platform.machine()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}; "
        f"Python {platform.python_version()}, pika {pika.__version__}, RabbitMQ {version}",
    ]
    medians = {}
    for name, runs in results.items():
        cpu_us, per_s = (median(run[index] for run in runs) for index in (0, 1))
        medians[name] = (cpu_us, per_s)
        spread = ", ".join(f"{run[0]:.0f}" for run in runs)
        lines.append(
            f"  {name:<14}{cpu_us:7.1f} us CPU/step {per_s:8.0f} steps/s   (CPU of each run: {spread})"
        )
    (cpu_a, rate_a), (cpu_b, rate_b) = medians[BASELINE], medians[contender]
    lines.append(f"  ratio         {cpu_b / cpu_a:7.2f} CPU         {rate_b / rate_a:8.2f} throughput")
    return "\n".join(lines)


def main() -> None:
    """Read the arguments, start a broker unless one is named, print the report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--url", help="a broker to use; without it a private RabbitMQ is started")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--prefetch", type=int, default=32)
    parser.add_argument("--contender", choices=["bus", "worker"], default="worker")
    given = parser.parse_args()
    options = {"steps": given.steps, "pairs": given.pairs, "prefetch": given.prefetch}
    if given.url:
        print(compare(given.contender, given.url, **options))
        return
    with RabbitMQNode() as node:
        print(compare(given.contender, node.url(), **options))


if __name__ == "__main__":
    main()
