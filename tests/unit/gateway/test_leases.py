"""Steps in the hands of workers: polls, results, the ends of leases."""

from __future__ import annotations

import json

import pytest

from reworker.bus.contract import BindingSpec, Delivery, QueueSpec, TopologySpec
from reworker.gateway.contract import (
    CallLater,
    Completed,
    Failed,
    LateResult,
    RetryLogic,
    Standing,
    TaskRules,
    TaskType,
    Updated,
)
from reworker.gateway.ending import pause_s
from reworker.messages import StepHeaders
from tests.unit.gateway.kit import FROB, HOLD_S, IDEMPOTENT, LEVEL_2, MakeWorld, World, wait_until


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
    assert polled.first.offers == polled.offers


def test_poll_is_answered_with_nothing_when_the_hold_is_over(world: World) -> None:
    polled = world.ask(hold_s=HOLD_S)
    world.advance(HOLD_S - 0.1)
    assert polled.done == []
    world.advance(0.2)
    assert polled.offers == ()
    attempt = world.send()
    wait_until(lambda: world.waiting_count() == 1)
    assert world.take().attempt_id == attempt


def test_poll_that_does_not_wait_is_answered_at_once(world: World) -> None:
    assert world.ask().offers == ()
    world.send()
    wait_until(lambda: world.waiting_count() == 1)
    assert len(world.ask().offers) == 1


def test_batch_gets_what_is_there_and_no_more_than_asked_for(world: World) -> None:
    for number in range(1, 6):
        world.send(number)
    wait_until(lambda: world.waiting_count() == 5)
    assert len(world.ask(count=3).offers) == 3
    assert len(world.ask(count=3, hold_s=HOLD_S).offers) == 2
    assert world.waiting_count() == 0


def test_step_goes_back_unmarked_when_nobody_waits_for_the_answer(world: World) -> None:
    attempt = world.send()
    polled = world.ask(hold_s=HOLD_S)
    offer = polled.offers[0]
    polled.first.cancel()
    polled.first.cancel()
    polled.first.written()
    again = world.take("b")
    assert (again.attempt_id, again.worker_id) == (attempt, "b")
    assert again.task_id != offer.task_id
    world.complete(again)
    world.wait(attempt, "started", "completed")


def test_poll_that_left_before_an_answer_gets_nothing(world: World) -> None:
    polled = world.ask(hold_s=HOLD_S)
    polled.first.cancel()
    world.send()
    wait_until(lambda: world.waiting_count() == 1)
    assert polled.done == []


def test_update_of_a_lease_counts_when_its_answer_was_not_said_to_be_written(world: World) -> None:
    attempt = world.send()
    offer = world.ask(hold_s=HOLD_S).offers[0]
    assert world.complete(offer).standing is Standing.DONE
    world.wait(attempt, "started", "completed")


def test_failed_step_is_answered_with_reason_output_and_worker(world: World) -> None:
    attempt = world.send()
    told = world.report(world.take(), Failed("no disk", {"free": 0}, is_final=True))
    world.wait(attempt, "started", "failed")
    wait_until(lambda: told)
    assert told[0].standing is Standing.DONE
    body = world.bodies(attempt)[-1]
    assert body["message"] == "no disk"
    expected = {"reason": "no disk", "output": {"free": 0}, "workerId": "a", "terminal": True}
    assert body["data"] == expected


def test_result_that_json_cannot_carry_fails_the_step(world: World) -> None:
    attempt = world.send()
    assert world.complete(world.take(), bad=object()).standing is Standing.DONE
    world.wait(attempt, "started", "failed")
    assert "completed" in world.bodies(attempt)[-1]["message"]


def test_next_step_is_offered_with_the_answer_to_a_result(world: World) -> None:
    first, second = world.send(1), world.send(2)
    offer = world.take()
    assert offer.attempt_id == first
    told = world.report(offer, Completed({}), take_next=True)
    wait_until(lambda: told)
    poll = told[0].next_poll
    assert poll is not None
    assert poll.offers[0].attempt_id == second
    poll.written()
    again = world.report(poll.offers[0], Completed({}), take_next=True)
    wait_until(lambda: again)
    assert again[0] == Updated(Standing.DONE)


@pytest.mark.parametrize("headers", [LEVEL_2, IDEMPOTENT, None])
def test_silence_ends_a_lease(world: World, headers: StepHeaders | None) -> None:
    attempt = world.send(headers=headers)
    offer = world.take()
    assert offer.response_timeout_s == 600
    world.advance(719)
    assert world.gateway.extend(offer.task_id)
    world.advance(719)
    assert world.gateway.find(offer.task_id) is not None
    world.advance(2)
    assert not world.gateway.extend(offer.task_id)
    if headers is LEVEL_2:
        world.wait(attempt, "started", "unknown")
        assert "worker a took it and has said nothing for 600 s" in world.bodies(attempt)[-1]["reason"]
        return
    again = world.take("b")
    assert (again.attempt_id, again.worker_id) == (attempt, "b")
    assert world.complete(offer, by="a").standing is Standing.DROPPED
    assert world.complete(again, by="b").standing is Standing.DONE
    world.wait(attempt, "started", "completed")
    assert world.bodies(attempt)[-1]["data"] == {"by": "b"}


