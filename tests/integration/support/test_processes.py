"""The process helper that other tests stand on."""

import os
import signal
from collections.abc import Callable

import pytest

from tests.support.processes import Process
from tests.support.waiting import wait_until

WAITS = "import signal; print('ready', flush=True); signal.pause()"
HAS_CHILD = """
import signal, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
print("child", child.pid, flush=True)
signal.pause()
"""


def is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_wait_for_line_passes_each_line_once_when_called_twice(process: Callable[..., Process]) -> None:
    echo = process("-c", "print('step 1'); print('noise'); print('step 2')")
    assert echo.wait_for_line(r"step (\d)")[1] == "1"
    assert echo.wait_for_line(r"step (\d)")[1] == "2"
    with pytest.raises(TimeoutError, match="no line matches"):
        echo.wait_for_line(r"step (\d)")


def test_wait_for_line_shows_the_output_when_the_process_ends(process: Callable[..., Process]) -> None:
    broken = process("-c", "raise SystemExit('no such thing')")
    with pytest.raises(TimeoutError, match=r"(?s)ended with 1.*no such thing"):
        broken.wait_for_line("ready")


def test_terminate_returns_the_exit_code_when_the_signal_arrives(process: Callable[..., Process]) -> None:
    waiting = process("-c", WAITS)
    waiting.wait_for_line("ready")
    assert waiting.terminate() == -signal.SIGTERM


def test_wait_fails_when_the_process_goes_on(process: Callable[..., Process]) -> None:
    waiting = process("-c", WAITS)
    waiting.wait_for_line("ready")
    with pytest.raises(TimeoutError, match="still running"):
        waiting.wait(0.01)
    assert waiting.is_running


def test_close_kills_the_children_when_the_process_has_some(process: Callable[..., Process]) -> None:
    parent = process("-c", HAS_CHILD)
    child = int(parent.wait_for_line(r"child (\d+)")[1])
    assert is_alive(child)
    parent.close()
    wait_until(lambda: not is_alive(child), 10, "the child to end")


def test_process_gets_our_environment_with_changes_when_started(process: Callable[..., Process]) -> None:
    shown = process(
        "-c",
        "import os; print(os.environ.get('PATH') is not None, os.environ.get('HOME'), os.environ['ADDED'])",
        environment={"HOME": None, "ADDED": "yes"},
    )
    assert shown.wait() == 0
    assert shown.output == "True None yes"
    assert os.environ.get("ADDED") is None
