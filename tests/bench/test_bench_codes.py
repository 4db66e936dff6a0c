"""The bench of code workers, small; `make bench` runs it in full. Nothing is judged by time."""

from __future__ import annotations

from tests.bench.bench_codes import measured, report


def test_tasks_are_measured() -> None:
    figures = measured(8, 2, 1)
    assert figures.tasks_per_s > 0
    assert "with 2 slots" in "\n".join(report(figures, 2))
