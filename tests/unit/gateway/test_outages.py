"""A broker that goes away and comes back, while steps are leased and results are on their way."""

from __future__ import annotations

import logging

import pytest

from reworker.cli.gateway_side import gateway_families
from reworker.errors import ConfigError, TopologyMismatch
from reworker.gateway.contract import Completed, Failed, Standing, TaskRules, TaskType
from reworker.gateway.house import Remembered
from reworker.host.metrics import exposition
from reworker.messages import StepHeaders
from reworker.task_errors import NoRoomForType, TooManyTypes
from tests.unit.gateway.kit import FROB, HOLD_S, IDEMPOTENT, LEVEL_2, MakeWorld, World, wait_until


@pytest.mark.parametrize("headers", [LEVEL_2, IDEMPOTENT, None])
def test_lease_goes_on_when_the_connection_was_lost(world: World, headers: StepHeaders | None) -> None:
    attempt = world.send(headers=headers)
    offer = world.take()
    world.broker.drop_connections()
    wait_until(lambda: world.waiting_count() == 0, message="the lease to have its message again")
    assert world.ask(worker="b").offers == ()
    assert world.complete(offer).standing is Standing.DONE
    world.wait(attempt, "started", "completed")
    wait_until(lambda: world.waiting_count() == 0)


def test_messages_of_others_are_left_when_ours_are_looked_for(world: World) -> None:
    mine = [world.send(number) for number in range(1, 5)]
    offers = [world.take() for _ in mine]
    others = [world.send(number) for number in range(5, 9)]
    wait_until(lambda: world.waiting_count() == 4)
    for _ in range(3):
        world.broker.drop_connections()
        wait_until(lambda: world.waiting_count() == 4, message="the leases to have their messages again")
    for offer, attempt in zip(offers, mine, strict=True):
        assert world.complete(offer).standing is Standing.DONE
        world.wait(attempt, "started", "completed")
    for attempt in others:
        assert world.take("b").attempt_id == attempt  # in their order: nobody had touched them
        world.wait(attempt, "started")


def test_two_gateways_find_each_its_own_steps_when_both_were_cut(make_world: MakeWorld) -> None:
    one = make_world()
    attempts = [one.send(number) for number in range(1, 5)]
    two = make_world(before=one)
    holders = (one, two, two, one)
    offers = [holder.take() for holder in holders]
    one.broker.drop_connections()

    def are_all_back() -> bool:
        one.clock.advance(0.6)
        for world in (one, two):
            world.gateway.timers.run_due()
        return one.waiting_count() == 0

    wait_until(are_all_back, message="the leases to have their messages again")
    for holder, offer, attempt in zip(holders, offers, attempts, strict=True):
        assert holder.complete(offer).standing is Standing.DONE
        one.wait(attempt, "started", "completed")


@pytest.mark.parametrize("headers", [LEVEL_2, None])
def test_result_is_sent_once_when_the_broker_comes_back(world: World, headers: StepHeaders | None) -> None:
    attempt = world.send(headers=headers)
    offer = world.take()
    world.wait(attempt, "started")
    world.broker.stop()
    told = world.report(offer, Completed({}))
    world.advance(8.1)
    wait_until(lambda: told)
    assert told[0].standing is Standing.UNSENT
    again = world.report(offer, Completed({}))
    world.broker.start()
    wait_until(lambda: again)
    assert again[0].standing is Standing.DONE
    world.wait(attempt, "started", "completed")
    assert world.report(offer, Completed({}))[0].standing is Standing.DROPPED
    wait_until(lambda: world.waiting_count() == 0)
    assert world.ask().offers == ()
    assert world.statuses(attempt) == ["started", "completed"]


@pytest.mark.parametrize("headers", [LEVEL_2, None])
def test_result_is_sent_when_its_publish_had_been_given_up(world: World, headers: StepHeaders | None) -> None:
    attempt = world.send(headers=headers)
    offer = world.take()
    world.wait(attempt, "started")
    world.broker.stop()
    told = world.report(offer, Completed({}))
    world.advance(31)
    wait_until(lambda: told)
    wait_until(lambda: world.gateway.find(offer.task_id) is None, message="the end of the publish")
    assert world.report(offer, Completed({}))[0].standing is Standing.DROPPED
    world.broker.start()
    world.wait(attempt, "started", "completed")
    wait_until(lambda: world.waiting_count() == 0)


@pytest.mark.parametrize("headers", [LEVEL_2, None])
def test_result_that_no_reply_can_carry_is_told_when_the_broker_comes_back(
    world: World, headers: StepHeaders | None
) -> None:
    attempt = world.send(headers=headers)
    offer = world.take()
    world.wait(attempt, "started")
    world.broker.stop()
    told = world.report(offer, Completed({"text": "x" * (2 << 20)}))
    world.advance(31)
    wait_until(lambda: told)
    wait_until(lambda: world.gateway.find(offer.task_id) is None, message="the end of the publish")
    world.broker.start()
    world.wait(attempt, "started", "failed")
    assert "over the limit" in world.bodies(attempt)[-1]["message"]
    wait_until(lambda: world.waiting_count() == 0)


