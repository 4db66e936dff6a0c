"""What workers say beside a result, however much it is."""

from __future__ import annotations

import json

from reworker.bus.contract import BindingSpec, TopologySpec
from reworker.gateway.contract import Completed, Failed
from reworker.messages import OUTPUT_LIMIT_BYTES
from tests.unit.gateway.kit import World, wait_until


def test_lines_are_sent_as_output_and_those_of_others_are_not(world: World) -> None:
    lines: list[str] = []
    world.core.declare(TopologySpec(bindings=(BindingSpec("re", "re.output", "output"),)))
    world.core.consume("re.output", lambda one: lines.append(json.loads(one.body)["message"]), prefetch=0)
    world.send()
    offer = world.take()
    assert world.gateway.say(offer.task_id, ["one", "t\xf6o"])
    world.report(offer, Completed({}), lines=["three"])
    wait_until(lambda: lines == ["one", "t\xf6o", "three"])
    assert not world.gateway.say("no.such", ["four"])


def test_lines_are_all_sent_when_thousands_come_at_once(world: World) -> None:
    bodies: list[dict[str, str]] = []
    world.core.declare(TopologySpec(bindings=(BindingSpec("re", "re.output", "output"),)))
    world.core.consume("re.output", lambda one: bodies.append(json.loads(one.body)), prefetch=0)
    world.send()
    lines = [f"line {number}" for number in range(10_000)] + ["x" * 70_000]
    world.report(world.take(), Completed({}), lines=lines)
    text = "".join(lines[:-1])

    def came() -> list[str]:
        return "".join(one["message"] for one in bodies).splitlines()

    wait_until(lambda: len(came()) == len(lines), message="all lines")
    assert "".join(came()[:-1]) == text
    assert came()[-1].endswith("x [cut]")
    assert max(len(one["message"]) for one in bodies) <= OUTPUT_LIMIT_BYTES + 1
    assert {one["stream"] for one in bodies} == {"out"}  # by which the core takes them apart


def test_reason_without_end_is_cut(world: World) -> None:
    attempt = world.send()
    told = world.report(world.take(), Failed("no room" + " on the disk" * 1_000_000, {"disk": 1}))
    wait_until(lambda: told)
    world.wait(attempt, "started", "failed")
    reply = world.bodies(attempt)[-1]
    assert reply["data"]["output"] == {"disk": 1}
    assert reply["message"].startswith("no room on the disk")
    assert reply["message"].endswith("[cut]")
    assert len(reply["message"]) <= OUTPUT_LIMIT_BYTES
