"""Worker code that leaks, blocks or leaves threads behind, in processes on real brokers."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.worker_support import READY, FakeCore, start_scripted
from tests.support.processes import Process
from tests.support.waiting import wait_until

Start = Callable[..., Process]


@pytest.fixture
def core(any_broker_url: str) -> Iterator[FakeCore]:
    with FakeCore(any_broker_url) as made:
        yield made


def test_other_steps_go_on_when_one_blocks_in_c(process: Start, core: FakeCore, any_broker_url: str) -> None:
    worker = start_scripted(process, any_broker_url, "--instances", "2", REWORKER_SCRIPTED_DRAIN_S="0.5")
    blocked = core.send(1, outcome="hang")
    core.wait(blocked, "started")
    for number in range(10, 40):
        core.wait(core.send(number), "started", "completed")
    assert "lost" not in worker.output
    worker.terminate()
    core.wait(blocked, "started", "unknown")


def test_thread_that_outlives_its_job_changes_nothing_when_it_speaks(
    process: Start, core: FakeCore, any_broker_url: str
) -> None:
    worker = start_scripted(process, any_broker_url)
    for level in (1, 2):
        attempts = [core.send(10 * level + n, level, outcome="leave_thread", seconds=0.2) for n in range(3)]
        for attempt in attempts:
            wait_until(lambda one=attempt: core.statuses(one)[:2] == ["started", "completed"])  # type: ignore[misc]  # bound in the loop
        core.wait(core.send(100 + level, level, outcome="slow", seconds=0.5), "started", "completed")
        for attempt in attempts:
            assert set(core.statuses(attempt)) == {"started", "completed"}
    assert worker.terminate() == 0


GREEDY = textwrap.dedent(
    """
    import resource
    from reworker.worker import Job, Worker, runner, step

    class GreedyWorker(Worker):
        @step("Take")
        def take(self, job: Job, *, megabytes: int) -> int:
            return len([bytearray(1 << 20) for _ in range(megabytes)])

    if __name__ == "__main__":
        resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
        runner(GreedyWorker)
    """
)


def test_step_fails_and_the_worker_lives_when_memory_runs_out(
    process: Start, core: FakeCore, any_broker_url: str, tmp_path: Path
) -> None:
    (tmp_path / "greedy.py").write_text(GREEDY, encoding="utf-8")
    worker = process("greedy.py", any_broker_url, folder=tmp_path)
    worker.wait_for_line(READY)
    for number in range(3):
        attempt = core.send(number, 2, "worker.greedy", subcommand="Take", megabytes=4000)
        core.wait(attempt, "started", "failed")
        small = core.send(100 + number, 2, "worker.greedy", subcommand="Take", megabytes=1)
        core.wait(small, "started", "completed")
    assert b"MemoryError" in next(one.body for one in core.replies if b"failed" in one.body)
    assert worker.terminate() == 0
