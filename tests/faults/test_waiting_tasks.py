"""A broker that is killed while tasks wait in it says that they were delivered: none of them has begun."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from reworker.cli.wiring import opened_storage
from reworker.clock import SystemClock
from reworker.core.access import Access
from reworker.core.principal import Scope
from reworker.core.service import Service
from reworker.core.tasks.codes import CodeDraft
from reworker.core.tasks.options import CodeOptions
from reworker.core.tasks.queueing import TaskDraft
from reworker.storage.contract import AttemptRow, Storage
from reworker.storage.task_rows import TaskFilter
from tests.integration.code_support import package
from tests.support.code_marks import BEGIN, END, PORT_VARIABLE, Marks
from tests.support.processes import Process
from tests.support.rabbitmq import RabbitMQNode
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.fault, pytest.mark.rabbitmq, pytest.mark.slow]

TASK_COUNT, SLOT_COUNT = 50, 4
#: seconds for a process to be ready, and for all tasks to be over.
READY_S, REST_S = 60.0, 120.0


@pytest.fixture
def top() -> Iterator[Path]:
    """Give a folder that lets everybody through."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest.mark.timeout(240)
def test_tasks_that_waited_in_a_broker_that_was_killed_run_once(
    process: Callable[..., Process], tmp_path: Path, top: Path
) -> None:
    db = f"sqlite:///{tmp_path / 'reworker.db'}"
    with RabbitMQNode() as node, opened_storage(db) as (storage, logs), closing(Marks()) as marks:
        service = Service(storage, logs, SystemClock())
        url = node.url(node.add_vhost())
        core = process("-m", "reworker", "core", "--mq", url, "--db", db)
        environment = server(process, db, storage)
        project = service.projects.find("default")
        variables = {PORT_VARIABLE: str(marks.port), "CODE_NAME": "Plain"}
        draft = CodeDraft("Plain", "bash", "main.sh", CodeOptions(env_vars=variables))
        service.codes.upload(project, draft, [package({"main.sh": BEGIN + END})])
        core.wait_for_line(" runs on ", READY_S)
        ids = [row.id for row in service.tasks.queue(project, [TaskDraft("Plain")] * TASK_COUNT)]

        def attempts() -> list[AttemptRow]:
            return [one for own_id in ids for one in storage.reader.attempts(own_id)]

        wait_until(lambda: [one.status for one in attempts()] == ["sent"] * TASK_COUNT, READY_S)
        node.kill()
        node.start()
        (top / "code.json").write_text(
            json.dumps({"cache_dir": str(top / "cache"), "work_dir": str(top / "work")})
        )
        words = ["worker", "code", url, "-w", str(top / "code.json"), "--instances", str(SLOT_COUNT)]
        process("-m", "reworker", *words, environment=environment)
        wait_until(lambda: service.tasks.counts(TaskFilter()) == {"complete": TASK_COUNT}, REST_S)
        assert Counter(one.task_id for one in marks.lives) == dict.fromkeys(ids, 1)
        # Else there was nothing to find out: the broker has not marked them.
        assert Counter(one.status for one in attempts()) == {"unknown": TASK_COUNT, "completed": TASK_COUNT}
        verified = process("-m", "reworker", "verify", "--all", "--db", db)
        assert verified.wait(READY_S) == 0, verified.output


def server(process: Callable[..., Process], db: str, storage: Storage) -> dict[str, str]:
    """Start a web server; return what a code worker needs to know of it."""
    web = process("-m", "reworker", "web", "--db", db, "--port", "0")
    with closing(Access(storage, SystemClock())) as access:
        token = access.create_token("code worker", [Scope.WORKER])[1]
    url = web.wait_for_line(r"(http://127\.0\.0\.1:\d+)", READY_S)[1]
    return {"REWORKER_SERVER": url, "REWORKER_TOKEN": token}
