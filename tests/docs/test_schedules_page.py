"""The page about schedules is right about its expressions and words."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import msgspec
import pytest

from reworker.cli.schedule import add
from reworker.core.tasks.firing import LATE_S, MOST_AT_ONCE, Missed
from reworker.core.tasks.schedule_drafts import LEAST_EVERY_S, ScheduleDraft, made
from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "schedules.md").read_text()
ROW = re.compile(r"^\| `([^`]+)` \| (?:`([^`]+)`)? ?\| (2026\S+)Z \|", re.MULTILINE)
ROWS = ROW.findall(PAGE)
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(("cron", "zone", "expected"), ROWS)
def test_first_moment_of_an_expression_is_as_the_page_says(cron: str, zone: str, expected: str) -> None:
    draft = ScheduleDraft("Report", cron=cron, time_zone=zone)
    row = made(draft, NEW_YEAR, own_id="1" * 24, project_id="2" * 24)
    assert row.next_at == datetime.fromisoformat(f"{expected}+00:00")


def test_page_has_expressions_and_all_policies_with_their_bounds() -> None:
    assert len(ROWS) == 6
    for one in Missed:
        assert re.search(rf"^\| `{one}`", PAGE, re.MULTILINE)
    assert f"a task for each, {MOST_AT_ONCE} at most" in PAGE
    assert f"seconds between two tasks, {LEAST_EVERY_S:g} at least" in PAGE
    assert (LATE_S, "more than a minute ago" in PAGE) == (60, True)


def test_page_has_every_option_of_the_command_and_no_other() -> None:
    general = {"--project", "--db", "--server", "--output", "-o"}
    known = {text for one in add.params for text in one.opts if text.startswith("-")} - general
    table = PAGE.split("| option | key |")[1].split("\n\n")[0]
    assert set(re.findall(r"`(--[a-z-]+)`", table)) == known


def test_example_is_a_schedule() -> None:
    (text,) = re.findall(r"```json\n(.+)\n```", PAGE)
    (example,) = msgspec.json.decode(text)["schedules"]
    draft = ScheduleDraft(**example)
    assert made(draft, NEW_YEAR, own_id="1" * 24, project_id="2" * 24).run_times == 20
