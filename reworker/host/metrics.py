"""Figures of a process in the text format of Prometheus, and the sum of those of several processes.

Written here, not with a client library: the figures are read from where they are counted when somebody asks,
so that a step pays for no registry, and children hand them to their host as plain values.
Source: the text format of Prometheus, version 0.0.4.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"
#: bytes of a page of memory, unless the system says otherwise.
PAGE_BYTES = 4096

Labels = tuple[tuple[str, str], ...]


class Sample(msgspec.Struct, frozen=True, array_like=True):
    """One line; `suffix` is what a line of a histogram adds to its name."""

    labels: Labels
    value: float
    suffix: str = ""


class Family(msgspec.Struct, frozen=True, array_like=True):
    """All lines of one name.

    Args:
        name: with ``_total`` for a counter.
        kind: counter, gauge or histogram.
        text: for people.
        samples: its lines.
    """

    name: str
    kind: str
    text: str
    samples: tuple[Sample, ...]


def counter(name: str, text: str, values: Mapping[Labels, float]) -> Family:
    """Return numbers that only grow."""
    return Family(name, COUNTER, text, tuple(Sample(labels, value) for labels, value in values.items()))


def gauge(name: str, text: str, labels: Labels, value: float) -> Family:
    """Return a number that goes up and down."""
    return Family(name, GAUGE, text, (Sample(labels, float(value)),))  # a bool would not pass as JSON


def histogram_samples(
    labels: Labels, bounds: Sequence[float], counts: Sequence[int], total: float
) -> Iterator[Sample]:
    """Yield the lines of one histogram; `counts` has one number more than `bounds`, for what is above all."""
    passed = 0
    for bound, count in zip([*map(_number, bounds), "+Inf"], counts, strict=True):
        passed += count
        yield Sample((*labels, ("le", bound)), passed, "_bucket")
    yield Sample(labels, total, "_sum")
    yield Sample(labels, passed, "_count")


def merged(groups: Iterable[Iterable[Family]]) -> list[Family]:
    """Return one family of each name; lines with the same labels are added up."""
    heads: dict[str, Family] = {}
    sums: dict[str, dict[tuple[str, Labels], float]] = {}
    for family in (one for group in groups for one in group):
        heads.setdefault(family.name, family)
        mine = sums.setdefault(family.name, {})
        for sample in family.samples:
            key = (sample.suffix, sample.labels)
            mine[key] = mine.get(key, 0.0) + sample.value
    return [
        msgspec.structs.replace(
            head,
            samples=tuple(Sample(labels, value, suffix) for (suffix, labels), value in sums[name].items()),
        )
        for name, head in heads.items()
    ]


def lasting(families: Iterable[Family]) -> list[Family]:
    """Return what outlives the process that counted it: all but the gauges."""
    return [one for one in families if one.kind != GAUGE]


def exposition(families: Iterable[Family]) -> str:
    """Return the text that Prometheus reads."""
    lines: list[str] = []
    for family in families:
        lines.append(f"# HELP {family.name} {_escaped(family.text)}")
        lines.append(f"# TYPE {family.name} {family.kind}")
        for sample in family.samples:
            lines.append(f"{family.name}{sample.suffix}{_labels(sample.labels)} {_number(sample.value)}")
    return "\n".join([*lines, ""])


def _labels(labels: Labels) -> str:
    inner = ",".join(f'{name}="{_quoted(value)}"' for name, value in labels)
    return f"{{{inner}}}" if inner else ""


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _quoted(text: str) -> str:
    """Return a label's value; a lone half of a character, which UTF-8 cannot carry, is written out."""
    return _escaped(text).replace('"', r"\"").encode("utf-8", "backslashreplace").decode("utf-8")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def process_families(version: str, names: str) -> list[Family]:
    """Return what there is to say of any process, by the names that all of Prometheus uses."""
    times = os.times()
    return [
        gauge("reworker_info", "Version, and what runs.", (("version", version), ("parts", names)), 1),
        counter("process_cpu_seconds_total", "Processor time in seconds.", {(): times.user + times.system}),
        gauge("process_resident_memory_bytes", "Memory in use, bytes.", (), _resident_bytes()),
    ]


def _resident_bytes() -> int:
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0
