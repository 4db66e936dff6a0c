"""The operator's rules in settings: triggers, pre-deploy checks, post-deploy actions, phase notification.

Two spellings of the same: our own keys, in lower case, and those of 2014, in upper case.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from reworker.config import load_mapping
from reworker.core.rule_reader import RuleReader
from reworker.errors import ConfigError
from reworker.fsm.document import MAX_DEPTH, Node, Problems, TooManyProblems
from reworker.fsm.rules import Rules, TriggerRule

#: our keys; each may be missing, null or, where it is a list, empty.
KEYS = ("triggers", "pre_deploy_checks", "post_deploy_actions", "phase_notification", "step_timeout")
#: the same keys in 2014, and those that a file of then may have now; `TRIGGERS` named a file.
OLD_KEYS = {
    "pre_deploy_checks": "PRE_DEPLOY_CHECK",
    "post_deploy_actions": "POST_DEPLOY_ACTION",
    "phase_notification": "PHASE_NOTIFICATION",
    "step_timeout": "STEP_TIMEOUT",
}
_OLD_TRIGGERS = "STEP_TRIGGERS"

#: values in one settings file with every alias written out.
_MAX_VALUES = 100_000


def rules_of(values: Mapping[str, Any], source: str) -> Rules:
    """Return the rules in our own keys.

    Args:
        values: of the settings file, other keys are left alone: ``{"triggers": [...] | file name,
            "pre_deploy_checks": [...], "post_deploy_actions": [...], "phase_notification": {...},
            "step_timeout": seconds | "4h"}``.
        source: name of the file for errors.

    Raises:
        ConfigError: names file, place and what is wrong.
    """
    given = {key: values[key] for key in KEYS if values.get(key) not in (None, [])}
    named = given.get("triggers")
    if isinstance(named, str):
        found = triggers_in(beside(named, source))
        del given["triggers"]
        return replace(_read(given, source, is_old=False), triggers=found)
    return _read(given, source, is_old=False)


def old_rules_of(values: Mapping[str, Any], source: str) -> Rules:
    """Return the rules in the keys of 2014; raises as `rules_of`."""
    given = {key: values[old] for key, old in OLD_KEYS.items() if values.get(old) not in (None, [])}
    rules = _read(given, source, is_old=True)
    named = values.get("TRIGGERS")
    if named in (None, ""):
        return rules
    if not isinstance(named, str):
        raise ConfigError("expected the name of a file", key="TRIGGERS", path=source)
    return replace(rules, triggers=triggers_in(beside(named, source)))


def triggers_in(path: str) -> tuple[TriggerRule, ...]:
    """Return the triggers of a file: ``{"STEP_TRIGGERS": [...]}`` of 2014, or our ``{"triggers": [...]}``.

    Raises:
        ConfigError: it cannot be read, or is wrong.
    """
    values = load_mapping(path)
    known = _OLD_TRIGGERS if any(key.isupper() for key in values) else "triggers"
    for key in values:
        if key != known:
            raise ConfigError(f"unknown key; a file of triggers has {known} only", key=key, path=path)
    given = {"triggers": values[known]} if values.get(known) else {}
    return _read(given, path, is_old=known == _OLD_TRIGGERS).triggers


def beside(name: str, source: str) -> str:
    """Return the path of a file that a settings file names: beside that, else from the current folder."""
    near = Path(source).parent / name
    return str(near) if near.exists() else name


def _read(given: Mapping[str, Any], source: str, *, is_old: bool) -> Rules:
    problems = Problems(source)
    reader = RuleReader(problems, is_old=is_old)
    found: dict[str, Any] = {}
    try:
        for key, value in given.items():
            path = reader.spelled(key, OLD_KEYS | {"triggers": _OLD_TRIGGERS})
            name, read = reader.parts[key]
            found[name] = read(_node(value, path, source), path)
    except TooManyProblems:
        pass  # the first is what is told
    if problems.found:
        first = problems.found[0]
        raise ConfigError(first.reason, key=first.path, path=source)
    return Rules(**found)


def _node(value: Any, path: str, source: str) -> Node:
    """Return a plain value as nodes, as playbooks are read; what JSON cannot carry is refused."""
    left = _MAX_VALUES

    def made(one: Any, here: str, depth: int) -> Node:
        nonlocal left
        left -= 1
        if depth > MAX_DEPTH or left < 0:
            raise ConfigError("nested too deep, or too many values", key=path, path=source)
        if isinstance(one, dict):
            if not all(isinstance(key, str) for key in one):
                raise ConfigError("a key must be text; quote it", key=here, path=source)
            return Node({key: made(item, f"{here}.{key}", depth + 1) for key, item in one.items()}, 0)
        if isinstance(one, list | tuple):
            return Node([made(item, f"{here}[{index}]", depth + 1) for index, item in enumerate(one)], 0)
        if not _is_plain(one):
            raise ConfigError(
                f"{str(one)[:60]!a} is nothing that JSON can carry; quote it", key=here, path=source
            )
        return Node(one, 0)

    return made(value, path, 0)


def _is_plain(value: Any) -> bool:
    """Tell whether JSON can carry a scalar."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    return value is None or isinstance(value, str)
