"""Commands that a step runs with `job.run`."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reworker.errors import JobTimeout
from reworker.jobs.lines import LINE_LENGTH, LineCutter
from reworker.testing import Harness, Transcript
from reworker.worker import Job, Worker, step
from tests.support.waiting import wait_until


class RunningWorker(Worker):
    """Runs what the test says."""

    action: Callable[[Job], Any]

    @step("Do")
    def do(self, job: Job) -> Any:
        return self.action(job)

    @step("DoLater")
    async def do_later(self, job: Job) -> Any:
        return await asyncio.to_thread(self.action, job)


def run(action: Callable[[Job], Any], subcommand: str = "Do") -> Transcript:
    harness = Harness(RunningWorker)
    harness.worker.action = action  # type: ignore[attr-defined]  # of RunningWorker
    return harness.run(harness.delivery({"parameters": {"subcommand": subcommand}}))


def sh(script: str, **options: Any) -> Transcript:
    def action(job: Job) -> list[Any]:
        result = job.run(["/bin/sh", "-c", script], **options)
        return [result.exit_code, result.last_lines]

    return run(action)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_lines_of_both_streams_are_output_when_a_command_writes() -> None:
    transcript = sh("echo one; echo two >&2; printf three")
    assert transcript.output == ["one", "two", "three"]
    assert transcript.data == [0, ["one", "two", "three"]]


def test_job_fails_with_code_and_last_lines_when_the_command_fails() -> None:
    transcript = sh("for n in $(seq 30); do echo $n; done; exit 3")
    assert transcript.message == "/bin/sh ended with exit code 3"
    assert transcript.data == {"exit_code": 3, "last_lines": [str(n) for n in range(11, 31)]}


@pytest.mark.parametrize(("script", "code"), [("exit 3", 3), ("kill -9 $$", -9), ("kill -TERM $$", -15)])
def test_exit_code_is_returned_when_it_is_not_checked(script: str, code: int) -> None:
    assert sh(script, check=False).data == [code, []]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["/no/such/program"], "/no/such/program cannot be started: No such file or directory (ENOENT)"),
        (["/etc/passwd"], "/etc/passwd cannot be started: Permission denied (EACCES)"),
        (["a\0b"], "a\0b cannot be started: embedded null byte"),
        ([], "a command is a list of texts, program first; found []"),
        (["sleep", 5], "a command is a list of texts, program first; found ['sleep', 5]"),
    ],
)
def test_job_fails_when_the_command_cannot_be_started(argv: Any, message: str) -> None:
    assert run(lambda job: job.run(argv)).message == message


def test_code_127_is_a_program_s_own_when_it_was_started() -> None:
    assert sh("exit 127", check=False).data == [127, []]


def test_command_gets_folder_and_environment_when_they_are_given(tmp_path: Path) -> None:
    transcript = sh("pwd; env", cwd=str(tmp_path), env={"A": "\u00e4 b"})
    inside = {"_=/usr/bin/env", "SHLVL=0", "SHLVL=1", f"PWD={tmp_path}", "OLDPWD="}
    assert [line for line in transcript.output if line not in inside] == [str(tmp_path), "A=\u00e4 b"]


def test_command_reads_nothing_and_does_not_ignore_signals_when_it_runs() -> None:
    transcript = sh("cat; grep SigIgn /proc/self/status")
    ignored = int(transcript.output[0].split()[1], 16)
    assert not ignored & sum(1 << number - 1 for number in (signal.SIGPIPE, signal.SIGXFSZ))


def test_command_is_killed_with_its_group_when_it_runs_too_long(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    transcript = sh(f"trap '' TERM; sleep 3600 & echo $! > {file}; wait; wait", timeout_s=1.5)
    assert transcript.message == "/bin/sh was killed: it ran longer than 1.5 s"
    wait_until(lambda: not is_alive(int(file.read_text())))


def test_nothing_is_left_of_a_group_when_its_command_has_ended(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    transcript = sh(f"sleep 3600 & echo $! > {file}; echo done")
    assert transcript.output == ["done"]
    wait_until(lambda: not is_alive(int(file.read_text())))


def test_daemon_lives_on_when_it_has_left_the_session_of_its_command(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    transcript = sh(f"setsid sh -c 'echo $$ > {file}; exec sleep 3600' & while [ ! -s {file} ]; do :; done")
    assert transcript.data == [0, []]
    pid = int(file.read_text())
    assert is_alive(pid)
    os.kill(pid, signal.SIGKILL)


def test_step_goes_on_when_a_daemon_writes_to_the_output_for_ever(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    script = f"setsid sh -c 'echo $$ > {file}; exec yes' & while [ ! -s {file} ]; do :; done"
    transcript = sh(script)
    assert transcript.statuses == ["started", "completed"]
    assert transcript.data[0] == 0
    wait_until(lambda: not is_alive(int(file.read_text())))  # nobody reads what it writes


@pytest.mark.parametrize("subcommand", ["Do", "DoLater"])
@pytest.mark.parametrize("is_cancelled", [True, False])
def test_command_ends_when_its_job_is_told_to(subcommand: str, is_cancelled: bool) -> None:
    def action(job: Job) -> None:
        attempt = job._attempt
        tell = attempt.cancel if is_cancelled else lambda: attempt.time_out(JobTimeout)
        threading.Timer(0.2, tell).start()
        job.run(["/bin/sleep", "3600"])

    transcript = run(action, subcommand)
    assert transcript.statuses == ["started", "failed"]
    assert transcript.message.startswith("cancelled" if is_cancelled else "ran longer")


def test_very_long_line_takes_no_more_time_for_each_of_its_characters() -> None:
    def spent_s(count: int) -> float:
        began_s = time.thread_time()
        assert sum(map(len, LineCutter().feed("x" * count))) > count - LINE_LENGTH - 1
        return time.thread_time() - began_s

    few_s = min(spent_s(2_000_000) for _ in range(3))
    assert spent_s(40_000_000) < 100 * few_s, "20 times the length took more than 100 times the time"


def test_long_lines_come_in_pieces_and_odd_bytes_are_shown() -> None:
    transcript = sh("head -c 20000 /dev/zero | tr '\\0' x; echo; printf '\\377\\n'")
    assert [len(one) for one in transcript.output[:2]] == [16384, 3616]
    assert transcript.output[2:] == ["\\xff"]
