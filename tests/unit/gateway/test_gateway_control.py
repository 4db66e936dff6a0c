"""Control messages for types that are polled."""

from __future__ import annotations

import json
from typing import Any

import pytest

from reworker.bus.contract import Outgoing, Properties, QueueSpec, TopologySpec
from reworker.gateway.contract import Failed, Standing, TaskRules
from reworker.messages import Control, WorkerOrder, encode
from tests.unit.gateway.kit import HOLD_S, IDEMPOTENT, World, wait_until


def order(world: World, key: str, message: Any, **properties: Any) -> None:
    """Send a control message."""
    body = message if isinstance(message, bytes) else encode(message)
    world.core.publish(Outgoing("re.control", key, body, Properties(**properties)))


def pongs(world: World) -> list[dict[str, Any]]:
    """Ping, and return the first answers that come."""
    heard: list[dict[str, Any]] = []
    world.core.declare(TopologySpec(queues=(QueueSpec("answers"),)))
    world.core.consume("answers", lambda one: heard.append(json.loads(one.body)), prefetch=0)
    order(world, "ping", b"{}", reply_to="answers")
    wait_until(lambda: heard, message="an answer to a ping")
    return heard


def test_type_that_is_polled_answers_pings_with_what_is_leased(world: World) -> None:
    attempt = world.send()
    world.take("node-1")
    world.advance(3)
    (pong,) = pongs(world)
    assert (pong["worker"], pong["queue"], pong["state"]) == ("frobworker", "worker.frob", "consuming")
    (running,) = pong["running"]
    assert (running["attempt"], running["seconds"]) == (attempt, 3.0)
    assert running["instance"].endswith(":node-1")


def test_type_whose_workers_have_gone_says_so(world: World) -> None:
    world.send()
    offer = world.take()
    world.advance(16)
    heard = pongs(world)
    world.complete(offer)
    order(world, "ping", b"{}", reply_to="answers")
    wait_until(lambda: len(heard) == 2, message="an answer when nobody has a step")
    world.ask()
    order(world, "ping", b"{}", reply_to="answers")
    wait_until(lambda: len(heard) == 3, message="an answer after a poll")
    assert [one["state"] for one in heard] == ["consuming", "not polled", "consuming"]


def test_goodbye_is_said_to_those_who_have_asked(world: World) -> None:
    heard = pongs(world)
    world.gateway.close()
    wait_until(lambda: [one["state"] for one in heard] == ["consuming", "stopped"])


def test_paused_type_gives_nothing_until_it_is_resumed(world: World) -> None:
    order(world, "pause.frob", WorkerOrder("change freeze"))
    wait_until(lambda: [one["state"] for one in pongs(world)] == ["quiet"])
    attempt = world.send()
    assert world.ask().offers == ()
    polled = world.ask(hold_s=HOLD_S)
    wait_until(lambda: world.waiting_count() == 1)
    order(world, "resume.frob", WorkerOrder("over"))
    assert polled.offers[0].attempt_id == attempt


def cancel(world: World, attempt: str) -> None:
    """Cancel an attempt, and wait until the gateway knows."""
    order(world, "cancel.frob", Control(attempt, "not today"))
    lane = world.lane()
    wait_until(lambda: lane.station.cancellations.reason(attempt), message="the cancellation")


def test_step_that_is_cancelled_before_it_is_taken_is_answered_so(world: World) -> None:
    attempt = world.send(1)
    cancel(world, attempt)
    other = world.send(2)
    assert world.take().attempt_id == other
    world.wait(attempt, "cancelled")
    assert world.bodies(attempt)[0]["reason"] == "not today"


def test_result_counts_when_its_step_was_cancelled_meanwhile(world: World) -> None:
    attempt = world.send()
    offer = world.take()
    cancel(world, attempt)
    assert world.complete(offer).standing is Standing.DONE
    world.wait(attempt, "started", "completed")


def test_cancelled_step_is_not_tried_again(world: World) -> None:
    world.gateway.rule("frob", TaskRules(retry_count=3))
    attempt = world.send()
    offer = world.take()
    cancel(world, attempt)
    world.report(offer, Failed("stopped", {}))
    world.wait(attempt, "started", "failed")


def test_cancelled_step_of_a_silent_worker_is_unknown_even_if_it_could_be_repeated(world: World) -> None:
    attempt = world.send(headers=IDEMPOTENT)
    world.take()
    cancel(world, attempt)
    world.advance(721)
    world.wait(attempt, "started", "unknown")
    assert "cancelled (not today)" in world.bodies(attempt)[-1]["reason"]


@pytest.mark.parametrize("body", [b"[]", b"not json", b"{}"])
def test_control_message_without_sense_is_ignored(
    world: World, caplog: pytest.LogCaptureFixture, body: bytes
) -> None:
    order(world, "cancel.frob", body)
    wait_until(lambda: "was ignored" in caplog.text)
    world.send()
    world.complete(world.take())
