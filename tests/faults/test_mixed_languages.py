"""Workers of many kinds at once, killed at random: each step is begun once and ends once."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from reworker.cli.wiring import opened_storage
from tests.conftest import require_server
from tests.support.conductor_site import require_clients
from tests.support.foreign_workers import needs
from tests.support.mixed_siege import PARTS, POLLED, MixedSiege
from tests.support.processes import Process
from tests.support.rabbitmq import RabbitMQNode

#: kills, as many at least as there are who may be killed; and deployments, more for each further one.
STRIKE_COUNT = max(len(PARTS), int(os.environ.get("REWORKER_SIEGE_STRIKES", "1")) // 2)
DEPLOYMENT_COUNT = 60 + 35 * (STRIKE_COUNT - len(PARTS))

pytestmark = [pytest.mark.fault, pytest.mark.slow, pytest.mark.rabbitmq, pytest.mark.timeout(600)]
FINALS = ("ReplyCompleted", "ReplyFailed", "ReplyUnknown", "ReplyCancelled")


def test_each_step_starts_and_ends_once_whoever_works(
    process: Callable[..., Process], mortal_rabbitmq: RabbitMQNode, tmp_path: Path, moments: random.Random
) -> None:
    require_clients()
    for worker in ("go2", "node2"):
        for name, is_there in needs(worker).items():
            require_server(name, is_there)
    db = f"sqlite:///{tmp_path / 'mixed.db'}"
    with opened_storage(db) as stores:
        siege = MixedSiege(process, mortal_rabbitmq, tmp_path, stores, db, moments)
        siege.open()
        siege.submit(DEPLOYMENT_COUNT)
        siege.strike(STRIKE_COUNT)
        siege.rest()
        attempts, replies, begun = siege.attempts(), siege.replies(), siege.begun()
    print(dict(siege.strikes), dict(Counter(f"{row.step} {row.status}" for row in attempts)))
    assert set(siege.strikes) == {"broker", *PARTS}
    ends = {own_id: sum(found[one] for one in FINALS) for own_id, found in replies.items()}
    assert {own_id: count for own_id, count in ends.items() if count > 1} == {}
    starts = {own_id: found["ReplyStarted"] for own_id, found in replies.items()}
    assert {own_id: count for own_id, count in starts.items() if count > 1} == {}
    completed = [row for row in attempts if row.status == "completed"]
    assert {row.id: starts[row.id] for row in completed if starts[row.id] != 1} == {}
    assert {row.id for row in completed if ends[row.id] != 1} == set()
    once = {row.id for row in attempts if row.deployment_id in siege.once and row.step.startswith(POLLED)}
    assert {own_id: begun[own_id] for own_id in once if begun[own_id] > 1} == {}, "run twice"
    lost = {row.id for row in completed if row.step.startswith(POLLED) and not begun[row.id]}
    assert lost == set(), "completed, though nobody did it"
    ended = process("-m", "reworker", "verify", "--all", "--db", db)
    assert ended.wait(120) == 0, ended.output
