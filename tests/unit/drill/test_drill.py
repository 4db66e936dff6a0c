"""Which strikes a drill makes."""

from __future__ import annotations

import pytest

from reworker.cli.drill import table_of, url_of
from reworker.config import MqSettings, Secret, mq_settings
from reworker.drill.drill import HARMS, Report
from reworker.drill.faults import Action, points_of
from reworker.drill.frames import Harm, Side
from reworker.drill.lane import ROLES
from reworker.drill.strikes import (
    Blow,
    Shares,
    blows_of,
    interruptions_of,
    pairs_of,
    sample,
    shares_of,
    with_stops,
)

PASSAGES = {"core": {"before-ack": 2, "after-ack": 1}, "worker": {"before-end": 3}}
#: as in a drill: every point is passed some times.
MANY = {role: dict.fromkeys(points_of(role), 9) for role in ROLES}


def test_every_passage_of_every_point_is_struck_once() -> None:
    assert [str(blow) for blow in blows_of(PASSAGES)] == [
        "core.before-ack:1:kill",
        "core.before-ack:2:kill",
        "core.after-ack:1:kill",
        "worker.before-end:1:kill",
        "worker.before-end:2:kill",
        "worker.before-end:3:kill",
    ]


def test_sample_is_spread_evenly_when_it_is_smaller() -> None:
    blows = blows_of(PASSAGES)
    assert sample(blows, 3) == blows[::2]
    assert sample(blows, len(blows)) == blows


def test_sample_repeats_when_it_is_larger() -> None:
    blows = blows_of(PASSAGES)
    assert len(sample(blows, 15)) == 15
    assert set(map(str, sample(blows, 15))) == set(map(str, blows))


def test_sample_is_empty_when_there_is_nothing_to_strike() -> None:
    assert sample([], 5) == []


def test_some_blows_let_the_process_stand_still() -> None:
    blows = with_stops([Blow("core", "before-ack", number) for number in range(1, 7)], share=3)
    assert [blow.action for blow in blows] == [Action.KILL, Action.KILL, Action.STOP] * 2


def test_every_fifth_strike_is_at_both_and_every_fifth_at_a_connection() -> None:
    assert shares_of(250, has_connections=True) == Shares(150, 50, 50)
    assert shares_of(250, has_connections=False) == Shares(200, 50, 0)
    assert shares_of(4, has_connections=True) == Shares(4, 0, 0)


def test_pairs_are_of_all_points_with_ever_other_ones() -> None:
    pairs = pairs_of(MANY, 8 * 14)
    assert len({pair.place for pair in pairs}) == len(points_of("core")) * len(points_of("worker"))
    assert {pair.core.number for pair in pairs} == {pair.worker.number for pair in pairs} == set(range(1, 10))
    assert all(
        pair.core.number < pair.worker.number or pair.worker.number == 9 for pair in pairs if pair.is_long
    )
    assert {pair.core.place for pair in pairs if not pair.is_long} == {
        f"core.{point}" for point in points_of("core")
    }
    assert sum(pair.is_long for pair in pairs) == len(pairs) * 3 // 4
    assert str(pairs[0]) == "core.before-commit:1:kill and worker.before-perform:3:kill, away for long"


def test_pairs_leave_out_points_that_are_not_passed() -> None:
    passages = {"core": {"before-ack": 0, "after-ack": 1}, "worker": {"before-end": 3}}
    assert {pair.place for pair in pairs_of(passages, 9)} == {"core.after-ack and worker.before-end"}
    assert pairs_of({**passages, "worker": {"before-end": 0}}, 9) == []


def test_connections_are_harmed_at_every_frame_in_each_way_in_turn() -> None:
    frames = {"core": {Side.UP: 3, Side.DOWN: 3}, "worker": {Side.UP: 1, Side.DOWN: 1}}
    found = interruptions_of(frames, HARMS, 10)
    places = [(one.role, one.fault.side, one.fault.number) for one in found]
    assert places == [
        *(("core", Side.UP, number) for number in range(4)),
        *(("core", Side.DOWN, number) for number in range(1, 4)),
        *(("worker", Side.UP, number) for number in range(2)),
        ("worker", Side.DOWN, 1),
    ]
    assert [one.fault.harm for one in found[:5]] == [Harm.CUT, Harm.FREEZE, Harm.RESET, Harm.DELAY, Harm.CUT]
    assert found[1].fault.hold_s > 0
    assert str(found[0]) == "core: cut before frame 0 up"
    assert interruptions_of(frames, HARMS, 0) == []


@pytest.mark.parametrize(
    "url",
    [
        "amqp://guest:guest@127.0.0.1:5699/%2F?heartbeat=7",
        "amqp://an%40n:p%2F%3Aw@mq1.example.org:5672/a%2Fb?heartbeat=60",
        "amqp://guest:guest@[::1]:5672/x?heartbeat=60",
    ],
)
def test_url_leads_to_the_same_broker_with_the_same_login(url: str) -> None:
    assert url_of(mq_settings(url)) == url


def test_url_is_of_the_first_of_several_brokers() -> None:
    settings = MqSettings(servers=("mq1:5673", "mq2"), password=Secret("p"))
    assert url_of(settings).startswith("amqp://guest:p@mq1:5673/%2F?")


def test_table_shows_every_count_when_a_drill_is_over() -> None:
    report = Report(
        strikes={"core.before-ack": 3, "worker.after-end": 4},
        pairs={"core.before-ack and worker.after-end": 2},
        interruptions={"core.cut": 1, "worker.cut": 1, "worker.freeze": 3},
        missed_count=1,
        outcomes={"completed": 20, "failed": 1},
        decision_count=2,
        faults={"lost": 0, "doubled": 1},
        problems=["doubled: ..."],
        duration_s=1.25,
    )
    assert not report.is_clean
    assert report.strike_count == 7 + 2 + 5
    lines = [line.split(maxsplit=1) for line in table_of(report).splitlines()]
    assert dict(lines) == {
        "struck": "7 at 2 points",
        "together": "2 times core and worker, at 1 pairs of points",
        "connections": "5: 2 cut, 3 frozen",
        "missed": "1 strikes whose moment did not come",
        "deployments": "21: 20 completed, 1 failed",
        "asked": "2 times whether to try again",
        "lost": "0",
        "doubled": "1",
        "duration": "1.2 s",
    }
