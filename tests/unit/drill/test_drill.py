"""Which strikes a drill makes."""

from __future__ import annotations

from reworker.cli.drill import table_of
from reworker.drill.drill import Report, blows_of, sample, with_stops
from reworker.drill.faults import Action
from reworker.drill.lane import Blow

PASSAGES = {"core": {"before-ack": 2, "after-ack": 1}, "worker": {"before-end": 3}}


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


def test_table_shows_every_count_when_a_drill_is_over() -> None:
    report = Report(
        strikes={"core.before-ack": 3, "worker.after-end": 4},
        missed_count=1,
        outcomes={"completed": 20, "failed": 1},
        decision_count=2,
        faults={"lost": 0, "doubled": 1},
        problems=["doubled: ..."],
        duration_s=1.25,
    )
    assert not report.is_clean
    lines = [line.split(maxsplit=1) for line in table_of(report).splitlines()]
    assert dict(lines) == {
        "struck": "7 at 2 points, 1 missed",
        "deployments": "21: 20 completed, 1 failed",
        "asked": "2 times whether to try again",
        "lost": "0",
        "doubled": "1",
        "duration": "1.2 s",
    }
