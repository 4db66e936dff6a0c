"""W2: processor time of a job that does nothing, against other Python libraries on RabbitMQ.

    python -m tests.bench.bench_jobs [--jobs N] [--rounds N] [--prefetch N] [--only NAME ...] [--write PAGE]

All run in turn (A B C ... A B C ...), each in a process of its own on a virtual host of its own that was
filled beforehand. A library that is not installed is named and left out; the extra `bench` has all.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from tests.bench.job_contenders import CONTENDERS, PACKAGES, WARM_UP_COUNT
from tests.bench.pages import chart, place, written
from tests.support.rabbitmq import RabbitMQNode

OURS = "reworker"
#: seconds that one run may take at most.
LIMIT_S = 300.0
MARK = "jobs"
SETTINGS = (
    "persistent messages on a durable queue, one worker thread or process, late acknowledgement, no results, "
    "no events, no log per job"
)


def versions() -> dict[str, str]:
    """Return the version of each contender that is installed."""
    found = {OURS: ""}
    for name in CONTENDERS:
        try:
            found[name] = importlib.metadata.version(PACKAGES.get(name, "reworker"))
        except importlib.metadata.PackageNotFoundError:
            print(f"{name} is not installed and is left out: pip install 'reworker[bench]'", file=sys.stderr)
    return found


def run_once(name: str, url: str, jobs: int, prefetch: int) -> tuple[float, float]:
    """Return (microseconds of processor time per job, jobs per second) of one run."""
    command = [sys.executable, "-m", "tests.bench.job_contenders", name, url, str(jobs), str(prefetch)]
    with tempfile.TemporaryFile("w+") as errors:
        popen = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, start_new_session=True, text=True
        )
        assert popen.stdout is not None
        try:
            is_ready, _, _ = select.select([popen.stdout], [], [], LIMIT_S)
            line = popen.stdout.readline() if is_ready else ""
        finally:
            os.killpg(popen.pid, signal.SIGKILL)
            popen.communicate()
        if not line:
            errors.seek(0)
            raise RuntimeError(f"{name} gave no figures:\n{errors.read()[-3000:]}")
    figures = json.loads(line)
    return figures["cpu_s"] / figures["jobs"] * 1e6, figures["jobs"] / figures["wall_s"]


def measured(
    url_of: Iterator[str], names: list[str], jobs: int, rounds: int, prefetch: int
) -> dict[str, list[tuple[float, float]]]:
    """Run all in turn; return the figures of every run by name.

    Args:
        url_of: gives the URL of an empty virtual host each time.
        names: of contenders.
        jobs: in each run, after the warm-up.
        rounds: how often all run.
        prefetch: deliveries on their way to each.
    """
    results: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for _ in range(rounds):
        for name, runs in results.items():
            runs.append(run_once(name, next(url_of), jobs, prefetch))
    return results


def report(results: dict[str, list[tuple[float, float]]], known: dict[str, str]) -> list[str]:
    """Return the table, the cheapest first."""
    medians = {
        name: tuple(median(run[index] for run in runs) for index in (0, 1)) for name, runs in results.items()
    }
    own = medians.get(OURS)
    lines = ["| | version | processor time per job | jobs per second | ours takes |", "|---|---|---|---|---|"]
    for name, (cpu_us, per_s) in sorted(medians.items(), key=lambda one: one[1]):
        ratio = f"{own[0] / cpu_us:.2f} of it" if own and name != OURS else ""
        shown = f"**{name}**" if name == OURS else name
        lines.append(f"| {shown} | {known[name]} | {cpu_us:.0f} µs | {per_s:,.0f} | {ratio} |")
    return lines


def main() -> None:
    """Read the arguments, run all in turn, print the table and put it on the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prefetch", type=int, default=100)
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=[])
    parser.add_argument("--write", type=Path, help="page that the table and the plot go to")
    given = parser.parse_args()
    known = versions()
    names = [name for name in CONTENDERS if name in known and (not given.only or name in given.only)]
    with RabbitMQNode() as node:
        urls = (node.url(node.add_vhost(uuid.uuid4().hex)) for _ in iter(int, 1))
        results = measured(urls, names, given.jobs, given.rounds, given.prefetch)
        title = (
            f"{place()}; RabbitMQ {node.version}; {SETTINGS}; prefetch {given.prefetch}, {given.jobs} jobs "
            f"after {WARM_UP_COUNT}, medians of {given.rounds} runs in turn."
        )
    lines = [title, "", *report(results, known)]
    print("\n".join(lines))
    if given.write:
        cpu = {name: median(run[0] for run in runs) for name, runs in results.items()}
        picture = chart(given.write, "jobs", "processor time per job, µs", cpu, OURS)
        given.write.write_text(
            written(given.write.read_text(), MARK, [*lines, "", f"![processor time per job]({picture})"])
        )


if __name__ == "__main__":
    main()
