"""Tasks under siege: each ends in one true status, none runs twice, and nothing of them is left."""

from __future__ import annotations

import os
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from reworker.cli.wiring import opened_storage
from reworker.clock import SystemClock
from reworker.core.service import Service
from tests.support.code_siege import READY_S, CodeSiege, Node
from tests.support.code_truth import losses, problems
from tests.support.processes import Process
from tests.support.rabbitmq import RabbitMQNode
from tests.support.system import BrokerProcess

#: tasks of a run for each strike that is asked for; the least.
TASKS_PER_STRIKE, LEAST_COUNT = 50, 100
TASK_COUNT = max(LEAST_COUNT, TASKS_PER_STRIKE * int(os.environ.get("REWORKER_SIEGE_STRIKES", "1")))
#: tasks for each time that the broker is killed.
TASKS_PER_BROKER = 100

pytestmark = [pytest.mark.fault, pytest.mark.slow, pytest.mark.timeout(120 + TASK_COUNT)]


@pytest.fixture
def top() -> Iterator[Path]:
    """Give a folder that lets everybody through."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        yield Path(made)


def besiege(
    process: Callable[..., Process], broker: tuple[Node, str], db: str, top: Path, moments: random.Random
) -> None:
    """Run tasks under siege, and hold what is said of them against what they did."""
    with opened_storage(db) as (storage, logs):
        service = Service(storage, logs, SystemClock())
        with closing(CodeSiege(process, broker, (db, storage, service), top, moments)) as siege:
            siege.open()
            siege.run(TASK_COUNT, TASK_COUNT // TASKS_PER_BROKER)
            siege.stop()
            outcomes = Counter(f"{row.code_name} {row.status}" for row in siege.rows())
            print(dict(siege.counts), dict(sorted(outcomes.items())), dict(siege.marks.most))
            print(dict(losses(siege)))
            found = problems(siege)
            if found:
                print(*found, siege.words(), sep="\n")
            assert found == []
            verified = process("-m", "reworker", "verify", "--all", "--db", db)
            assert verified.wait(READY_S) == 0, verified.output
            assert siege.counts.keys() & {"broker"}
            assert {"Plain complete", "Failing error", "Forking complete"} <= outcomes.keys()


def test_tasks_are_told_truly_on_the_embedded_broker_and_sqlite(
    process: Callable[..., Process], tmp_path: Path, top: Path, moments: random.Random
) -> None:
    node = BrokerProcess(process, tmp_path)
    besiege(process, (node, node.url), f"sqlite:///{tmp_path / 'reworker.db'}", top, moments)


class _RabbitMQ:
    def __init__(self, node: RabbitMQNode) -> None:
        self._node = node

    def kill_and_start(self) -> None:
        """Kill it as a power cut would, and start it again."""
        self._node.kill()
        self._node.start()


@pytest.mark.rabbitmq
@pytest.mark.postgres
def test_tasks_are_told_truly_on_rabbitmq_and_postgresql(
    process: Callable[..., Process],
    mortal_rabbitmq: RabbitMQNode,
    postgres_url: str,
    top: Path,
    moments: random.Random,
) -> None:
    url = mortal_rabbitmq.url(mortal_rabbitmq.add_vhost())
    besiege(process, (_RabbitMQ(mortal_rabbitmq), url), postgres_url, top, moments)