def test_step_whose_workers_fall_silent_goes_to_the_dead_letters(world: World) -> None:
    attempt = world.send(headers=IDEMPOTENT)
    for worker in ("a", "b", "c"):
        world.take(worker)
        world.advance(721)
    world.wait(attempt, "started", "failed")
    assert "3 workers took it" in world.bodies(attempt)[-1]["message"]
    wait_until(lambda: world.broker.message_count("re.dead") == 1)


def test_late_result_is_accepted_while_nobody_has_begun_the_step(make_world: MakeWorld) -> None:
    world = make_world(late_result=LateResult.ACCEPT)
    for number, headers in ((1, IDEMPOTENT), (2, None)):
        attempt = world.send(number, headers)
        offer = world.take("a")
        world.advance(721)
        wait_until(lambda: world.waiting_count() == 1)
        assert world.complete(offer, by="a").standing is Standing.DONE
        world.wait(attempt, "started", "completed")
        assert world.complete(offer, by="a").standing is Standing.DROPPED
        polled = world.ask(FROB, "b", hold_s=HOLD_S)
        wait_until(lambda: world.waiting_count() == 0)
        assert polled.done == []
        polled.first.cancel()
        statuses = world.statuses(attempt)
        # to a core of level 2 the answer goes again, under the same id
        assert statuses in (["started", "completed"], ["started", "completed", "completed"])
        ids = {one.properties.message_id for one in world.replies if b"completed" in one.body}
        assert headers is None or len(ids) == 1


def test_late_result_is_dropped_when_somebody_else_has_begun(make_world: MakeWorld) -> None:
    world = make_world(late_result=LateResult.ACCEPT)
    attempt = world.send(headers=IDEMPOTENT)
    first = world.take("a")
    world.advance(721)
    second = world.take("b")
    assert world.complete(first, by="a").standing is Standing.DROPPED
    assert world.complete(second, by="b").standing is Standing.DONE
    world.wait(attempt, "started", "completed")


def test_time_of_a_step_ends_whatever_is_heard(world: World) -> None:
    world.gateway.rule("frob", TaskRules(timeout_s=900))
    attempt = world.send(headers=IDEMPOTENT)
    deadline = world.send(2, StepHeaders(deadline_s=1000))
    offer, other = world.take(), world.take()
    for _ in range(3):
        world.advance(290)
        assert world.gateway.extend(offer.task_id)
        assert world.gateway.extend(other.task_id)
    world.advance(31)
    for one in (attempt, deadline):
        world.wait(one, "started", "failed")
        assert world.bodies(one)[-1]["message"].startswith("TIMED_OUT")
    assert world.complete(offer).standing is Standing.DROPPED


def test_heartbeats_are_sent_while_a_lease_lives(world: World) -> None:
    attempt = world.send(headers=StepHeaders(heartbeat_s=10))
    offer = world.take()
    for count in range(1, 4):
        world.advance(10.1)
        world.wait(attempt, "started", *["running"] * count)
    world.complete(offer)
    world.advance(30)
    world.wait(attempt, "started", "running", "running", "running", "completed")


def test_step_that_goes_on_is_offered_again_with_its_output(world: World) -> None:
    attempt = world.send(headers=StepHeaders(heartbeat_s=20))
    offer = world.take("a")
    assert world.report(offer, CallLater(30, {"done": 1}))[0].standing is Standing.KEPT
    assert world.ask(worker="b").offers == ()
    world.advance(25)
    polled = world.ask(worker="b", hold_s=30)
    world.advance(6)
    (again,) = polled.offers
    polled.first.written()
    assert (again.task_id, again.poll_count, again.worker_id) == (offer.task_id, 2, "b")
    assert again.output == {"done": 1}
    assert world.complete(offer, by="a").standing is Standing.DONE
    world.wait(attempt, "started", "running", "completed")


def test_only_whoever_has_a_step_now_ends_it_when_it_was_offered_again(world: World) -> None:
    attempt = world.send()
    offer = world.take("a")
    assert world.report(offer, CallLater(0, {}), worker_id="a")[0].standing is Standing.KEPT
    again = world.take("b")
    late = world.report(offer, CallLater(0, {}), worker_id="a")
    assert late[0].standing is Standing.DROPPED
    done = world.report(again, Completed({}), worker_id="b")
    wait_until(lambda: done)
    assert done[0].standing is Standing.DONE
    world.wait(attempt, "started", "completed")


def test_step_that_was_parked_waits_again_when_its_answer_is_not_written(world: World) -> None:
    world.send()
    offer = world.take("a")
    world.report(offer, CallLater(0, {}))
    world.ask(worker="b").first.cancel()
    assert world.take("c").poll_count == 3
    assert world.waiting_count() == 0


