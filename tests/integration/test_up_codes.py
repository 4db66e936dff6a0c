"""`reworker up` runs the tasks of code packages, too."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import Process
from tests.support.up import Up
from tests.support.waiting import wait_until

SCRIPT = 'import sys\nprint("hello from", sys.argv[sys.argv.index("-id") + 1])\n'


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    made = Up(tmp_path, "--code-slots", "1")
    yield made
    made.close()


def reworker(up: Up, folder: Path, *arguments: str) -> str:
    """Run a command on the database of `up`; return what it prints."""
    command = [sys.executable, "-m", "reworker", *arguments]
    environment = {**os.environ, "REWORKER_DB": up.db}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def code_worker_of(process: Process) -> int | None:
    """Return the process that runs the tasks, if it is there."""
    for one in Path(f"/proc/{process.pid}/task").glob("*/children"):
        for child in read(one).split():
            if b"code" in read(Path(f"/proc/{int(child)}/cmdline")).split(b"\0"):
                return int(child)
    return None


def read(path: Path) -> bytes:
    """Return what is in a file; nothing, of a thread or a process that ends just now."""
    with contextlib.suppress(OSError):
        return path.read_bytes()
    return b""


def test_script_runs_when_it_is_uploaded_and_again_when_the_worker_was_killed(up: Up, tmp_path: Path) -> None:
    (tmp_path / "hello.py").write_text(SCRIPT)
    reworker(up, tmp_path, "code", "upload", "hello.py")
    assert reworker(up, tmp_path, "task", "queue", "hello", "--wait").startswith("hello from ")
    first = code_worker_of(up.process)
    assert first is not None
    os.kill(first, signal.SIGKILL)
    up.process.wait_for_line("the code worker ended with code -9; starting it again")
    assert reworker(up, tmp_path, "task", "queue", "hello", "--wait").startswith("hello from ")
    assert json.loads(reworker(up, tmp_path, "task", "ls", "-o", "json").splitlines()[0])


def test_code_worker_ends_with_up_however_that_ends(up: Up) -> None:
    wait_until(lambda: code_worker_of(up.process) is not None, 60)
    own = code_worker_of(up.process)
    up.process.send_signal(signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{own}").exists(), 60)
