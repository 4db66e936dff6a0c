"""Figures in the text of Prometheus; what is written is read by its own library."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from reworker.host.metrics import (
    COUNTER,
    HISTOGRAM,
    Family,
    Sample,
    counter,
    exposition,
    gauge,
    histogram_samples,
    lasting,
    merged,
    process_families,
)

BOUNDS = (0.5, 1.0)


def durations(*counts: int, total: float = 1.5) -> Family:
    samples = tuple(histogram_samples((("worker", "w"),), BOUNDS, counts, total))
    return Family("seconds", HISTOGRAM, "How long.", samples)


def read(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    families = text_string_to_metric_families(text)
    return {
        (one.name, frozenset(one.labels.items())): one.value for family in families for one in family.samples
    }


def test_text_is_read_by_the_library_as_it_was_meant() -> None:
    families = [counter("jobs_total", "Jobs.", {(("worker", "w"),): 3}), gauge("up", "Up.", (), 0.25)]
    found = read(exposition([*families, durations(1, 2, 3)]))
    assert found[("jobs_total", frozenset({("worker", "w")}))] == 3
    assert found[("up", frozenset())] == 0.25
    buckets = {
        dict(labels)["le"]: value for (name, labels), value in found.items() if name.endswith("_bucket")
    }
    assert buckets == {"0.5": 1, "1": 3, "+Inf": 6}
    assert found[("seconds_count", frozenset({("worker", "w")}))] == 6
    assert found[("seconds_sum", frozenset({("worker", "w")}))] == 1.5


@pytest.mark.parametrize("value", ['a"b', "a\\b", "a\nb", "\u202e", 'x"} 1\nfake_total{y="', ""])
def test_label_comes_back_whatever_a_message_puts_into_it(value: str) -> None:
    found = read(exposition([counter("jobs_total", "Jobs.", {(("subcommand", value),): 1})]))
    assert found == {("jobs_total", frozenset({("subcommand", value)})): 1}


def test_half_a_character_is_written_out() -> None:
    text = exposition([counter("jobs_total", "Jobs.", {(("subcommand", "\ud800"),): 1})])
    assert text.encode()
    assert "ud800" in text


def test_figures_of_several_are_added_by_their_labels() -> None:
    one = [counter("jobs_total", "Jobs.", {(("worker", "a"),): 1, (("worker", "b"),): 5}), durations(1, 0, 0)]
    other = [counter("jobs_total", "Jobs.", {(("worker", "a"),): 2}), durations(1, 1, 1)]
    found = read(exposition(merged([one, other])))
    assert found[("jobs_total", frozenset({("worker", "a")}))] == 3
    assert found[("jobs_total", frozenset({("worker", "b")}))] == 5
    assert found[("seconds_count", frozenset({("worker", "w")}))] == 4
    assert found[("seconds_sum", frozenset({("worker", "w")}))] == 3


def test_gauges_do_not_outlive_their_process() -> None:
    families = [counter("jobs_total", "Jobs.", {(): 1}), gauge("up", "Up.", (), 1), durations(1, 0, 0)]
    assert [one.name for one in lasting(families)] == ["jobs_total", "seconds"]


def test_process_tells_its_memory_and_time() -> None:
    found = {one.name: one for one in process_families("1.2", "worker x")}
    assert found["process_resident_memory_bytes"].samples[0].value > 1_000_000
    assert found["process_cpu_seconds_total"].samples[0].value > 0
    assert found["reworker_info"].samples == (Sample((("version", "1.2"), ("parts", "worker x")), 1),)
    assert found["process_cpu_seconds_total"].kind == COUNTER
