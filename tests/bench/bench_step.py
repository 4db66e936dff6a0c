"""W1: processor time and throughput of one step, against a hand-written pika consumer.

    python -m tests.bench.bench_step [--url URL] [--steps N] [--pairs N] [--prefetch N] [--write PAGE]

It and two consumers on bare pika, one that sends the same replies and one that sends them without an id and
headers, run in turn (A B C A B C ...), each in a process of its own on a queue filled beforehand; medians and
their ratios are printed with the machine, the versions and the settings.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

import pika

from tests.bench.pages import place, written
from tests.bench.step_contenders import QUEUE, REPLY_QUEUE, WARM_UP_COUNT
from tests.support.rabbitmq import RabbitMQNode

STEP_BYTES = 250
BASELINES = ("hand-written", "plain")
MARK = "step"
TITLES = {
    "hand-written": "hand-written pika consumer, the same replies",
    "plain": "hand-written pika consumer, replies without id and headers",
    "worker": "`Worker` with one `@step`, one instance",
    "bus": "our bus alone, one thread",
}
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


def compare(contender: str, url: str, *, steps: int, pairs: int, prefetch: int) -> list[str]:
    """Run it and both baselines in turn and return what was measured: a line of settings, then a table."""
    version = fill(url, 0)
    results: dict[str, list[tuple[float, float]]] = {name: [] for name in (*BASELINES, contender)}
    for _ in range(pairs):
        for name, runs in results.items():
            runs.append(run_once(name, url, steps, prefetch))
    lines = [
        f"{place()}; pika {pika.__version__}, RabbitMQ {version}; {steps} steps of {STEP_BYTES} bytes, "
        f"{pairs} runs in turn, medians, prefetch {prefetch}; persistent, mandatory, confirms on, "
        "acknowledged late.",
        "",
        "| | processor time per step | steps per second | of each run, µs |",
        "|---|---|---|---|",
    ]
    medians = {}
    for name, runs in results.items():
        medians[name] = cpu_us, per_s = [median(run[index] for run in runs) for index in (0, 1)]
        spread = ", ".join(f"{run[0]:.0f}" for run in runs)
        lines.append(f"| {TITLES[name]} | {cpu_us:.0f} µs | {per_s:,.0f} | {spread} |")
    cpu_us, per_s = medians[contender]
    for name, of in zip(BASELINES, ("the first", "the second"), strict=True):
        lines.append(
            f"| ratio to {of} | **{cpu_us / medians[name][0]:.2f}** | **{per_s / medians[name][1]:.2f}** | |"
        )
    return lines


def main() -> None:
    """Read the arguments, start a broker unless one is named, print the report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--url", help="a broker to use; without it a private RabbitMQ is started")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--prefetch", type=int, default=32)
    parser.add_argument("--contender", choices=["bus", "worker"], nargs="+", default=["worker", "bus"])
    parser.add_argument("--write", type=Path, help="page that the figures go to")
    given = parser.parse_args()
    options = {"steps": given.steps, "pairs": given.pairs, "prefetch": given.prefetch}
    lines: list[str] = []
    with contextlib.nullcontext() if given.url else RabbitMQNode() as node:
        for contender in given.contender:
            lines += [*compare(contender, given.url or node.url(), **options), ""]
    print("\n".join(lines))
    if given.write:
        given.write.write_text(written(given.write.read_text(), MARK, lines))


if __name__ == "__main__":
    main()
