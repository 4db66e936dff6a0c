"""Runs of the conformance kit as processes at once, each with a worker and a virtual host of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.foreign_workers import Program
from tests.support.processes import Process

QUEUE = "worker.frob"
#: seconds of a long step: as short as the kit allows.
LONG_S = 2
PARAMETERS = {
    "--parameters": {"subcommand": "add", "a": 1, "b": 2},
    "--fail-parameters": {"subcommand": "add", "a": 999, "b": 2},
    "--long-parameters": {"subcommand": "add", "a": 1, "b": 2, "seconds": LONG_S},
}
READY_S, RUN_S = 60.0, 100.0


class Run(NamedTuple):
    """How one ended.

    Args:
        exit_code: of the kit.
        output: what it printed.
        worker: what its worker printed.
    """

    exit_code: int
    output: str
    worker: str

    @property
    def report(self) -> dict[str, Any]:
        """The report of a run with ``--json``."""
        found: dict[str, Any] = json.loads(self.output.splitlines()[-1])
        return found

    def names(self, support: str) -> set[str]:
        """Return the checks that ended like this."""
        return {one["check"] for one in self.report["findings"] if one["support"] == support}

    def finding(self, check: str) -> dict[str, Any]:
        """Return what was found in one check."""
        return next(one for one in self.report["findings"] if one["check"] == check)


def options(url: str, *more: str, queue: str = QUEUE) -> list[str]:
    """Return the words of the command for the job of docs/examples."""
    parameters = [word for name, value in PARAMETERS.items() for word in (name, json.dumps(value))]
    words = ["-m", "reworker", "conformance", "--queue", queue, "--mq", url, "--long-s", str(LONG_S)]
    return [*words, *parameters, *more]


def run_kits(
    programs: Mapping[str, tuple[str, Program]], folder: Path, more: Callable[[str, int], Iterable[str]]
) -> dict[str, Run]:
    """Start a worker for each name, then the kit for each, and wait for all.

    Args:
        programs: name to the URL of a virtual host and the worker there.
        folder: where they run.
        more: options of the kit, from a name and the id of its worker's process.
    """
    started: list[Process] = []
    try:
        workers, kits = {}, {}
        for name, (_, program) in programs.items():
            workers[name] = Process(
                command=program.command, environment=dict(program.environment), folder=folder
            )
            started.append(workers[name])
        for name, (url, _) in programs.items():
            workers[name].wait_for_line("consuming", READY_S)
            words = options(url, *more(name, workers[name].pid))
            kits[name] = Process(*words, folder=folder)
            started.append(kits[name])
        return {name: Run(kit.wait(RUN_S), kit.output, workers[name].output) for name, kit in kits.items()}
    finally:
        for one in started:
            one.close()
