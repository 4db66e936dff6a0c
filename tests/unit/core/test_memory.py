"""What a core remembers between two transactions: only what is as it was committed, and not too much."""

from __future__ import annotations

import gc

from reworker.core.codec import PlanCache
from reworker.fsm.plan import Plan
from tests.unit.core.kit import Worker, World, playbook


def test_plans_are_given_up_when_many_deployments_are_remembered(world: World, worker: Worker) -> None:
    worker.script = ()
    memory = world.core.loop._memory
    memory.plans = PlanCache(limit_bytes=1)
    text = playbook(locks=False, description="to be given up")
    ids = [world.core.service.submit(text) for _ in range(5)]
    world.run()
    assert memory.heads(ids).keys() == set(ids)
    gc.collect()
    plans = [one for one in gc.get_objects() if isinstance(one, Plan)]
    assert sum(one.sequences[0].description == "to be given up" for one in plans) <= 1
    for one in ids:
        worker.reply({"status": "completed"}, f"{one}.1")
    world.run()
    assert {world.status(one) for one in ids} == {"completed"}