def test_what_is_remembered_is_bounded_by_count_and_size() -> None:
    kept = Remembered(max_count=3, max_bytes=100)
    for number in range(5):
        kept.keep(str(number), number, 10)
    assert [kept.get(str(number)) for number in range(5)] == [None, None, 2, 3, 4]
    kept.keep("4", "again", 70)
    assert (kept.get("2"), kept.get("3"), kept.get("4"), len(kept)) == (2, 3, "again", 3)
    kept.keep("large", 1, 95)
    assert (len(kept), kept.pop("large"), kept.pop("large"), len(kept)) == (1, 1, None, 0)
    kept.keep("small", 2, 95)
    assert kept.get("small") == 2


def test_result_is_kept_while_the_broker_blocks(world: World) -> None:
    attempt = world.send()
    offer = world.take()
    world.wait(attempt, "started")
    world.broker.block()
    told = world.report(offer, Completed({}))
    world.advance(31)
    wait_until(lambda: told)
    assert told[0].standing is Standing.UNSENT
    world.broker.block(False)
    world.wait(attempt, "started", "completed")


def test_failed_step_waits_for_the_broker_before_it_waits_for_its_next_try(world: World) -> None:
    world.gateway.rule("frob", TaskRules(retry_count=1, retry_delay_s=1))
    world.send(headers=None)
    offer = world.take()
    world.broker.stop()
    told = world.report(offer, Failed("no", {}))
    world.broker.start()
    wait_until(lambda: world.gateway.timers.run_due() or world.clock.advance(1) or told)
    wait_until(lambda: world.broker.message_count("worker.frob.retry.1s") == 1)


def test_polls_wait_on_when_the_connection_was_lost(world: World) -> None:
    polled = world.ask(hold_s=HOLD_S)
    world.broker.drop_connections()
    attempt = world.send()
    assert polled.offers[0].attempt_id == attempt


def test_repeated_delivery_of_a_finished_step_is_answered_again(world: World) -> None:
    attempt = world.send()
    offer = world.take()
    world.wait(attempt, "started")
    world.broker.hold_confirms()
    world.report(offer, Completed({}))
    world.broker.drop_connections()
    world.broker.hold_confirms(False)
    world.wait(attempt, "started", "completed")
    wait_until(lambda: world.waiting_count() == 0)
    ids = {one.properties.message_id for one in world.replies}
    assert len(ids) == 2


def test_step_that_another_gateway_has_lost_is_unknown(make_world: MakeWorld) -> None:
    first = make_world()
    attempt = first.send()
    first.take()
    first.bus.close()
    second = make_world(before=first)
    assert second.ask(hold_s=0).offers == ()
    first.wait(attempt, "started", "unknown")


def test_leases_end_with_the_bus_and_what_was_not_written_goes_back_at_once(make_world: MakeWorld) -> None:
    world = make_world()
    begun, unwritten = world.send(1, IDEMPOTENT), world.send(2)
    world.take()
    polled = world.ask(hold_s=HOLD_S)
    waiting = world.ask(hold_s=HOLD_S)
    assert polled.offers
    world.gateway.close()
    assert waiting.offers == ()
    wait_until(lambda: world.waiting_count() == 1)
    assert world.ask().offers == ()
    world.bus.close()
    other = make_world(before=world)
    found = {other.take().attempt_id, other.take().attempt_id}
    assert found == {begun, unwritten}
    world.wait(unwritten, "started")


@pytest.mark.parametrize("name", ["a b", "#", "*", "", "a\x00", "\u202e", "x" * 201, "f.retry.5s", ".."])
def test_names_that_no_queue_can_have_are_refused(world: World, name: str) -> None:
    for kind in (TaskType(name), TaskType("frob", name)) if name else (TaskType(name),):
        with pytest.raises(ConfigError):
            world.ask(kind)


@pytest.mark.parametrize(
    "kind",
    [
        TaskType("5s", "frob.retry"),
        TaskType("retry.5s", "frob"),
        TaskType("code.0123456789abcdef01234567"),
        TaskType("0123456789abcdef01234567", "code"),
    ],
)
def test_queues_that_are_kept_for_others_are_refused(world: World, kind: TaskType) -> None:
    with pytest.raises(ConfigError, match="is kept for"):
        world.ask(kind)


@pytest.mark.parametrize("domain", ["b.l", "NO_DOMAIN"])
def test_domain_that_no_playbook_can_name_is_refused(world: World, domain: str) -> None:
    with pytest.raises(ConfigError, match="domain: expected 1 to 100 letters"):
        world.ask(TaskType("frob", domain))


