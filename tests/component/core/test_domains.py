"""Which of its domains a step is sent to."""

from __future__ import annotations

import logging

import msgspec
import pytest

from reworker.bus.contract import Outgoing, Properties, QueueSpec, TopologySpec
from reworker.bus.memory import MemoryBroker, MemoryBus
from reworker.bus.queue_state import OnFound, QueueState
from reworker.core.bus_look import work_by_queue
from reworker.core.bus_watch import recent_work
from reworker.core.domain_choice import FRESH_S, DomainChoice
from reworker.core.domain_keys import has_choice, key_of, keys_of, routed
from reworker.storage.contract import OutboxRow
from reworker.topology import names
from reworker.topology.model import worker_topology
from tests.component.core.kit import FakeClock, Worker, World, playbook, running

ALL = ["blue", "green", "NO_DOMAIN"]


class DomainWorker(Worker):
    """A scripted worker whose queue stands in a domain, with the name that most workers' queues have."""

    def __init__(self, broker: MemoryBroker, domain: str, suffix: str = "noopworker") -> None:
        self._own_keys = names.step_keys(suffix, domain)
        super().__init__(broker, f"{domain}.{suffix}")

    def _declare(self, queue: str, key: str) -> None:
        self.bus.declare(worker_topology(queue, self._own_keys))


def make_unread(world: World, queue: str, *, is_polled: bool = False) -> None:
    """Make a queue without a consumer; its marker holds a message when somebody polls it."""
    bus = MemoryBus(world.broker, is_threaded=False, name="gateway")
    bus.open(timeout_s=1)
    bus.declare(worker_topology(queue, [queue]))
    marker = names.polled_queue(queue)
    bus.declare(TopologySpec(queues=(QueueSpec(marker),)))
    if is_polled:
        bus.publish(Outgoing("", marker, b"", Properties()))


def sent_to(world: World, text: str | None = None) -> tuple[str, str]:
    """Run a playbook; return where its attempt was sent to, by its row and by its snapshot's history."""
    own_id = world.core.service.submit(text or playbook({"noop:Do": None, "domain": ALL}))
    world.run()
    chosen = [one.data["domain"] for one in world.core.service.events(own_id) if one.kind == "DomainChosen"]
    (attempt,) = world.core.service.attempts(own_id)
    assert chosen in ([attempt.row.domain], [])
    return attempt.row.domain, attempt.row.status


@pytest.mark.parametrize("suffix", ["noopworker", "noop"])
def test_step_goes_to_the_first_domain_that_a_worker_is_in(world: World, suffix: str) -> None:
    green, plain = DomainWorker(world.broker, "green", suffix), Worker(world.broker)
    assert sent_to(world) == ("green", "completed")
    assert (len(green.steps), len(plain.steps)) == (1, 0)
    blue = DomainWorker(world.broker, "blue", suffix)
    world.clock.advance(FRESH_S)
    assert sent_to(world) == ("blue", "completed")
    assert blue.steps[0].routing_key == "worker.blue.noop"


def test_step_goes_to_the_last_domain_when_nobody_is_in_any(world: World) -> None:
    assert sent_to(world) == ("", "unroutable")
    text = playbook({"noop:Do": None, "domain": ["blue", "green"]})
    assert sent_to(world, text) == ("green", "unroutable")


def test_step_goes_to_a_domain_that_is_polled(world: World) -> None:
    make_unread(world, "worker.green.noop", is_polled=True)
    assert sent_to(world) == ("green", "sent")
    assert world.broker.message_count("worker.green.noop") == 1


def test_step_does_not_go_to_a_queue_that_nobody_reads(world: World) -> None:
    make_unread(world, "worker.blue.noop")
    reader = DomainWorker(world.broker, "green")
    assert sent_to(world) == ("green", "completed")
    assert len(reader.steps) == 1


def test_answer_holds_for_a_second(world: World) -> None:
    assert sent_to(world)[0] == ""
    DomainWorker(world.broker, "blue")
    assert sent_to(world)[0] == ""
    world.clock.advance(FRESH_S)
    assert sent_to(world)[0] == "blue"


def test_single_domain_is_taken_without_a_question(world: World) -> None:
    looks: list[str] = []
    world._bus.look = lambda queue, on_found, **_: looks.append(queue)
    blue, plain = DomainWorker(world.broker, "blue"), Worker(world.broker)
    assert sent_to(world, playbook({"noop:Do": None, "domain": "blue"})) == ("blue", "completed")
    assert sent_to(world, playbook("noop:Do")) == ("", "completed")
    assert sent_to(world, playbook({"noop:Do": None, "domain": "NO_DOMAIN"})) == ("", "completed")
    assert (len(blue.steps), len(plain.steps), looks) == (1, 2, [])


def test_another_attempt_chooses_anew(world: World) -> None:
    blue = DomainWorker(world.broker, "blue")
    blue.script = ({"status": "started"}, {"status": "failed"})
    step = {"noop:Do": None, "domain": ALL, "retry": {"attempts": 2, "backoff": 2}}
    own_id = world.core.service.submit(playbook(step))
    world.run()
    blue.bus.close()
    green = DomainWorker(world.broker, "green")
    world.advance(3)
    assert world.status(own_id) == "completed"
    assert [one.row.domain for one in world.core.service.attempts(own_id)] == ["blue", "green"]
    assert len(green.steps) == 1


