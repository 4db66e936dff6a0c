"""The supervisor with processes that are no workers."""

from __future__ import annotations

import os
import resource
import textwrap
from collections.abc import Callable
from signal import SIGINT, SIGKILL

from tests.support.processes import Process

SCRIPT = """
import logging, os, signal, sys, time
from reworker.host.children import encoded
from reworker.host.health import Report
from reworker.host.processes import Group, ProcessHost

def work(pipe):
    signal.signal(signal.SIGTERM, {on_term})
    os.write(pipe, encoded(Report("x", "consuming", dead={dead}, drain_s={told_s})))
    {then}
    while True:
        signal.pause()

logging.basicConfig(level="INFO", format="%(message)s")
sys.exit(ProcessHost({{"x": Group(work, 1, {drain_s})}}).run())
"""


def started(
    process: Callable[..., Process], on_term: str, dead: str = "()", drain_s: str = "5", **more: str
) -> Process:
    values = {"on_term": on_term, "dead": dead, "drain_s": drain_s, "told_s": "None", "then": "", **more}
    return process("-c", textwrap.dedent(SCRIPT).format(**values))


def test_process_is_replaced_when_it_says_that_it_is_dead(process: Callable[..., Process]) -> None:
    host = started(process, "lambda *_: sys.exit(0)", dead="('it is deaf',)")
    for _ in range(2):
        host.wait_for_line("x: started as process")
        host.wait_for_line("x: is replaced: it is deaf")
        host.wait_for_line("x: ended with exit code 0 after .*; again in")
    assert host.terminate() in (0, 1)


def test_process_is_replaced_when_a_job_has_closed_its_descriptors(process: Callable[..., Process]) -> None:
    host = started(process, "lambda *_: sys.exit(0)", then="os.closerange(3, 100)")
    for _ in range(2):
        host.wait_for_line("x: started as process")
        host.wait_for_line("x: is replaced: a job has closed its descriptors")
        host.wait_for_line("x: ended with exit code 0 after .*; again in")
    assert host.terminate() in (0, 1)


def test_process_is_killed_when_its_drain_takes_too_long(process: Callable[..., Process]) -> None:
    host = started(process, "signal.SIG_IGN", drain_s="-14.9")  # the margin is 15
    host.wait_for_line("x: consuming")
    assert host.terminate() == 1
    host.wait_for_line("x: killed: its drain took too long")
    host.wait_for_line("x: ended with SIGKILL")


def test_process_has_the_drain_that_it_tells_when_it_has_read_its_settings_again(
    process: Callable[..., Process],
) -> None:
    on_term = "lambda *_: (time.sleep(1), sys.exit(0))"
    host = started(process, on_term, drain_s="-14.9", told_s="20.0")  # the margin is 15
    host.wait_for_line("x: consuming")
    assert host.terminate() == 0
    assert "killed" not in host.output


def test_process_is_killed_when_a_second_signal_does_not_end_it(process: Callable[..., Process]) -> None:
    host = started(process, "signal.SIG_IGN")
    host.wait_for_line("x: consuming")
    host.send_signal(SIGINT)
    host.wait_for_line("stopping: no new work")
    assert host.terminate() == 1
    host.wait_for_line("stopping at once")


def test_process_is_started_when_descriptors_are_there_again(process: Callable[..., Process]) -> None:
    host = started(process, "lambda *_: sys.exit(0)")
    child = int(host.wait_for_line(r"x: started as process (\d+)")[1])
    host.wait_for_line("x: consuming")
    soft, hard = resource.prlimit(host.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(host.pid, resource.RLIMIT_NOFILE, (3, hard))
    os.kill(child, SIGKILL)
    for _ in range(2):
        host.wait_for_line("x: cannot be started: .*Too many open files; again in")
    resource.prlimit(host.pid, resource.RLIMIT_NOFILE, (soft, hard))
    host.wait_for_line("x: started as process")
    host.wait_for_line("x: consuming")
    assert host.terminate() == 0
