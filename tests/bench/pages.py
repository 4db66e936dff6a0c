"""Where figures go: between marks on a page, with a plot beside it, and what they depend on."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path


def place() -> str:
    """Return what figures depend on: date, machine, its load."""
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, {os.cpu_count()} CPUs, "
        f"Python {platform.python_version()}, load average {os.getloadavg()[0]:.1f}"
    )


def written(page: str, mark: str, lines: list[str]) -> str:
    """Return a page with these lines between the marks of this name.

    Raises:
        ValueError: the page has no such marks.
    """
    begin, end = f"<!-- figures: {mark}; made by `make bench` -->", f"<!-- end of figures: {mark} -->"
    before, found, rest = page.partition(begin)
    _, is_ended, after = rest.partition(end)
    if not found or not is_ended:
        raise ValueError(f"the page has no marks for the figures {mark!r}")
    return "\n".join([before + begin, *lines, end + after])


def chart(page: Path, name: str, title: str, values: Mapping[str, float], own: str) -> str:
    """Draw bars beside a page, the shortest on top; return the picture's name. Our own bar is marked.

    Args:
        page: that shows the picture.
        name: of the picture.
        title: with the unit of the values.
        values: by label.
        own: label of our bar.
    """
    from matplotlib.figure import Figure

    shown = sorted(values.items(), key=lambda one: -one[1])
    figure = Figure(figsize=(7, 0.4 * len(shown) + 1), layout="constrained")
    axes = figure.add_subplot()
    colours = ["#1f6f54" if label == own else "#9aa5b1" for label, _ in shown]
    bars = axes.barh([label for label, _ in shown], [value for _, value in shown], color=colours)
    axes.bar_label(bars, fmt="%.0f", padding=3)
    axes.set_title(title, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    picture = f"benchmarks-{name}.svg"
    figure.savefig(page.with_name(picture), metadata={"Date": None})
    return picture
