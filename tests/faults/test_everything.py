"""Random playbooks with every feature, while people meddle and cores and workers die and stand still."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from reworker.bus.inspection import queue_counts
from reworker.cli.wiring import opened_storage
from reworker.clock import SystemClock
from reworker.config import mq_settings
from reworker.core.service import Service
from reworker.topology import names
from tests.conftest import fresh_vhost
from tests.support.chaos import Chaos, Place
from tests.support.chaos_truth import problems
from tests.support.chaos_worker import SUFFIX, marks_in
from tests.support.ports import free_port
from tests.support.processes import Process
from tests.support.system import READY_S

pytestmark = [pytest.mark.fault, pytest.mark.slow]

#: seconds of trouble per moment.
MOMENT_S = 0.2
QUEUES = (names.worker_queue(SUFFIX), names.REPLY_QUEUE, names.DEAD_QUEUE)


def make_trouble(place: Place, moments: random.Random, core_count: int, duration_s: float) -> list[str]:
    """Make trouble for a while, let everything end, and return what is wrong."""
    chaos = Chaos(place, moments, core_count)
    try:
        chaos.open()
        chaos.run(duration_s, duration_s / 2)
        chaos.close()
    finally:
        chaos.kill()
    left = {name: one.message_count for name, one in queue_counts(mq_settings(place.mq), QUEUES).items()}
    outcomes = sorted(str(place.service.deployment(one).state.status) for one in chaos.ids)
    print(chaos.counts, {one: outcomes.count(one) for one in outcomes}, left)
    print(chaos.words())
    found = problems(place.storage, place.service, chaos.ids, marks_in(chaos.marks_file))
    assert chaos.strike_count >= duration_s / 2, "it has to be trouble"
    return found + [f"{count} messages are left in {name}" for name, count in left.items() if count]


def test_nothing_is_wrong_with_anything_on_the_embedded_broker_and_sqlite(
    process: Callable[..., Process], tmp_path: Path, moments: random.Random, moment_count: int
) -> None:
    port, db = free_port(), f"sqlite:///{tmp_path / 'reworker.db'}"
    broker = process("-c", f"from reworker.broker.server import serve; serve(port={port}, auto_vhosts=True)")
    broker.wait_for_line("listening", READY_S)
    url = f"amqp://guest:guest@127.0.0.1:{port}/{fresh_vhost()}"
    with opened_storage(db) as (storage, logs):
        place = Place(url, db, tmp_path, storage, Service(storage, logs, SystemClock()))
        assert make_trouble(place, moments, 1, MOMENT_S * moment_count) == []


@pytest.mark.rabbitmq
@pytest.mark.postgres
def test_nothing_is_wrong_with_anything_on_rabbitmq_and_postgresql_with_two_cores(
    rabbitmq_url: str, postgres_url: str, tmp_path: Path, moments: random.Random, moment_count: int
) -> None:
    with opened_storage(postgres_url) as (storage, logs):
        place = Place(rabbitmq_url, postgres_url, tmp_path, storage, Service(storage, logs, SystemClock()))
        assert make_trouble(place, moments, 2, MOMENT_S * moment_count) == []
