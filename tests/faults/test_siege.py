"""Ten worker types in one host: broker restarts, connection cuts and worker kills lose and double nothing."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from reworker.cli.wiring import opened_storage
from reworker.clock import SystemClock
from reworker.core.service import Service
from tests.support.chaos_truth import problems
from tests.support.chaos_worker import marks_in
from tests.support.processes import Process
from tests.support.rabbitmq import RabbitMQNode
from tests.support.siege import Siege

#: strikes of each kind.
STRIKE_COUNT = int(os.environ.get("REWORKER_SIEGE_STRIKES", "1"))
#: seconds that a strike of each kind may take together, on a busy day.
STRIKE_S = 40

pytestmark = [
    pytest.mark.fault,
    pytest.mark.slow,
    pytest.mark.rabbitmq,
    pytest.mark.timeout(240 + STRIKE_S * STRIKE_COUNT),
]


def test_nothing_is_lost_or_doubled_in_a_host_under_siege(
    process: Callable[..., Process], mortal_rabbitmq: RabbitMQNode, tmp_path: Path, moments: random.Random
) -> None:
    db = f"sqlite:///{tmp_path / 'reworker.db'}"
    with opened_storage(db) as (storage, logs):
        service = Service(storage, logs, SystemClock())
        with closing(Siege(process, mortal_rabbitmq, (db, storage, service), tmp_path, moments)) as siege:
            siege.open()
            siege.run(STRIKE_COUNT)
        outcomes = Counter(str(service.deployment(one).state.status) for one in siege.ids)
        print(dict(siege.counts), dict(outcomes))
        assert problems(storage, service, siege.ids, marks_in(siege.marks_file)) == []
        assert outcomes.keys() == {"completed"}
        assert siege.counts.keys() >= {"restarts", "cuts", "kills"}