def test_row_that_is_not_sent_keeps_its_domains_over_a_restart(world: World) -> None:
    world.broker.block()
    own_id = world.core.service.submit(playbook({"noop:Do": None, "domain": ALL}))
    world.run()
    world.kill()
    (row,) = world.make_storage(world.path).reader.outbox()
    assert row.routing_key == "worker.blue,green,NO_DOMAIN.noop"
    world.broker.block(False)
    DomainWorker(world.broker, "green")
    with running(world):
        world.advance(2)
        assert world.status(own_id) == "completed"
        assert world.core.service.attempts(own_id)[0].row.domain == "green"


def test_attempt_that_is_called_off_while_its_domain_is_chosen_is_not_sent(world: World) -> None:
    held: list[OnFound] = []
    world._bus.look = lambda queue, on_found, **_: held.append(on_found)
    plain = Worker(world.broker)
    own_id = world.core.service.submit(playbook({"noop:Do": None, "domain": ALL}))
    world.run()
    assert (len(held), world.core._publisher.in_flight_count) == (1, 1)
    world.core.service.cancel(own_id)
    world.advance(60)
    assert world.status(own_id) == "cancelled"
    held.pop()(None)
    world.run()
    assert (plain.steps, world.core._publisher.in_flight_count) == ([], 0)


def test_core_that_may_not_wait_longer_publishes_nothing(world: World) -> None:
    held: list[OnFound] = []
    world._bus.look = lambda queue, on_found, **_: held.append(on_found)
    plain = Worker(world.broker)
    own_id = world.core.service.submit(playbook({"noop:Do": None, "domain": ALL, "idempotent": True}))
    world.run()
    world.clock.advance(world.settings.lease_s)
    held.pop()(None)
    world.run()
    assert plain.steps == []
    del world._bus.look
    world.advance(2)
    assert (world.status(own_id), len(plain.steps)) == ("completed", 1)


def test_work_in_a_domain_is_that_of_its_queue(world: World) -> None:
    DomainWorker(world.broker, "blue").script = ()
    assert sent_to(world) == ("blue", "sent")
    work = recent_work(world.storage.reader, world.clock.now())
    assert [one.command for one in work] == ["blue.noop"]
    assert list(work_by_queue(["worker.noop", "worker.blue.noopworker"], work)) == ["worker.blue.noopworker"]
    assert list(work_by_queue(["worker.noop"], work)) == ["worker.blue.noop"]


def row_of(key: str, kind: str = "step") -> OutboxRow:
    given = dict.fromkeys(OutboxRow.__struct_fields__)
    return OutboxRow(**{**given, "kind": kind, "routing_key": key})


def test_key_of_a_row_says_all_domains_until_one_is_chosen() -> None:
    domains = ("blue", "NO_DOMAIN")
    row = row_of(key_of("noop", domains))
    assert (row.routing_key, has_choice(row)) == ("worker.blue,NO_DOMAIN.noop", True)
    assert routed(row, "blue").routing_key == "worker.blue.noop"
    assert routed(row, "").routing_key == "worker.noop"
    assert keys_of("noop", domains) == ("worker.blue.noop", "worker.noop")
    assert keys_of("noop", ()) == ("worker.noop",)
    assert not has_choice(row_of("a,b", kind="answer"))
    assert [has_choice(row_of(key_of("noop", one))) for one in ((), ("blue",))] == [False, False]


class ScriptedBus:
    """Remembers what is asked, and answers when the test says so."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, OnFound]] = []

    def look(self, queue: str, on_found: OnFound, *, deadline_s: float) -> None:
        self.asked.append((queue, on_found))

    def answer(self, state: QueueState | None) -> str:
        queue, on_found = self.asked.pop(0)
        on_found(state)
        return queue


def test_steps_that_wait_for_the_same_answer_ask_once() -> None:
    bus, found = ScriptedBus(), []
    choice = DomainChoice(bus, FakeClock())
    row = row_of("worker.blue,green.noop")
    for _ in range(3):
        choice.choose(row, found.append)
    assert (len(bus.asked), found) == (1, [])
    assert bus.answer(QueueState(is_there=False)) == "worker.blue.noopworker"
    assert bus.answer(QueueState(is_there=True, message_count=3)) == "worker.blue.noop"
    assert bus.answer(QueueState(is_there=True)) == "re.polled.worker.blue.noopworker"
    assert bus.answer(QueueState(is_there=True, message_count=1)) == "re.polled.worker.blue.noop"
    assert (found, bus.asked) == (["blue"] * 3, [])


def test_last_domain_is_taken_and_one_line_logged_when_the_broker_does_not_answer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bus, found, clock = ScriptedBus(), [], FakeClock()
    choice = DomainChoice(bus, clock)
    row = msgspec.structs.replace(row_of("worker.blue,green.noop"))
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            choice.choose(row, found.append)
            bus.answer(None)
    assert (found, len(caplog.records)) == (["green"] * 3, 1)
    choice.choose(row, found.append)
    bus.answer(QueueState(is_there=True, consumer_count=1))
    assert found[-1] == "blue"
    clock.advance(FRESH_S)
    choice.choose(row, found.append)
    bus.answer(None)
    assert len(caplog.records) == 2
