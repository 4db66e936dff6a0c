"""Connections cut, frozen and delayed at every frame of a session, of core and worker, in both directions."""

from __future__ import annotations

import pytest

from reworker.drill.frames import Harm
from reworker.drill.lane import LEASE_S
from tests.support.lanes import Lanes, harm_everywhere

pytestmark = [pytest.mark.fault, pytest.mark.slow, pytest.mark.timeout(600)]

#: frames that each direction of a connection has at least, from its beginning to the end of a deployment.
LEAST_COUNT = 25
#: silence longer than a claim holds, and shorter than anybody's patience.
LONG_S, SHORT_S = 2 * LEASE_S, 0.05
SAMPLED = ((Harm.FREEZE, LONG_S), (Harm.DELAY, SHORT_S), (Harm.RESET, 0.0), (Harm.DELAY, LONG_S))


def test_deployments_end_truly_when_a_connection_is_cut_at_any_frame(embedded_lanes: Lanes) -> None:
    counts = harm_everywhere(embedded_lanes, 0, 1, [(Harm.CUT, 0.0)], share=2)
    report = embedded_lanes.finish()
    assert report.problems == []
    assert min(counts.values()) >= LEAST_COUNT, counts
    assert report.outcomes == {"completed": sum(report.outcomes.values())}


def test_deployments_end_truly_when_a_connection_is_silent_at_a_frame(
    embedded_lanes: Lanes, moment_count: int
) -> None:
    counts = harm_everywhere(embedded_lanes, 1, max(1, 100 // moment_count), SAMPLED)
    report = embedded_lanes.finish()
    assert report.problems == []
    assert min(counts.values()) >= LEAST_COUNT * moment_count // 150, counts


@pytest.mark.rabbitmq
def test_deployments_end_truly_when_a_connection_is_harmed_at_a_frame_on_rabbitmq(
    rabbitmq_lanes: Lanes, moment_count: int
) -> None:
    harms = [(Harm.CUT, 0.0), *SAMPLED]
    counts = harm_everywhere(rabbitmq_lanes, 1, max(1, 100 // moment_count), harms)
    report = rabbitmq_lanes.finish()
    assert report.problems == []
    assert min(counts.values()) >= LEAST_COUNT * moment_count // 150, counts
