"""Public clients of Conductor, unmodified, complete steps of our playbooks."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reworker.cli.wiring import opened_storage
from reworker.clock import SystemClock
from reworker.core.principal import Scope
from reworker.core.reads import AttemptView
from reworker.core.service import Service
from tests.support.conductor_site import (
    READY_S,
    ConductorSite,
    client_process,
    playbook_of,
    require_clients,
)
from tests.support.processes import Process
from tests.support.up import Up
from tests.support.waiting import wait_until

#: task types of `clients/conductor_workers.py`, and of `clients/swift_workers.py`.
PYTHON_TYPES = (
    *("cp_class", "cp_function", "cp_sync", "cp_async", "cp_progress"),
    *("cp_final", "cp_flaky", "cp_long", "cp_domain"),
)
SWIFT_TYPES = ("task_1", "task_2", "sw_careless", "sw_function")
#: of `clients/conductor_workers.js`; and of all.
NODE_TYPES = ("js_complete", "js_fail")
TYPES = (*PYTHON_TYPES, *SWIFT_TYPES, *NODE_TYPES)
#: names in the message of a step.
RAW = ["attempt", "dynamic", "group", "notify", "parameters"]
pytestmark = pytest.mark.timeout(240)  # each worker of a client is a process, which take their time to start
#: seconds in which all steps end.
STEPS_S = 90.0


@pytest.fixture
def up_site(tmp_path: Path) -> Iterator[ConductorSite]:
    """Give `up`, which asks who is there."""
    require_clients()
    up = Up(tmp_path)
    yield ConductorSite(up.url, up.db)
    up.close()


@pytest.fixture
def rabbit_site(tmp_path: Path, process: Callable[..., Process], rabbitmq_url: str) -> ConductorSite:
    """Give a server beside RabbitMQ, which asks nobody who he is."""
    require_clients()
    db = f"sqlite:///{tmp_path / 'served.db'}"
    options = ("--port", "0", "--no-auth", "--conductor")
    server = process("-m", "reworker", "serve", "--mq", rabbitmq_url, "--db", db, *options)
    server.wait_for_line("workers of Conductor", READY_S)
    found = re.search(r"workers of Conductor: (\S+)/api", server.output)
    assert found, server.output
    return ConductorSite(found[1], db)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Give a function that starts a program of a client; all of them end with the test."""
    started: list[Process] = []

    def start(name: str, **environment: str) -> Process:
        started.append(client_process(name, tmp_path, environment))
        return started[-1]

    yield start
    for one in started:
        one.close()


def texts(**more: dict[str, Any]) -> dict[str, str]:
    """Return a playbook for each task type."""
    values = {"speed": 3, "color": "red"}
    found = {name: playbook_of(name, **values) for name in TYPES}
    found["cp_domain"] = playbook_of("cp_domain", domain=["green", "blue", "NO_DOMAIN"], **values)
    found |= {name: playbook_of(name, **own) for name, own in more.items()}
    return found


def ends(found: dict[str, AttemptView]) -> dict[str, tuple[str, Any]]:
    """Return how each ended, and what its worker said."""
    return {name: (view.row.status, view.data) for name, view in found.items()}


