"""The operator's rules as plain JSON values and back, for the database."""

from __future__ import annotations

from typing import Any

from reworker.fsm.plan_json import step_from_json, steps_to_json
from reworker.fsm.rules import PhaseNotice, Rules, TriggerRule


def rules_to_json(rules: Rules) -> dict[str, Any]:
    """Return the rules as plain JSON values; no rules are an empty object."""
    kept: dict[str, Any] = {
        "triggers": [{**vars(one), "step": steps_to_json(one.step)} for one in rules.triggers],
        "checks": [steps_to_json(one) for one in rules.checks],
        "actions": [steps_to_json(one) for one in rules.actions],
        "step_timeout_s": rules.step_timeout_s,
        "notice": rules.notice and {**vars(rules.notice), "targets": list(rules.notice.targets)},
    }
    return {name: value for name, value in kept.items() if value}


def rules_from_json(value: dict[str, Any]) -> Rules:
    """Return the rules that `rules_to_json` wrote.

    Raises:
        KeyError, TypeError, ValueError: the value was not written by `rules_to_json`.
    """
    notice = value.get("notice")
    return Rules(
        triggers=tuple(
            TriggerRule(**{**one, "step": step_from_json(one["step"])}) for one in value.get("triggers", ())
        ),
        checks=tuple(step_from_json(one) for one in value.get("checks", ())),
        actions=tuple(step_from_json(one) for one in value.get("actions", ())),
        step_timeout_s=value.get("step_timeout_s"),
        notice=PhaseNotice(**{**notice, "targets": tuple(notice["targets"])}) if notice else None,
    )
