"""What a keeper is told by its worker, and what of its own the processes of tasks must not have."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from reworker.codes.keeper import LEAST_LIMITS, MESSAGE_BYTES
from tests.integration.code_support import Bed, log_of
from tests.support.http_server import HttpServer

#: with fewer open files the keeper could not do its work, and makes a fork of itself for each task.
FORKING = {"open_files": LEAST_LIMITS["RLIMIT_NOFILE"] - 1}


@pytest.fixture
def bed() -> Iterator[Bed]:
    with tempfile.TemporaryDirectory() as top, HttpServer() as server:
        Path(top).chmod(0o755)  # pytest's own folders let nobody else through
        found = Bed(Path(top), server)
        yield found
        found.close()


@pytest.mark.parametrize("size", [MESSAGE_BYTES // 2, MESSAGE_BYTES, 100_000])
def test_variable_may_be_long(bed: Bed, size: int) -> None:
    found = bed.shell('printf %s "$LONG" | wc -c', env_vars={"LONG": "x" * size})
    assert int(log_of(found)) == size


@pytest.mark.parametrize("limits", [{}, FORKING])
def test_no_signal_is_blocked(bed: Bed, limits: dict[str, int]) -> None:
    bed.config["limits"] = limits
    script = "import signal; print(signal.pthread_sigmask(signal.SIG_BLOCK, []))"
    assert log_of(bed.run({"main.py": script}, runtime="python")) == "set()\n"


@pytest.mark.parametrize("limits", [{}, FORKING])
def test_process_hears_of_the_ends_of_its_own(bed: Bed, limits: dict[str, int]) -> None:
    bed.config["limits"] = limits
    script = "sleep 0 & wait $!; echo first; (exit 3) & wait $!; echo $?"
    for _ in range(2):
        assert log_of(bed.shell(script)) == "first\n3\n"


def test_task_may_close_what_it_writes_to_and_go_on(bed: Bed) -> None:
    found = bed.shell("echo said; exec >&- 2>&-; sleep 0.3; exit 5")
    assert (log_of(found), found.data["exit_code"]) == ("said\n", 5)
