"""Settings of a core."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reworker.core.settings import KEYS, CoreSettings, core_settings
from reworker.errors import ConfigError
from reworker.fsm.rules import Rules

EXAMPLE = Path(__file__).parents[3] / "conf" / "core.yaml"


def test_example_shows_every_key_with_its_default() -> None:
    assert core_settings(str(EXAMPLE), {}) == CoreSettings(rules=Rules())
    text = EXAMPLE.read_text()
    assert all(f"\n{name}:" in text for name in KEYS)


def test_environment_wins_over_the_file() -> None:
    found = core_settings(str(EXAMPLE), {"REWORKER_CORE_EXCHANGE": "x", "REWORKER_CORE_LEASE_S": "2.5"})
    assert (found.exchange, found.lease_s) == ("x", 2.5)


def test_queues_of_the_core_have_the_type_that_is_set() -> None:
    of_type = {"re.replies": "quorum", "re.output": "quorum", "jobs": "quorum", "re.dead": "classic"}
    queues = core_settings({"queue_type": "quorum", "job_queue": "jobs"}, {}).topology().queues
    assert {one.name: one.arguments.get("x-queue-type") for one in queues} == of_type


def test_values_may_be_given_as_a_mapping() -> None:
    assert core_settings({"window": 7}, {}).window == 7
    assert core_settings(environ={}) == CoreSettings()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("windoww", 1),
        ("queue_type", "lazy"),
        ("window", 0),
        ("window", "many"),
        ("lease_s", -1),
        ("lease_s", True),
        ("name", "../core"),
        ("name", ""),
        ("exchange", 5),
        ("job_queue", None),
        ("database", "x.db"),
    ],
)
def test_error_names_the_key_when_a_value_is_wrong(key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=key):
        core_settings({key: value}, {})
