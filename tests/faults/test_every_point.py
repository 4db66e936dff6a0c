"""Core and worker killed at every point of their work, by count: before and after each thing that they do."""

from __future__ import annotations

import random

import msgspec
import pytest

from reworker.drill.faults import Action, points_of
from reworker.drill.lane import ROLES
from reworker.drill.strikes import Blow, blows_of, pairs_of, sample
from tests.support.lanes import Lanes

pytestmark = [pytest.mark.fault, pytest.mark.slow]

#: systems that are attacked side by side: while one waits for a lease, others work.
LANE_COUNT = 6
#: passages of kill points in a release, at the least; all are tried when so many moments are asked for, else
#: the first of each point and one in so many of the others.
LEAST_COUNT, ALL_FROM, SHARE = 500, 100, 4


def stops(blows: list[Blow], count: int) -> list[Blow]:
    """Return so many of the blows, with SIGSTOP and later SIGCONT instead of an end."""
    return [msgspec.structs.replace(blow, action=Action.STOP) for blow in sample(blows, count)]


def chosen(blows: list[Blow], moments: random.Random, moment_count: int) -> list[Blow]:
    """Return the blows to try in this run: over the runs, all of them."""
    if moment_count >= ALL_FROM:
        return blows
    turn = moments.randrange(SHARE)
    return [blow for blow in blows if blow.number == 1 or blow.number % SHARE == turn]


@pytest.mark.timeout(900)
def test_deployments_end_truly_when_a_process_dies_at_any_point(
    embedded_lanes: Lanes, moments: random.Random, moment_count: int
) -> None:
    drill = embedded_lanes.open(LANE_COUNT)
    passages = drill.passages()
    unpassed = [(role, point) for role in ROLES for point in points_of(role) if not passages[role][point]]
    assert not unpassed
    everything = blows_of(passages)
    assert len(everything) >= LEAST_COUNT
    blows = chosen(everything, moments, moment_count)
    drill.strike([*blows, *stops(everything, moment_count)])
    report = embedded_lanes.finish(drill)
    assert report.problems == []
    assert report.strike_count >= 0.9 * len(blows)
    assert set(report.strikes) == {f"{role}.{point}" for role in ROLES for point in points_of(role)}
    assert report.missed_count <= len(blows) / 20
    assert report.outcomes["completed"] >= 2 * report.strike_count, (
        "those that may be repeated, and asked for"
    )


@pytest.mark.timeout(900)
def test_deployments_end_truly_when_core_and_worker_die_together(
    embedded_lanes: Lanes, moment_count: int
) -> None:
    drill = embedded_lanes.open(LANE_COUNT)
    pairs = pairs_of(drill.passages(), moment_count // 2)
    drill.strike(pairs)
    report = embedded_lanes.finish(drill)
    assert report.problems == []
    assert report.strike_count >= 0.8 * len(pairs)


@pytest.mark.rabbitmq
@pytest.mark.postgres
@pytest.mark.timeout(900)
def test_deployments_end_truly_when_a_process_dies_at_some_point_on_rabbitmq_and_postgresql(
    server_lanes: Lanes, moments: random.Random, moment_count: int
) -> None:
    drill = server_lanes.open(LANE_COUNT // 2)
    blows = blows_of(drill.passages())
    drill.strike(moments.sample(blows, min(2 * moment_count, len(blows))))
    report = server_lanes.finish(drill)
    assert report.problems == []
    assert report.strike_count >= moment_count


@pytest.mark.rabbitmq
@pytest.mark.timeout(900)
def test_deployments_end_truly_when_processes_are_killed_at_random(
    rabbitmq_lanes: Lanes, moments: random.Random, moment_count: int
) -> None:
    drill = rabbitmq_lanes.open(2)
    hit_count = 0
    for lane in rabbitmq_lanes.opened:
        for turn in range(moment_count // 2):
            hit_count += lane.kill_amid(ROLES[turn % 2], moments.uniform(0, 0.15))
    report = rabbitmq_lanes.finish(drill)
    assert report.problems == []
    assert hit_count >= moment_count / 4, "most should die in the middle of a deployment"


@pytest.mark.rabbitmq
@pytest.mark.postgres
@pytest.mark.timeout(900)
def test_another_core_does_the_work_when_one_of_two_dies_or_stands_still(
    server_lanes: Lanes, moments: random.Random, moment_count: int
) -> None:
    drill = server_lanes.open(LANE_COUNT // 2, has_partner=True)
    # the two share the work, so high numbers are seldom reached
    blows = [Blow("core", point, number) for point in points_of("core") for number in range(1, 5)]
    kills = moments.sample(blows, min(moment_count // 2, len(blows)))
    # one that stands still amid a transaction holds up everybody, as any client of a database
    stills = [blow for blow in blows if not blow.point.endswith("commit")]
    drill.strike([*kills, *stops(moments.sample(stills, 4), moment_count // 5)])
    report = server_lanes.finish(drill)
    assert report.problems == []
    assert report.strike_count >= moment_count / 4
