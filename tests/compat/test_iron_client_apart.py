"""The client on a real RabbitMQ and PostgreSQL, with core, server and code worker as processes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from reworker.cli.wiring import opened_storage
from reworker.clock import SystemClock
from reworker.core.access import Access
from reworker.core.principal import Scope
from reworker.iron import IronWorker, Task
from tests.support.iron_site import SCOPES
from tests.support.ports import free_port
from tests.support.processes import Process
from tests.support.waiting import wait_until

#: seconds in which a process is ready, on a busy day.
READY_S = 60.0
#: waits until it is told, by its own progress, to go on.
PATIENT = """\
import json, os, sys, time, urllib.request
own = os.environ
url = "http://%s:%s/2/projects/%s/tasks/%s" % (
    own["IRON_HOST"], own["IRON_PORT"], own["IRON_PROJECT_ID"], own["TASK_ID"])
asked = urllib.request.Request(url, headers={"Authorization": "OAuth " + own["IRON_TOKEN"]})
print("waits", flush=True)
while True:
    try:
        if json.load(urllib.request.urlopen(asked))["percent"] == 100:
            break
    except OSError:
        pass
    time.sleep(0.1)
print("done")
"""


def token(db: str, *scopes: Scope) -> str:
    with opened_storage(db) as (storage, _), closing(Access(storage, SystemClock())) as access:
        return access.create_token("ann", scopes)[1]


@pytest.mark.rabbitmq
@pytest.mark.postgres
@pytest.mark.slow
def test_client_goes_on_when_the_server_is_killed_and_started_again(
    rabbitmq_url: str, postgres_url: str, tmp_path: Path, process: Callable[..., Process]
) -> None:
    port = free_port()

    def start(ready: str, *words: str, **more: str) -> Process:
        started = process("-m", "reworker", *words, environment=more)
        started.wait_for_line(ready, READY_S)
        return started

    web = ("web", "--port", str(port), "--db", postgres_url, "--mq", rabbitmq_url)
    start(r"core \S+ runs", "core", "--mq", rabbitmq_url, "--db", postgres_url)
    server = start(f":{port}", *web)
    start(
        "consuming",
        *("worker", "code", rabbitmq_url, "--instances", "2"),
        REWORKER_SERVER=f"http://127.0.0.1:{port}",
        REWORKER_TOKEN=token(postgres_url, Scope.WORKER),
    )
    client = IronWorker(token(postgres_url, *SCOPES), port=port)
    (tmp_path / "patient.py").write_text(PATIENT)
    (tmp_path / "quick.sh").write_text('cat "$PAYLOAD_FILE"\n')
    client.upload(tmp_path / "quick.sh", "Quick")
    tasks = client.queue_many("Quick", [f"{number}\n" for number in range(10)])
    assert [client.log(client.wait(one, timeout_s=60)) for one in tasks] == [f"{n}\n" for n in range(10)]

    client.upload(tmp_path / "patient.py", "Patient")
    task = client.queue("Patient")
    wait_until(lambda: client.task(task).status == "running" and client.log(task), 60)
    ended: list[Task] = []
    waiting = threading.Thread(target=lambda: ended.append(client.wait(task, timeout_s=60)))
    waiting.start()
    server.kill9()
    start(f":{port}", *web)
    client.set_progress(task, 100)
    waiting.join(60)
    assert [one.status for one in ended] == ["complete"]
    assert client.log(task) == "waits\ndone\n"
