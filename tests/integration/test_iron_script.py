"""`python -m reworker.iron SCRIPT`: scripts for the public client of IronWorker, run with ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "reworker.iron", *words]
    environment = {"HOME": str(folder), "PATH": "/usr/bin:/bin"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_script_gets_this_client_by_either_name_when_it_is_run(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "beside.py").write_text("there = True\n")
    (tmp_path / "scripts" / "own.py").write_text(
        "import sys\n"
        "before = IronWorker\n"
        "from iron_worker import *\n"
        "import beside\n"
        "print(before is IronWorker, IronWorker.__module__, beside.there, __name__, sys.argv)\n"
        "sys.exit(4)\n"
    )
    done = run(tmp_path, "scripts/own.py", "--max=9", "x")
    expected = "True reworker.iron.client True __main__ ['scripts/own.py', '--max=9', 'x']\n"
    assert (done.returncode, done.stdout, done.stderr) == (4, expected, "")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "say which script to run: python -m reworker.iron SCRIPT [ARGUMENTS]\n"),
        (("gone.py",), "there is no script 'gone.py'\n"),
    ],
)
def test_nothing_is_run_when_there_is_no_script(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    done = run(tmp_path, *words)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", said)


def test_error_of_the_client_is_said_in_one_line_when_a_script_ends_with_it(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("\nIronWorker()\n")
    done = run(tmp_path, "own.py")
    assert done.returncode == 1
    assert done.stderr.startswith("own.py:2: token: there is none: give one as argument")
    assert done.stderr.count("\n") == 1


def test_error_of_a_script_has_its_traceback_when_it_is_none_of_the_client(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("1 / 0\n")
    done = run(tmp_path, "own.py")
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