def test_concurrency_is_limited_over_domains(world: World) -> None:
    world.gateway.rule("frob", TaskRules(concurrent_count=1))
    blue = TaskType("frob", "blue")
    world.empty(blue)
    world.send(1)
    world.send(2, key="worker.blue.frob")
    offer = world.take()
    polled = world.ask(blue, hold_s=HOLD_S)
    assert world.ask(blue).offers == ()
    world.complete(offer)
    assert polled.offers[0].type == blue


def test_rate_is_limited(world: World) -> None:
    world.gateway.rule("frob", TaskRules(rate_count=2, rate_s=60))
    for number in range(1, 4):
        world.send(number)
    wait_until(lambda: world.waiting_count() == 3)
    world.complete(world.take())
    world.complete(world.take())
    polled = world.ask(hold_s=100)
    assert world.ask().offers == ()
    world.advance(59)
    assert polled.done == []
    world.advance(1.1)
    assert len(polled.offers) == 1


def test_failed_step_is_tried_again_after_its_pause(world: World) -> None:
    world.gateway.rule("frob", TaskRules(retry_count=1, retry_delay_s=5))
    attempt = world.send()
    offer = world.take()
    told = world.report(offer, Failed("first", {}))
    waiting = "worker.frob.retry.5s"
    wait_until(lambda: told)
    assert told[0].standing is Standing.DONE
    wait_until(lambda: world.broker.message_count(waiting) == 1)
    world.pass_on(waiting)
    again = world.take("b")
    assert (again.retry_count, again.retried_task_id) == (1, offer.task_id)
    assert again.task_id != offer.task_id
    world.report(again, Failed("second", {}))
    world.wait(attempt, "started", "running", "failed")
    assert world.bodies(attempt)[-1]["message"] == "second"
    assert world.gateway.counts["retries"] == 1


def test_level_1_hears_one_start_and_one_end_whatever_the_tries(world: World) -> None:
    world.gateway.rule("frob", TaskRules(retry_count=2, retry_delay_s=0))
    attempt = world.send(headers=None)
    for _ in range(2):
        world.report(world.take(), Failed("no", {}))
        wait_until(lambda: world.broker.message_count("worker.frob.retry.1s") == 1)
        world.pass_on("worker.frob.retry.1s")
    world.complete(world.take())
    world.wait(attempt, "started", "completed")


@pytest.mark.parametrize(
    ("logic", "expected"),
    [
        (RetryLogic.FIXED, [4, 4, 4]),
        (RetryLogic.LINEAR_BACKOFF, [12, 24, 30]),
        (RetryLogic.EXPONENTIAL_BACKOFF, [4, 8, 16]),
    ],
)
def test_pauses_grow_as_the_rules_say(logic: RetryLogic, expected: list[float]) -> None:
    rules = TaskRules(retry_logic=logic, retry_delay_s=4, backoff_scale=3, max_retry_delay_s=30)
    assert [pause_s(rules, tries) for tries in (1, 2, 3)] == expected
    assert pause_s(TaskRules(retry_logic=logic, retry_delay_s=1), 10**6) < float("inf")


def test_people_are_notified_as_the_step_wants(world: World) -> None:
    heard: list[tuple[str, str, list[str]]] = []

    def note(delivery: Delivery) -> None:
        body = json.loads(delivery.body)
        heard.append((delivery.routing_key, body["message"], body["target"]))

    binding = BindingSpec("re", "worker.ircnotify", "notify.irc")
    world.core.declare(TopologySpec(queues=(QueueSpec("worker.ircnotify"),), bindings=(binding,)))
    world.core.consume("worker.ircnotify", note, prefetch=0)
    table = {"started": {"irc": ["#ops"]}, "failed": {"irc": ["bob", "eve"]}}
    attempt = world.send(notify=table)
    world.report(world.take(), Failed("no disk", {}))
    wait_until(lambda: len(heard) == 2)
    assert heard == [
        ("notify.irc", f"frob:Frob started: {attempt}, worker a", ["#ops"]),
        ("notify.irc", f"frob:Frob failed: {attempt}, worker a: no disk", ["bob", "eve"]),
    ]
    world.wait(attempt, "started", "failed")


def test_steps_of_users_that_are_not_accepted_are_turned_away(make_world: MakeWorld) -> None:
    world = make_world(accept_from=("core",))
    stranger = world.send(1)
    world.core.user_id = "core"
    accepted = world.send(2)
    assert world.take().attempt_id == accepted
    world.wait(stranger, "failed")
    wait_until(lambda: world.broker.message_count("re.dead") == 1)


def test_dropped_results_are_said_in_the_log_once_a_minute(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.send()
    offer = world.take("a")
    assert world.complete(offer).standing is Standing.DONE
    assert "results dropped" not in caplog.text
    for number in range(3):
        world.complete(offer, number=number)
    assert caplog.text.count("results dropped") == 1
    assert f"results dropped: 1, the last one of worker '' for task {offer.task_id!a}" in caplog.text
    world.advance(61)
    world.complete(offer)
    assert f"results dropped: 3, the last one of worker '' for task {offer.task_id!a}" in caplog.text
