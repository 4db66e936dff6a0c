"""How a worker starts, idles, grows with its processes and comes back: workloads W6, W7 and W8.

    python -m tests.bench.bench_worker [--only NAME ...] [--rounds N] [--write PAGE]

Others are measured beside it where they have the same: Celery (solo) and Dramatiq (one thread).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from tests.bench.bench_jobs import versions
from tests.bench.bench_step import fill as fill_steps
from tests.bench.job_contenders import JOB_S
from tests.bench.pages import place, written
from tests.bench.shares import parent_group, share
from tests.bench.step_contenders import WARM_UP_COUNT
from tests.support.rabbitmq import RabbitMQNode
from tests.support.waiting import wait_until

#: seconds that anything may take at most.
LIMIT_S = 120.0
#: seconds over which an idle worker is watched.
IDLE_S = 20.0
#: seconds without a job after which a contender has none left.
SILENCE_S = 2.0
#: jobs after which some were delivered anew; others were in the hands of the contender all the time.
FRESH_COUNT = 40
SCALE_STEPS = 6000
#: of a processor, and steps of each process, where processes are held to a share.
SHARE, SHARED_STEPS = 0.1, 3000
#: jobs of 10 ms each: the broker stops and starts while there are some left.
RECOVER_JOBS = 3000
MARK = "worker"
#: measured beside our own where they are installed.
OTHERS = ("reworker", "Dramatiq", "Celery solo")


class Contender:
    """A consumer of `job_contenders` that writes a line per job; ends with the block."""

    def __init__(self, name: str, url: str, count: int) -> None:
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  # closed at the end of the block
        command = [sys.executable, "-m", "tests.bench.job_contenders", name, url, str(count), "10"]
        self.began_s = time.monotonic()
        self.popen = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,
            env={**os.environ, "BENCH_TICKS": "1"},
        )

    def wait_for_jobs(self, count: int = 1) -> float:
        """Return when so many more jobs were done, monotonic seconds."""
        assert self.popen.stdout is not None
        while count > 0:
            is_ready, _, _ = select.select([self.popen.stdout], [], [], LIMIT_S)
            lines = os.read(self.popen.stdout.fileno(), 1 << 16) if is_ready else b""
            if not lines:
                self._errors.seek(0)
                raise RuntimeError(f"no job was done:\n{self._errors.read()[-3000:]}")
            count -= len(lines)
        return time.monotonic()

    def drain(self) -> None:
        """Forget the lines that are there, and those of jobs that it has taken already."""
        assert self.popen.stdout is not None
        while select.select([self.popen.stdout], [], [], SILENCE_S)[0]:
            if not os.read(self.popen.stdout.fileno(), 1 << 16):
                return

    def __enter__(self) -> Contender:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.communicate()
        self._errors.close()


def usage(pid: int) -> tuple[float, float]:
    """Return (MiB of memory, seconds of processor time) of a process."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    rss_kib = int(status.partition("VmRSS:")[2].split()[0])
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return rss_kib / 1024, (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def scale(node: RabbitMQNode, rounds: int) -> Iterator[str]:
    """W6: steps per second with 1, 2 and 4 processes on one queue, as fast as they can."""
    for count in (1, 2, 4):
        runs = [steps_by_many(node, count, SCALE_STEPS // count) for _ in range(rounds)]
        yield (
            f"{count} process{'es' * (count > 1)}: {median(rate for rate, _ in runs):,.0f} steps/s, "
            f"{1e6 * median(cost_s for _, cost_s in runs):.0f} µs of processor time per step"
        )


def scale_by_shares(node: RabbitMQNode, rounds: int) -> Iterator[str]:
    """W6 where the machine is not the limit: each process is held to a tenth of a processor."""
    if (parent := parent_group()) is None:
        yield "processes held to a tenth of a processor: needs root and control groups"
        return
    runs: dict[int, list[float]] = {1: [], 2: [], 4: []}
    for _ in range(rounds):
        for count, rates in runs.items():
            with contextlib.ExitStack() as groups:
                shares = [groups.enter_context(share(parent, SHARE)) for _ in range(count)]
                rates.append(steps_by_many(node, count, SHARED_STEPS, shares)[0])
    one = median(runs[1])
    yield "each process held to a tenth of a processor: " + ", ".join(
        f"{count} process{'es' * (count > 1)} {median(rates):,.0f} steps/s"
        + f" ({100 * median(rates) / (count * one):.0f} % of linear)" * (count > 1)
        for count, rates in runs.items()
    )


def steps_by_many(
    node: RabbitMQNode, count: int, steps: int, shares: Sequence[Path] = ()
) -> tuple[float, float]:
    """Return (steps per second of all, processor seconds per step) of so many processes with `steps` each.

    All of them have steps until the last one has done its own, for the queue holds more.
    """
    url = node.url(node.add_vhost(uuid.uuid4().hex))
    fill_steps(url, count * (2 * steps + WARM_UP_COUNT))
    command = [sys.executable, "-m", "tests.bench.step_contenders", "worker", url, str(steps), "32"]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(count)]
    for process, group in zip(running, shares, strict=False):
        (group / "cgroup.procs").write_text(str(process.pid), encoding="ascii")
    figures = [json.loads(one.communicate(timeout=LIMIT_S)[0].splitlines()[-1]) for one in running]
    rate = sum(one["steps"] / one["wall_s"] for one in figures)
    return rate, sum(one["cpu_s"] for one in figures) / sum(one["steps"] for one in figures)


def start(node: RabbitMQNode, rounds: int) -> Iterator[str]:
    """W7: from the start of a process to its first job, memory and idle processor time."""
    times = []
    for _ in range(rounds):
        began_s = time.monotonic()
        subprocess.run([sys.executable, "-c", "import reworker.worker"], check=True)
        middle_s = time.monotonic()
        subprocess.run([sys.executable, "-c", "pass"], check=True)
        times.append(2 * middle_s - began_s - time.monotonic())
    yield f"import reworker.worker: {median(times):.2f} s"
    for name in _installed():
        waits = [_first_job(node, name, is_watched=False)[0] for _ in range(rounds)]
        _, mib, cpu_percent = _first_job(node, name, is_watched=True)
        yield (
            f"{name}: {median(waits):.2f} s from its start to its first job (jobs are put in meanwhile), "
            f"{mib:.0f} MiB, {cpu_percent:.2f} % of a processor when idle"
        )


def _first_job(node: RabbitMQNode, name: str, *, is_watched: bool) -> tuple[float, float, float]:
    """Return (seconds to the first job, MiB, percent of a processor when idle); the latter two if watched."""
    with Contender(name, node.url(node.add_vhost(uuid.uuid4().hex)), 10) as contender:
        wait_s = contender.wait_for_jobs() - contender.began_s
        if not is_watched:
            return wait_s, 0.0, 0.0
        contender.drain()
        before_s = usage(contender.popen.pid)[1]
        time.sleep(IDLE_S)
        mib, after_s = usage(contender.popen.pid)
    return wait_s, mib, 100 * (after_s - before_s) / IDLE_S


def recover(node: RabbitMQNode, rounds: int) -> Iterator[str]:
    """W8: from the moment that the broker accepts connections again to the next job."""
    for name in _installed():
        waits = [_return(node, name) for _ in range(rounds)]
        yield (
            f"{name}: {median(waits):.1f} s from the broker's return to the next job "
            f"(longest {max(waits):.1f} s)"
        )


def _return(node: RabbitMQNode, name: str) -> float:
    """Restart the broker under a contender; return the seconds that it takes to be back."""
    with Contender(name, node.url(node.add_vhost(uuid.uuid4().hex)), RECOVER_JOBS) as contender:
        contender.wait_for_jobs()
        node.stop()
        contender.drain()
        starter = threading.Thread(target=node.start)
        starter.start()
        wait_until(lambda: _is_listening(node.port), LIMIT_S, "the broker to listen", poll_s=0.005)
        began_s = time.monotonic()
        wait_s = contender.wait_for_jobs(FRESH_COUNT) - began_s - FRESH_COUNT * JOB_S
        starter.join()
    return wait_s


def _installed() -> list[str]:
    known = versions()
    return [name for name in OTHERS if name in known]


def _is_listening(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


WORKLOADS = {"scale": scale, "shares": scale_by_shares, "start": start, "recover": recover}


def main() -> None:
    """Read the arguments, measure, print, put the lines on the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=WORKLOADS, default=[])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", type=Path, help="page that the figures go to")
    given = parser.parse_args()
    with RabbitMQNode() as node:
        lines = [f"{place()}; RabbitMQ {node.version}; medians of {given.rounds}.", ""]
        for name, workload in WORKLOADS.items():
            if given.only and name not in given.only:
                continue
            for line in workload(node, given.rounds):
                print(f"- {line}", flush=True)
                lines.append(f"- {line}")
    if given.write:
        given.write.write_text(written(given.write.read_text(), MARK, lines))


if __name__ == "__main__":
    main()
