"""W1, as `make bench` runs it; the figures are printed, not judged."""

from __future__ import annotations

import pytest

from tests.bench.bench_step import compare


@pytest.mark.rabbitmq
@pytest.mark.parametrize("contender", ["bus", "worker"])
def test_step_is_measured(contender: str, rabbitmq_url: str) -> None:
    report = compare(contender, rabbitmq_url, steps=4000, pairs=5, prefetch=32)
    print(f"\n{report}")
    assert "ratio" in report
