"""What a core and a server of HTTP take while nobody wants anything: memory and processor time.

`python -m tests.bench.bench_idle` prints them: for both as processes of their own, and for `serve`, which is
both in one; on one SQLite file and the embedded broker. Modules that were never compiled before make the
first run larger: take the second.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from reworker.broker.server import BrokerThread
from tests.support.processes import Process

#: seconds until both rest, and over which they are watched.
SETTLE_S, IDLE_S = 12.0, 20.0

#: runs processes for a block, in a folder.
Way = Callable[[Path], contextlib.AbstractContextManager[dict[str, Process]]]


@contextlib.contextmanager
def apart(folder: Path) -> Iterator[dict[str, Process]]:
    """Run a core and a server, whose login page was seen once."""
    db = f"sqlite:///{folder / 'apart.db'}"
    with contextlib.ExitStack() as stack:
        mq = stack.enter_context(BrokerThread()).url()
        core = _started(stack, "core", "--mq", mq, "--db", db)
        core.wait_for_line("core core runs")
        web = _started(stack, "web", "--mq", mq, "--db", db, "--port", "0")
        _see(web)
        yield {"core": core, "web": web}


@contextlib.contextmanager
def together(folder: Path) -> Iterator[dict[str, Process]]:
    """Run both in one process."""
    db = f"sqlite:///{folder / 'together.db'}"
    with contextlib.ExitStack() as stack:
        mq = stack.enter_context(BrokerThread()).url()
        served = _started(stack, "serve", "--mq", mq, "--db", db, "--port", "0")
        _see(served)
        yield {"serve": served}


def _started(stack: contextlib.ExitStack, *arguments: str) -> Process:
    return stack.enter_context(contextlib.closing(Process("-m", "reworker", *arguments)))


def _see(server: Process) -> None:
    server.wait_for_line("ready: ")
    address = re.search(r"ready: (http://\S+)", server.output)
    assert address is not None
    urllib.request.urlopen(f"{address[1]}/login", timeout=10).close()


def _memory_mib(pid: int) -> float:
    """Return what a process has alone, and its share of what it has with others."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"^Pss: +(\d+) kB", text, re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


def _processor_s(pid: int) -> float:
    """Return the processor time of all threads, to the nanosecond."""
    stats = (one.read_text() for one in Path(f"/proc/{pid}/task").glob("*/schedstat"))
    return sum(int(one.split()[0]) for one in stats) / 1e9


def figures(idle_s: float = IDLE_S) -> dict[str, float]:
    """Return all figures."""
    return {name: value for way in (apart, together) for name, value in _watched(way, idle_s).items()}


def _watched(way: Way, idle_s: float) -> dict[str, float]:
    pause = threading.Event()
    with tempfile.TemporaryDirectory() as folder, way(Path(folder)) as processes:
        pause.wait(SETTLE_S)
        before = {name: _processor_s(one.pid) for name, one in processes.items()}
        pause.wait(idle_s)
        found = {}
        for name, one in processes.items():
            found[f"{name}_mib"] = _memory_mib(one.pid)
            found[f"{name}_percent"] = 100 * (_processor_s(one.pid) - before[name]) / idle_s
        return found


if __name__ == "__main__":
    for name, value in figures().items():
        print(f"{name:<14} {value:8.2f}")
