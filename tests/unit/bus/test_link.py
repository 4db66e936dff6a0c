"""How long a bus that has lost its broker pauses between two tries."""

from __future__ import annotations

import pytest

from reworker.bus.link import RETRY_CAP_S, cap_s


@pytest.mark.parametrize(
    ("away_s", "longest_s"), [(0, 1.5), (10, 1.5), (60, 6), (300, RETRY_CAP_S), (1e6, RETRY_CAP_S)]
)
def test_pause_grows_with_the_outage_and_not_faster(away_s: float, longest_s: float) -> None:
    assert cap_s(away_s) == pytest.approx(longest_s)
