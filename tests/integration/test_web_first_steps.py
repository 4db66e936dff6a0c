"""The commands that an empty dashboard teaches, followed word for word."""

from __future__ import annotations

import html
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx

from tests.support.processes import Process


def test_first_steps_lead_to_a_deployment_when_followed(
    process: Callable[..., Process], tmp_path: Path
) -> None:
    up = process("-m", "reworker", "up", "--mq-port", "0", "--port", "0", "--worker", "noop")
    broker = up.wait_for_line(r"ready: broker (amqp://\S+)")[1]
    link = up.wait_for_line(r"once: (http://\S+)")[1]
    url, home = link.partition("/login")[0], {"HOME": str(tmp_path)}
    with httpx.Client(base_url=url, headers={"Origin": url}, timeout=30) as client:
        found = re.search(r"rw_[0-9a-f]{24}_[0-9a-f]{64}", client.post(link).text)
        assert found is not None
        make, enter, work, login, run = commands(client.get("/").text)
        assert process(*of(make)).wait() == 0
        folder = tmp_path / enter.removeprefix("cd ")
        # in place of the file, which names the usual port
        worker = process(*of(work.replace("mq.json", broker)), folder=folder)
        worker.wait_for_line("consuming")
        argv = [sys.executable, *of(login)]
        subprocess.run(argv, input=found[0], text=True, env={**os.environ, **home}, check=True)
        runs = process(*of(run), folder=folder, environment=home)
        assert runs.wait() == 0, runs.output
        assert "completed" in client.get("/deployments").text


def commands(page: str) -> list[str]:
    """Return the commands that a page shows."""
    assert "First steps" in page
    blocks = re.findall(r"<pre>(.*?)</pre>", page, re.DOTALL)
    return [line for one in blocks for line in html.unescape(one).strip().split("\n")]


def of(line: str) -> list[str]:
    """Return what runs a command that a page shows."""
    command, *arguments = shlex.split(line)
    assert command == "reworker"
    return ["-m", "reworker", *arguments]
