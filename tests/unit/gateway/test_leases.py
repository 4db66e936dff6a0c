"""Steps in the hands of workers: polls, results, the ends of leases."""

from __future__ import annotations

from collections.abc import Callable

from reworker.gateway.contract import Standing
from tests.support.waiting import wait_until
from tests.unit.gateway.kit import HOLD_S, World


def test_step_is_offered_started_and_completed_once(world: World) -> None:
    attempt = world.send(speed=7)
    offer = world.take()
    assert (offer.parameters["speed"], offer.dynamic, offer.group) == (7, {"color": "red"}, "g")
    assert (offer.attempt_id, offer.poll_count, offer.worker_id) == (attempt, 1, "a")
    assert offer.task_id.startswith("m1.")
    world.wait(attempt, "started")
    assert world.complete(offer, frobbed=7).standing is Standing.DONE
    world.wait(attempt, "started", "completed")
    assert world.bodies(attempt)[-1]["data"] == {"frobbed": 7}
    assert world.waiting_count() == 0
    assert world.complete(offer).standing is Standing.DROPPED


def test_poll_gets_what_is_sent_while_it_waits(world: World) -> None:
    polled = world.ask(hold_s=HOLD_S)
    attempt = world.send()
    assert polled.offers[0].attempt_id == attempt
