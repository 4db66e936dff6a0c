"""W1, small; `make bench` runs it in full. The figures are printed, not judged."""

from __future__ import annotations

import pytest

from tests.bench.bench_step import compare


@pytest.mark.rabbitmq
@pytest.mark.parametrize("contender", ["bus", "worker"])
def test_step_is_measured(contender: str, rabbitmq_url: str) -> None:
    report = compare(contender, rabbitmq_url, steps=500, pairs=1, prefetch=32)
    print("", *report, sep="\n")
    assert report[-1].startswith("| ratio to the second")
