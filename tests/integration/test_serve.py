"""`reworker serve` as a process: a core and the HTTP side in one, on a broker of its own."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.processes import Process

PLAYBOOK = """\
group: example
name: served
execution:
- hosts: [localhost]
  steps: ["noop:Anything"]
"""


def run(folder: Path, *arguments: str) -> Process:
    """Run a command to its end."""
    command = Process("-m", "reworker", *arguments, folder=folder)
    command.wait(90)
    return command


@pytest.fixture
def served(tmp_path: Path, process: Callable[..., Process], broker_url: str) -> tuple[Process, str, str]:
    """Give `serve`, its database and its address."""
    db = f"sqlite:///{tmp_path / 'served.db'}"
    arguments = ("serve", "--mq", broker_url, "--db", db, "--port", "0", "--health", "0", "--no-auth")
    server = process("-m", "reworker", *arguments)
    server.wait_for_line("ready: ")
    address = re.search(r"ready: (http://\S+)", server.output)
    assert address is not None
    return server, db, address[1]


def test_server_runs_a_playbook_and_shows_it(
    served: tuple[Process, str, str], process: Callable[..., Process], broker_url: str, tmp_path: Path
) -> None:
    server, db, url = served
    process("-m", "reworker", "worker", "noop", broker_url).wait_for_line("consuming")
    (tmp_path / "served.yaml").write_text(PLAYBOOK)
    found = run(tmp_path, "run", "served.yaml", "--db", db)
    assert found.exit_code == 0, found.output
    with urllib.request.urlopen(f"{url}/api/v1/deployments") as answer:
        (deployment,) = json.load(answer)["items"]
    assert deployment["status"] == "completed"
    with urllib.request.urlopen(f"{url}/readyz") as answer:
        assert json.load(answer)["name"] == "core core"
    assert server.terminate() == 0, server.output


def test_second_core_of_the_same_name_says_who_runs(
    served: tuple[Process, str, str], broker_url: str, tmp_path: Path
) -> None:
    _, db, _ = served
    found = run(tmp_path, "serve", "--mq", broker_url, "--db", db, "--port", "0")
    assert found.exit_code == 1
    assert "another core" in found.output


def test_server_says_what_is_missing_without_a_broker(tmp_path: Path) -> None:
    found = run(tmp_path, "serve", "--db", f"sqlite:///{tmp_path / 'x.db'}")
    assert found.exit_code == 2
    assert "give --mq FILE_OR_URL" in found.output


def test_server_tells_of_its_database_before_it_looks_for_the_broker(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    nowhere = "amqp://guest:guest@127.0.0.1:1/"
    found = run(tmp_path, "serve", "--mq", nowhere, "--db", f"sqlite:///{tmp_path / 'file' / 'x.db'}")
    assert found.exit_code == 2
    assert "cannot make the folder" in found.output
    assert "cannot connect" not in found.output