def test_names_that_are_too_long_with_their_domain_are_refused(world: World) -> None:
    with pytest.raises(ConfigError, match="longer than the"):
        world.ask(TaskType("x" * 150, "y" * 150))


def test_so_many_types_are_polled_at_most_and_idle_ones_make_room(make_world: MakeWorld) -> None:
    world = make_world(max_types=2)
    world.gateway._sweep()
    blue, red = TaskType("frob", "blue"), TaskType("frob", "red")
    world.ask(blue)
    world.send()
    world.take()
    with pytest.raises(NoRoomForType, match="2 types are already"):
        world.ask(red)
    world.advance(631)
    world.ask(red)
    assert {one.type for one in world.gateway.polled("frob")} == {FROB, red}


def test_polls_are_counted_by_type_and_a_hundred_types_told_apart(make_world: MakeWorld) -> None:
    world = make_world()
    for number in range(105):
        world.ask(TaskType(f"t{number}", "blue" if number % 2 else ""))
    world.ask(TaskType("t1"))
    polls = world.gateway.tally.polls
    assert (len(polls), polls["frob"], polls["t1"], polls["t0"], polls["other"]) == (101, 1, 2, 1, 6)
    told = exposition(gateway_families(world.gateway))
    assert 'task_poll_total{taskType="t1"} 2\n' in told


def test_type_that_nobody_polls_makes_way_for_another_one(make_world: MakeWorld) -> None:
    world = make_world(max_types=3)
    blue, red, green = (TaskType("frob", one) for one in ("blue", "red", "green"))
    world.send()
    held = world.take()
    world.ask(blue)
    world.advance(1)
    world.ask(red)
    world.advance(58)
    with pytest.raises(NoRoomForType):
        world.ask(green)
    world.advance(2)  # the one with a lease is the oldest, and stays
    world.ask(green)
    assert {one.type for one in world.gateway.polled("frob")} == {FROB, red, green}
    assert world.complete(held).standing is Standing.DONE
    world.empty(blue)  # and comes back, once there is room again


def test_one_token_leaves_types_to_others(make_world: MakeWorld) -> None:
    world = make_world(max_types=4, max_types_each=2)
    first, second, third = (TaskType(one) for one in ("first", "second", "third"))
    for kind in (first, second):
        world.ask(kind, owner="greedy")
    with pytest.raises(TooManyTypes, match="'third' cannot be polled with this token: 2 types"):
        world.ask(third, owner="greedy")
    world.ask(first, owner="greedy")
    world.ask(third, owner="other")
    world.advance(61)
    world.ask(second, owner="greedy")
    world.ask(TaskType("fourth"), owner="greedy")  # for which their own oldest makes way
    assert {one.type.name for one in world.gateway.polled()} == {"frob", "second", "third", "fourth"}
    # no name of its own for what was never served
    assert world.gateway.tally.errors == {("other", "TooManyTypes"): 1}


def test_types_of_which_nothing_is_left_are_forgotten(world: World) -> None:
    for number in range(3):
        world.gateway.rule(f"other{number}", TaskRules(retry_count=1))
    assert len(world.gateway.house.quotas) == 4
    for name in ("other0", "other1", "other2", "frob"):
        world.gateway.rule(name, None)
    assert list(world.gateway.house.quotas) == ["frob"]  # which is polled


def test_queue_that_cannot_be_declared_is_told_and_tried_again(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    kind = TaskType("odd")
    world.declare_otherwise("worker.odd")
    assert world.ask(kind, hold_s=HOLD_S).offers == ()
    assert "worker.odd cannot be polled" in caplog.text
    with pytest.raises(TopologyMismatch):
        world.ask(kind)
    world.broker.delete_queue("worker.odd")
    world.clock.advance(6)
    world.empty(kind)


def test_polled_queue_is_marked_with_a_message(world: World) -> None:
    marker = "re.polled.worker.frob"
    wait_until(lambda: world.broker.message_count(marker) == 1)
    world.ask()
    world.clock.advance(5)
    world.ask()
    wait_until(lambda: world.broker.message_count(marker) == 2)  # this broker has no x-max-length


def test_malformed_and_duplicate_messages_are_not_offered(world: World) -> None:
    world.send_raw(b"not json", correlation_id="1.1")
    first = world.send(5)
    offer = world.take()
    assert offer.attempt_id == first
    world.send(5)
    world.send(5)
    wait_until(lambda: world.waiting_count() == 2)
    assert world.ask(worker="b").offers == ()
    world.complete(offer)
    world.wait(first, "started", "completed")
    world.wait("1.1", "failed")
    assert world.waiting_count() == 0
    assert world.broker.message_count("re.dead") == 1
