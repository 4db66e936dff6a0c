"""The published page of the state machine is the one that the tables draw."""

from __future__ import annotations

from pathlib import Path

from reworker.fsm import diagram
from reworker.fsm.states import ATTEMPT_TRANSITIONS, DEPLOYMENT_TRANSITIONS, LIVE_STATUSES, TERMINAL_STATUSES

PAGE = Path(__file__).parents[3] / "docs" / "state-machine.md"


def test_page_is_fresh_when_compared_with_the_tables():
    assert PAGE.read_text(encoding="utf-8") == diagram.page(), diagram.__doc__


def test_page_names_every_transition_when_drawn():
    page = diagram.page()
    for (source, cause), target in [*DEPLOYMENT_TRANSITIONS.items(), *ATTEMPT_TRANSITIONS.items()]:
        assert f"| `{source}` | {cause} | `{target}` |" in page


def test_nothing_follows_when_a_status_is_terminal():
    assert not TERMINAL_STATUSES & {source for source, _ in DEPLOYMENT_TRANSITIONS}


def test_every_status_can_be_left_when_it_is_not_terminal():
    assert {source for source, _ in DEPLOYMENT_TRANSITIONS} >= set(
        type(next(iter(TERMINAL_STATUSES)))
    ) - TERMINAL_STATUSES
    assert {source for source, _ in ATTEMPT_TRANSITIONS} >= LIVE_STATUSES
