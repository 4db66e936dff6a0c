"""The workers of docs/examples as processes: in Go, in Node and in shell; and the same job on our library."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from reworker.bus.connection import PikaBus
from reworker.config import mq_settings
from reworker.topology.model import worker_topology
from tests.support.iron_site import NPM_FOLDER

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "docs" / "examples"
#: where Debian keeps sources of Go libraries.
GO_PATH = Path("/usr/share/gocode")
GO_LIBRARY = GO_PATH / "src" / "github.com" / "rabbitmq" / "amqp091-go"
#: the language and the level of each worker, by name.
WORKERS = {
    "go1": ("go", 1),
    "go2": ("go", 2),
    "node1": ("node", 1),
    "node2": ("node", 2),
    "shell": ("shell", 2),
}
#: those that end when they lose their connection, and those that connect again and know what comes twice.
LEVEL_1, LEVEL_2 = (tuple(name for name, kind in WORKERS.items() if kind[1] == level) for level in (1, 2))
#: seconds to compile a worker and the standard library below it, on a busy day.
BUILD_S = 100.0


class Program(NamedTuple):
    """What to run, and with what in its environment."""

    command: list[str]
    environment: Mapping[str, str]


def needs(worker: str) -> dict[str, bool]:
    """Return what one of `WORKERS`, or ours, needs, and whether it is there."""
    language, _ = WORKERS.get(worker, (worker, 2))
    return {
        "go": {"Go": shutil.which("go") is not None, "amqp091-go of Debian": GO_LIBRARY.is_dir()},
        "node": {
            "Node": shutil.which("node") is not None,
            "amqplib of npm": (NPM_FOLDER / "node_modules" / "amqplib").is_dir(),
        },
        "shell": {
            "amqp-tools": shutil.which("amqp-consume") is not None,
            "jq": shutil.which("jq") is not None,
        },
        "python": {},
    }[language]


def program(worker: str, url: str, queue: str, folder: Path) -> Program:
    """Return the program of a worker that is not started yet.

    Args:
        worker: one of `WORKERS`, or python for ours.
        url: of the broker.
        queue: of the worker, `worker.<command>`.
        folder: for what it compiles and keeps; shared by workers of a language, it saves compiling.
    """
    language, level = WORKERS.get(worker, (worker, 2))
    if language == "go":
        return Program([str(_built(folder, level)), url, queue], {})
    if language == "node":
        script = str(EXAMPLES / "node" / f"level{level}.js")
        return Program(["node", script, url, queue], {"NODE_PATH": str(NPM_FOLDER / "node_modules")})
    if language == "shell":
        declare(url, queue)
        script = str(EXAMPLES / "shell" / "frob.sh")
        return Program([script, url, queue], {"FROB_STATE": str(folder / "state")})
    suffix = queue.removeprefix("worker.")
    words = ["-m", "reworker", "worker", "tests.support.frob_worker:FrobWorker", url]
    return Program([sys.executable, *words], {"PYTHONPATH": str(ROOT), "REWORKER_FROBWORKER_QUEUE": suffix})


def kept_alive(found: Program) -> Program:
    """Return a program that starts another one again whenever it fails, as the page says."""
    loop = 'until "$0" "$@"; do sleep 1; done'
    return Program(["sh", "-c", loop, *found.command], found.environment)


def start(worker: str, url: str, queue: str, folder: Path) -> subprocess.Popen[bytes]:
    """Start a worker, leader of a process group of its own; see `program`. Whoever starts it ends it."""
    command, environment = program(worker, url, queue, folder)
    return subprocess.Popen(command, env={**os.environ, **environment}, start_new_session=True)


def declare(url: str, queue: str) -> None:
    """Make the queue of a worker that cannot, as `reworker topology apply` does."""
    bus = PikaBus(mq_settings(url), name="declare")
    bus.open(timeout_s=30)
    bus.declare(worker_topology(queue, [queue]))
    bus.close()


def _built(folder: Path, level: int) -> Path:
    """Return a compiled worker in Go; with the sources that Debian has, and nothing from elsewhere."""
    target = folder / f"frob-go-{level}"
    if not target.exists():
        built = in_go_folder("go", "build", "-o", str(target), f"./level{level}")
        assert built.returncode == 0, built.stderr
    return target


def in_go_folder(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the folder of the examples in Go, and return how it ended."""
    environment = {**os.environ, "GO111MODULE": "off", "GOPATH": str(GO_PATH), "GOFLAGS": ""}
    return subprocess.run(
        words,
        cwd=EXAMPLES / "go",
        env=environment,
        capture_output=True,
        text=True,
        timeout=BUILD_S,
        check=False,
    )
