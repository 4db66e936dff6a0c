"""Where plans are carried out, and what of many deployments somebody may see."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pytest

from reworker.core.places import narrowed, place_of
from reworker.core.principal import Limits, Place
from reworker.core.submission import plan_of
from reworker.fsm.playbook import Step
from reworker.fsm.rules import Rules
from reworker.storage.contract import DeploymentFilter, PlaceCount

PLACES = [
    PlaceCount("running", "web-a", "production", 1),
    PlaceCount("failed", "web-b", "", 2),
    PlaceCount("failed", "db", "staging", 3),
]


def test_place_of_a_plan_has_every_host_of_every_sequence_once() -> None:
    sequences = [
        {"hosts": ["web1", "web2"], "steps": ["noop:Do"]},
        {"hosts": ["web2", "db1"], "steps": ["noop:Do", "noop:Else"]},
    ]
    text = json.dumps({"group": "web", "name": "n", "environment": "staging", "execution": sequences})
    check = Step(key="noop:Look", command="noop", subcommand="Look")
    plan = plan_of(text, {}, "playbook", Rules(checks=(check,)))
    assert place_of(plan) == Place("web", "staging", ("web1", "web2", "db1"))


def never() -> Iterable[PlaceCount]:
    raise AssertionError("literal patterns need no look at the database")


@pytest.mark.parametrize(
    ("limits", "wanted", "found"),
    [
        (Limits(), DeploymentFilter(), DeploymentFilter()),
        (Limits(hosts=("web1",)), DeploymentFilter(), DeploymentFilter()),
        (Limits(groups=("db", "x")), DeploymentFilter(), DeploymentFilter(groups=("db", "x"))),
        (Limits(groups=("db",)), DeploymentFilter(groups=("web-a",)), None),
        (Limits(groups=("db",)), DeploymentFilter(groups=("web-a", "db")), DeploymentFilter(groups=("db",))),
        (Limits(groups=("web-*",)), DeploymentFilter(groups=("db",)), None),
        (
            Limits(groups=("web-*",)),
            DeploymentFilter(groups=("db", "web-z")),
            DeploymentFilter(groups=("web-z",)),
        ),
        (Limits(environments=("",)), DeploymentFilter(), DeploymentFilter(environments=("",))),
    ],
)
def test_filter_is_narrowed_without_a_look_when_names_are_known(
    limits: Limits, wanted: DeploymentFilter, found: DeploymentFilter | None
) -> None:
    assert narrowed(wanted, limits, never) == found


@pytest.mark.parametrize(
    ("limits", "found"),
    [
        (Limits(groups=("web-*",)), DeploymentFilter(groups=("web-a", "web-b"))),
        (Limits(groups=("x*",)), None),
        (Limits(environments=("*",)), DeploymentFilter(environments=("production", "", "staging"))),
        (
            Limits(groups=("[dw]*b",), environments=("st*",)),
            DeploymentFilter(groups=("web-b", "db"), environments=("staging",)),
        ),
    ],
)
def test_patterns_become_the_names_that_there_are(limits: Limits, found: DeploymentFilter | None) -> None:
    assert narrowed(DeploymentFilter(), limits, lambda: PLACES) == found


def test_filter_stays_wide_when_patterns_fit_more_names_than_a_query_takes() -> None:
    many = [PlaceCount("failed", f"web-{number}", "", 1) for number in range(501)]
    limits = Limits(groups=("web-*",))
    assert narrowed(DeploymentFilter(), limits, lambda: many) == DeploymentFilter()
