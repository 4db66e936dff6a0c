"""W2, W6 and the soak, small; `make bench` and `make soak` run them in full. Nothing is judged by time."""

from __future__ import annotations

import itertools

import pytest

from tests.bench.bench_jobs import measured, report
from tests.bench.bench_worker import scale, scale_by_shares
from tests.bench.shares import parent_group
from tests.bench.soak import Soak, slope_per_hour
from tests.support.rabbitmq import RabbitMQNode


@pytest.mark.rabbitmq
@pytest.mark.parametrize("name", ["reworker", "pika, by hand"])
def test_jobs_are_measured(name: str, rabbitmq_url: str) -> None:
    results = measured(itertools.repeat(rabbitmq_url), [name], 500, 1, 50)
    assert name in report(results, {name: "1"})[-1]


@pytest.mark.rabbitmq
@pytest.mark.slow
def test_scale_is_measured() -> None:
    with RabbitMQNode() as node:
        assert [line.partition(" ")[0] for line in scale(node, 1)] == ["1", "2", "4"]


@pytest.mark.rabbitmq
@pytest.mark.slow
def test_scale_by_shares_says_how_much_is_linear_or_what_it_needs() -> None:
    with RabbitMQNode() as node:
        (line,) = scale_by_shares(node, 1)
    assert ("% of linear" in line) is (parent_group() is not None)


@pytest.mark.rabbitmq
def test_soak_loses_nothing_when_the_connection_is_cut(rabbitmq_url: str) -> None:
    soak = Soak(rabbitmq_url, 0.1, 4, is_once=False)
    soak.run()
    assert soak.tally.problems == []
    assert soak.cut_count >= 1
    assert soak.tally.done_count > 100


def test_slope_is_that_of_a_line() -> None:
    assert slope_per_hour([(0, 10), (1, 11), (2, 12)]) == pytest.approx(3600)
