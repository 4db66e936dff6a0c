"""The core's workloads, small; `make bench` runs them in full. The figures are printed, not judged."""

from __future__ import annotations

import pytest

from tests.bench.bench_core import WORKLOADS, measured

#: part of a workload's size that only shows that it runs.
SCALE = 0.02


@pytest.mark.parametrize("name", [name for name in WORKLOADS if name not in ("two_cores", "takeover")])
def test_workload_is_measured_on_a_broker(name: str, broker_url: str) -> None:
    title, *lines = measured(broker_url, "sqlite", [name], SCALE)
    print("", title, *lines, sep="\n")
    assert lines


@pytest.mark.rabbitmq
@pytest.mark.postgres
@pytest.mark.parametrize("name", WORKLOADS)
def test_workload_is_measured_on_rabbitmq_and_postgresql(
    name: str, rabbitmq_url: str, postgres_url: str
) -> None:
    title, *lines = measured(rabbitmq_url, postgres_url, [name], SCALE)
    print("", title, *lines, sep="\n")
    assert lines
