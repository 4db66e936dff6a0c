"""Leases over a restart of the gateway: with a file they go on."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from reworker.errors import ConfigError
from reworker.gateway.contract import CallLater, Completed, Standing, TaskType
from reworker.messages import StepHeaders
from tests.unit.gateway.kit import FROB, HOLD_S, IDEMPOTENT, LEVEL_2, MakeWorld, World, wait_until


@pytest.fixture
def ledger(tmp_path: Path) -> str:
    return str(tmp_path / "gateway" / "ledger.db")


def end(world: World) -> None:
    """End a gateway with its connection; its core goes on."""
    world.gateway.close()
    world.bus.close()


def rows(ledger: str) -> int:
    with sqlite3.connect(ledger) as db:
        return int(db.execute("SELECT count(*) FROM leases").fetchone()[0])


@pytest.mark.parametrize("headers", [LEVEL_2, IDEMPOTENT, None])
def test_lease_goes_on_when_the_gateway_was_restarted(
    make_world: MakeWorld, ledger: str, headers: StepHeaders | None
) -> None:
    world = make_world(ledger=ledger)
    attempt = world.send(headers=headers)
    offer = world.take("a")
    end(world)
    again = make_world(before=world, ledger=ledger)
    wait_until(lambda: again.gateway.find(offer.task_id), message="the lease")
    found = again.gateway.find(offer.task_id)
    assert found is not None
    assert (found.worker_id, found.poll_count, found.parameters) == ("a", 1, offer.parameters)
    assert again.ask(worker="b").offers == ()
    assert again.gateway.extend(offer.task_id)
    assert again.complete(offer).standing is Standing.DONE
    world.wait(attempt, "started", "completed")
    again.gateway.house.book.flush()
    assert rows(ledger) == 0
    assert world.waiting_count() == 0


def test_result_is_to_be_said_again_while_its_message_is_not_back(make_world: MakeWorld, ledger: str) -> None:
    world = make_world(ledger=ledger)
    attempt = world.send()
    offer = world.take("a")
    world.gateway.close()  # its connection still holds the message
    again = make_world(before=world, ledger=ledger)
    assert again.gateway.extend(offer.task_id)
    assert again.report(offer, Completed({}))[0].standing is Standing.UNSENT
    world.bus.close()
    again.advance(1.1)
    wait_until(lambda: again.gateway.find(offer.task_id), message="the lease")
    assert again.complete(offer).standing is Standing.DONE
    world.wait(attempt, "started", "completed")


def test_lease_whose_message_never_comes_is_forgotten(make_world: MakeWorld, ledger: str) -> None:
    world = make_world(ledger=ledger)
    world.send()
    offer = world.take("a")
    world.gateway.close()
    again = make_world(before=world, ledger=ledger)
    for pause_s in (1, 2, 4, 8, 16, 32):
        assert again.report(offer, Completed({}))[0].standing is Standing.UNSENT
        again.advance(pause_s + 0.1)
    assert again.report(offer, Completed({}))[0].standing is Standing.DROPPED
    again.gateway.house.book.flush()
    assert rows(ledger) == 0


def test_silence_counts_anew_after_a_restart_and_ends_the_lease(make_world: MakeWorld, ledger: str) -> None:
    world = make_world(ledger=ledger)
    attempt = world.send()
    offer = world.take("a")
    world.clock.advance(700)
    end(world)
    again = make_world(before=world, ledger=ledger)
    wait_until(lambda: again.gateway.find(offer.task_id), message="the lease")
    again.advance(719)
    assert world.statuses(attempt) == ["started"]
    again.advance(2)
    world.wait(attempt, "started", "unknown")


def test_lease_that_was_over_before_the_restart_is_not_looked_for(make_world: MakeWorld, ledger: str) -> None:
    world = make_world(ledger=ledger)
    attempt = world.send()
    offer = world.take("a")
    world.gateway.close()
    world.bus.close()
    world.clock.advance(721)
    again = make_world(before=world, ledger=ledger)
    assert again.report(offer, Completed({}))[0].standing is Standing.DROPPED
    assert again.ask(hold_s=0).offers == ()
    world.wait(attempt, "started", "unknown")


def test_parked_step_is_offered_again_at_its_time_after_a_restart(make_world: MakeWorld, ledger: str) -> None:
    world = make_world(ledger=ledger)
    blue = TaskType("frob", "blue")
    world.empty(blue)
    world.send(key="worker.blue.frob")
    offer = world.take("a", blue)
    world.report(offer, CallLater(60, {"half": True}))
    end(world)
    again = make_world(before=world, ledger=ledger)
    wait_until(lambda: again.gateway.find(offer.task_id), message="the lease")
    polled = again.ask(blue, "b", hold_s=90)
    again.advance(30)
    assert polled.done == []
    again.advance(31)
    (found,) = polled.offers
    assert (found.task_id, found.poll_count, found.output) == (offer.task_id, 2, {"half": True})


def test_step_that_ended_just_before_the_restart_is_answered_again(
    make_world: MakeWorld, ledger: str
) -> None:
    world = make_world(ledger=ledger)
    attempt = world.send()
    offer = world.take("a")
    world.gateway.house.book.flush()
    world.broker.hold_confirms()
    world.report(offer, Completed({}))
    world.bus.close(deadline_s=0)
    world.broker.hold_confirms(False)
    again = make_world(before=world, ledger=ledger)
    wait_until(lambda: world.waiting_count() == 0 and not again.gateway.house.remembered)
    assert again.ask(hold_s=0).offers == ()
    world.wait(attempt, "started", "completed")
    assert again.gateway.counts["leases"] == 0


def test_lease_is_in_the_file_before_its_worker_hears_of_it(make_world: MakeWorld, ledger: str) -> None:
    world = make_world(ledger=ledger)
    found: list[int] = []
    world.gateway.poll(FROB, "a", lambda _: found.append(rows(ledger)), count=2, hold_s=HOLD_S)
    world.send()
    world.send(2)
    wait_until(lambda: found)
    assert found == [2]


def test_offer_that_was_not_read_is_not_remembered(make_world: MakeWorld, ledger: str) -> None:
    world = make_world(ledger=ledger)
    world.send()
    poll = world.ask(hold_s=HOLD_S).wait()
    assert rows(ledger) == 1
    poll.cancel()
    world.gateway.house.book.flush()
    assert rows(ledger) == 0


def test_parked_step_whose_next_worker_has_not_read_it_is_parked_again_after_a_restart(
    make_world: MakeWorld, ledger: str
) -> None:
    world = make_world(ledger=ledger)
    world.send()
    offer = world.take("a")
    world.report(offer, CallLater(0, {}))
    world.ask(worker="b", hold_s=HOLD_S).wait().cancel()
    end(world)
    again = make_world(before=world, ledger=ledger)
    wait_until(lambda: again.gateway.find(offer.task_id), message="the lease")
    assert [one.task_id for one in again.ask(worker="c", hold_s=HOLD_S).offers] == [offer.task_id]


def test_what_ended_leaves_the_file_without_a_transaction_of_its_own(
    make_world: MakeWorld, ledger: str
) -> None:
    world = make_world(ledger=ledger)
    for number in (1, 2):
        world.send(number)
        world.complete(world.take())
        assert rows(ledger) == 1


def test_file_that_cannot_be_written_is_refused_at_the_start(make_world: MakeWorld, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="name a file that can be written"):
        make_world(ledger=str(tmp_path / "file" / "ledger.db"))


def test_file_that_fails_later_costs_a_warning(
    make_world: MakeWorld, ledger: str, caplog: pytest.LogCaptureFixture
) -> None:
    world = make_world(ledger=ledger)
    with sqlite3.connect(ledger) as db:
        db.execute("DROP TABLE leases")
    attempt = world.send()
    offer = world.take()
    world.gateway.house.book.flush()
    assert "a restart would lose leases" in caplog.text
    world.complete(offer)
    world.wait(attempt, "started", "completed")


def test_file_that_holds_nonsense_costs_a_warning(
    make_world: MakeWorld, ledger: str, caplog: pytest.LogCaptureFixture
) -> None:
    end(make_world(ledger=ledger))
    with sqlite3.connect(ledger) as db:
        db.execute("INSERT INTO leases VALUES ('1.1', x'00', 9e9)")
    make_world(ledger=ledger)
    assert "cannot be read" in caplog.text
