"""The ports that other tests are given."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import ports
from tests.support.processes import Process
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[3]
TAKES = """
import signal
from tests.support.ports import free_port
print("given", *(free_port() for _ in range(5)), flush=True)
signal.pause()
"""


def test_port_is_given_to_nobody_else_while_its_process_lives(
    process: Callable[..., Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = process("-c", TAKES, folder=ROOT)
    given = [int(port) for port in other.wait_for_line(r"given (.*)")[1].split()]
    monkeypatch.setattr(ports, "PORT_RANGE", given)
    with pytest.raises(OSError, match="no free port"):
        ports.free_port()
    other.close()

    def is_given() -> bool:
        try:
            return ports.free_port() in given
        except OSError:
            return False

    wait_until(is_given, message="a port of a process that has ended")


def test_port_is_given_once() -> None:
    assert len({ports.free_port() for _ in range(200)}) == 200
