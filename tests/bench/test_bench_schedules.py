"""Schedules, few; `python -m tests.bench.bench_schedules` runs many. The figures are printed, not judged."""

from __future__ import annotations

import pytest

from tests.bench.bench_schedules import measured

SCHEDULE_COUNT, CODE_COUNT = 300, 3


def test_schedules_are_measured_on_a_broker(broker_url: str) -> None:
    lines = list(measured(broker_url, "sqlite", SCHEDULE_COUNT, CODE_COUNT, 1))
    print("", *lines, sep="\n")
    assert lines[-1].startswith("- 300 schedules of 3 codes")


@pytest.mark.rabbitmq
@pytest.mark.postgres
def test_schedules_are_measured_with_two_cores(rabbitmq_url: str, postgres_url: str) -> None:
    lines = list(measured(rabbitmq_url, postgres_url, SCHEDULE_COUNT, CODE_COUNT, 2))
    print("", *lines, sep="\n")
    assert lines[-1].startswith("- 300 schedules of 3 codes")
