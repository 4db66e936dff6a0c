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
LANGUAGES = ("go", "node", "shell")
#: seconds to compile a worker and the standard library below it, on a busy day.
BUILD_S = 100.0


class Program(NamedTuple):
    """What to run, and with what in its environment."""

    command: list[str]
    environment: Mapping[str, str]


def needs(language: str) -> dict[str, bool]:
    """Return what a language needs, and whether it is there."""
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


def program(language: str, url: str, queue: str, folder: Path) -> Program:
    """Return the program of a worker that is not started yet.

    Args:
        language: one of `LANGUAGES`, or python for ours.
        url: of the broker.
        queue: of the worker, `worker.<command>`.
        folder: for what it compiles and keeps; shared by workers of a language, it saves compiling.
    """
    if language == "go":
        return Program([str(_built(folder)), url, queue], {})
    if language == "node":
        script = str(EXAMPLES / "node" / "frob.js")
        return Program(["node", script, url, queue], {"NODE_PATH": str(NPM_FOLDER / "node_modules")})
    if language == "shell":
        declare(url, queue)
        script = str(EXAMPLES / "shell" / "frob.sh")
        return Program([script, url, queue], {"FROB_STATE": str(folder / "state")})
    suffix = queue.removeprefix("worker.")
    words = ["-m", "reworker", "worker", "tests.support.frob_worker:FrobWorker", url]
    return Program([sys.executable, *words], {"PYTHONPATH": str(ROOT), "REWORKER_FROBWORKER_QUEUE": suffix})


def start(language: str, url: str, queue: str, folder: Path) -> subprocess.Popen[bytes]:
    """Start a worker, leader of a process group of its own; see `program`. Whoever starts it ends it."""
    command, environment = program(language, url, queue, folder)
    return subprocess.Popen(command, env={**os.environ, **environment}, start_new_session=True)


def declare(url: str, queue: str) -> None:
    """Make the queue of a worker that cannot, as `reworker topology apply` does."""
    bus = PikaBus(mq_settings(url), name="declare")
    bus.open(timeout_s=30)
    bus.declare(worker_topology(queue, [queue]))
    bus.close()


def _built(folder: Path) -> Path:
    """Return the compiled worker in Go; with the sources that Debian has, and nothing from elsewhere."""
    target = folder / "frob-go"
    if not target.exists():
        environment = {**os.environ, "GO111MODULE": "off", "GOPATH": str(GO_PATH), "GOFLAGS": ""}
        sources = sorted(str(path) for path in (EXAMPLES / "go").glob("*.go"))
        built = subprocess.run(
            ["go", "build", "-o", str(target), *sources],
            env=environment,
            capture_output=True,
            text=True,
            timeout=BUILD_S,
            check=False,
        )
        assert built.returncode == 0, built.stderr
    return target
