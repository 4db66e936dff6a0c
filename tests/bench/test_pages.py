"""Figures on a page."""

from __future__ import annotations

import pytest

from tests.bench.pages import written

PAGE = """# Figures

<!-- figures: core; made by `make bench` -->
- old
<!-- end of figures: core -->

Words.
"""


def test_figures_take_the_place_of_older_ones_on_a_page() -> None:
    assert written(PAGE, "core", ["- new"]) == PAGE.replace("- old", "- new")


def test_figures_are_not_lost_when_a_page_has_no_marks_for_them() -> None:
    with pytest.raises(ValueError, match="no marks"):
        written(PAGE, "jobs", ["- new"])