def require_all_done(site: ConductorSite, found: dict[str, AttemptView]) -> None:
    """Check what each worker has said, and that it was heard once."""
    said = ends(found)
    assert said["cp_class"] == ("completed", {"speed": 3})
    assert said["cp_function"] == ("completed", {"hosts": ["cp-function"], "raw": RAW})
    assert said["cp_sync"] == ("completed", {"double": 6, "color": "red"})
    assert said["cp_async"] == ("completed", {"triple": 9})
    assert said["cp_progress"] == ("completed", {"polls": 2, "speed": 3})
    assert said["cp_flaky"] == ("completed", {"tries": 1})
    assert said["cp_domain"] == ("completed", {"domain": "blue", "speed": 3})
    assert found["cp_final"].row.status == "failed"
    assert found["cp_final"].row.message == "never again at 3"
    sample = {"outputKey1": "value", "oddEven": 1, "mod": 4}
    assert said["task_1"] == said["task_2"] == ("completed", sample)
    assert (found["sw_careless"].row.status, found["sw_careless"].row.message) == ("failed", "no status")
    assert (found["sw_function"].row.status, found["sw_function"].row.message) == ("failed", "3")
    assert said["js_complete"] == ("completed", {"half": 1.5})
    assert (found["js_fail"].row.status, found["js_fail"].row.message) == ("failed", "never meant to work")
    assert "halving 3" in site.lines(found["js_complete"].row.deployment_id)
    for name, view in found.items():
        kinds = Counter(site.events(view.row.deployment_id))
        assert kinds["ReplyStarted"] == 1, (name, kinds)
        assert kinds["ReplyCompleted"] + kinds["ReplyFailed"] == 1, (name, kinds)
    assert "painting red" in site.lines(found["cp_sync"].row.deployment_id)


@pytest.mark.slow  # one step takes longer than the shortest lease, which is ten seconds
def test_workers_of_all_clients_complete_steps_when_the_server_asks_who_is_there(
    up_site: ConductorSite, client: Callable[..., Process]
) -> None:
    secret = up_site.token(Scope.WORKER)
    address = up_site.url.removeprefix("http://")
    for program in ("conductor_workers.py", "conductor_workers.js"):
        client(
            program,
            CONDUCTOR_SERVER_URL=f"{up_site.url}/api",
            CONDUCTOR_AUTH_KEY="any",
            CONDUCTOR_AUTH_SECRET=secret,
        )
    client("swift_workers.py", SWIFT_SERVER_URL=f"http://any:{secret}@{address}/api")
    up_site.wait_for_polls(TYPES, secret)
    found = up_site.run(texts(cp_long={"seconds": 13}), STEPS_S)
    require_all_done(up_site, found)
    assert ends(found)["cp_long"] == ("completed", {"slept": 13, "polls": 1})


@pytest.mark.slow
@pytest.mark.rabbitmq
def test_workers_of_all_clients_complete_steps_from_rabbitmq(
    rabbit_site: ConductorSite, client: Callable[..., Process]
) -> None:
    for program in ("conductor_workers.py", "conductor_workers.js"):
        client(program, CONDUCTOR_SERVER_URL=f"{rabbit_site.url}/api")
    client("swift_workers.py", SWIFT_SERVER_URL=f"{rabbit_site.url}/api")
    rabbit_site.wait_for_polls(TYPES)
    found = rabbit_site.run(texts(cp_long={"seconds": 0.1}), STEPS_S)
    require_all_done(rabbit_site, found)


def test_program_makes_definitions_and_starts_workflows(
    up_site: ConductorSite, client: Callable[..., Process]
) -> None:
    with opened_storage(up_site.db) as (storage, logs):
        text = playbook_of("sleep", "Seconds", seconds=30).replace('"name": "sleep"', '"name": "calls"')
        Service(storage, logs, SystemClock()).library.store(text)
    secret = up_site.token(Scope.WORKER, Scope.RUN, Scope.CANCEL, Scope.READ)
    program = client(
        "conductor_calls.py",
        CONDUCTOR_SERVER_URL=f"{up_site.url}/api",
        CONDUCTOR_AUTH_KEY="any",
        CONDUCTOR_AUTH_SECRET=secret,
    )
    wait_until(lambda: not program.is_running, READY_S)
    found = json.loads(program.output.splitlines()[-1])
    assert found == {
        "definition": ["calls", 1, 60],
        "definitions": [["calls", 4]],
        "gone": 404,
        "started": 24,
        "paused": "PAUSED",
        "workflow": ["calls", "order 7", {"speed": 3}, True],
        "tasks": ["sleep"],
        "second": True,
        "size": 0,
        "polled": [],
        "logs": [],
        "no_task": 404,
    }
