"""Triggers, checks, actions and the notice of a settings file: each key, what it may hold, what it means."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from reworker.fsm import checks
from reworker.fsm.document import Node, Problems
from reworker.fsm.playbook import Expectation, OnUnknown, Step
from reworker.fsm.rules import PhaseNotice, TriggerRule

#: where the spelling of 2014 is not just ours in capitals.
OLD_NAMES = {"expect": "EXPECTATION", "match": "EXPECTATION_MATCH", "url": "TABOOT_URL"}

_STEP_KEYS = ("command", "subcommand", "parameters")
#: keys of steps that 2014 did not have.
_CONTROL_KEYS = ("timeout", "queue_timeout", "idempotent")
#: parameters that the core adds to every step message.
_RESERVED = ("command", "subcommand", "hosts")


class RuleReader:
    """Turns nodes into rules, gathering problems."""

    def __init__(self, problems: Problems, *, is_old: bool) -> None:
        self._problems, self._is_old = problems, is_old
        self.parts = {
            "triggers": ("triggers", self._triggers),
            "pre_deploy_checks": ("checks", self._checks),
            "post_deploy_actions": ("actions", self._actions),
            "phase_notification": ("notice", self._notice),
            "step_timeout": ("step_timeout_s", self._duration_s),
        }

    def spelled(self, key: str, others: Mapping[str, str] = OLD_NAMES) -> str:
        """Return a key as the file spells it."""
        return others.get(key, key.upper()) if self._is_old else key

    def _triggers(self, node: Node, path: str) -> tuple[TriggerRule, ...]:
        found = checks.items(self._problems, node, path, "triggers")
        return tuple(self._trigger(one, f"{path}[{index}]") for index, one in enumerate(found))

    def _trigger(self, node: Node, path: str) -> TriggerRule:
        entries = self._entries(node, path, ("description", "when"), ("when",))
        here = f"{path}.{self.spelled('when')}"
        when = (
            self._keys(entries["when"], here, ("next_command", "next_subcommand"))
            if "when" in entries
            else {}
        )
        if not when:
            names = f"{self.spelled('next_command')}, {self.spelled('next_subcommand')} or both"
            self._problems.add(f"must say {names}", node.line, here)
        words = {
            key: checks.word(self._problems, value, f"{here}.{self.spelled(key)}")
            for key, value in when.items()
        }
        title = self._text(entries, "description", path)
        return TriggerRule(step=self._step(entries, path, title), description=title, **words)

    def _checks(self, node: Node, path: str) -> tuple[Step, ...]:
        found = checks.items(self._problems, node, path, "checks")
        return tuple(self._check(one, f"{path}[{index}]") for index, one in enumerate(found))

    def _check(self, node: Node, path: str) -> Step:
        required = ("name", "expect") if self._is_old else ("name",)
        entries = self._entries(node, path, ("name", "expect", "match"), required)
        step = self._step(entries, path, self._text(entries, "name", path))
        if "expect" not in entries:
            return step
        is_subset = self._text(entries, "match", path, default="equal") == "subset"
        if "match" in entries and entries["match"].value not in ("equal", "subset"):
            here = f"{path}.{self.spelled('match')}"
            self._problems.add("must be equal or subset", node.line, here)
        checks.mapping(
            self._problems, entries["expect"], f"{path}.{self.spelled('expect')}", "what is expected"
        )
        return replace(step, expectation=Expectation(body=entries["expect"].plain(), is_subset=is_subset))

    def _actions(self, node: Node, path: str) -> tuple[Step, ...]:
        found = checks.items(self._problems, node, path, "actions")
        return tuple(self._action(one, f"{path}[{index}]") for index, one in enumerate(found))

    def _action(self, node: Node, path: str) -> Step:
        entries = self._entries(node, path, ("name",), ("name",))
        return self._step(entries, path, self._text(entries, "name", path))

    def _notice(self, node: Node, path: str) -> PhaseNotice:
        entries = self._keys(node, path, ("url", "topic", "target"), ("topic", "target"))
        url = self._text(entries, "url", path)
        if url.replace("%s", "", 1).count("%"):
            here = f"{path}.{self.spelled('url')}"
            self._problems.add("may hold one %s, for the deployment's id, and no other %", node.line, here)
        targets: tuple[str, ...] = ()
        if "target" in entries:
            target = entries["target"]
            listed = Node([target], target.line) if isinstance(target.value, str) else target
            here = f"{path}.{self.spelled('target')}"
            targets = checks.texts(self._problems, listed, here, "targets")
        return PhaseNotice(topic=self._line(entries, "topic", path), targets=targets, url=url)

    def _duration_s(self, node: Node, path: str) -> float:
        return checks.duration_s(self._problems, node, path)

    def _step(self, entries: dict[str, Node], path: str, title: str) -> Step:
        names = {
            key: checks.word(self._problems, entries[key], f"{path}.{self.spelled(key)}")
            for key in ("command", "subcommand")
            if key in entries
        }
        command, subcommand = names.get("command", ""), names.get("subcommand", "")
        return Step(
            key=f"{command}:{subcommand}",
            command=command,
            subcommand=subcommand,
            title=title,
            **self._parameters(entries, path),
            **self._controls(entries, path),
        )

    def _parameters(self, entries: dict[str, Node], path: str) -> dict[str, Any]:
        """Read the parameters of a step, and `notify` and `dynamic` among them, as in a playbook."""
        here = f"{path}.{self.spelled('parameters')}"
        node = entries.get("parameters")
        if node is None or node.value is None:
            return {}
        given = dict(checks.mapping(self._problems, node, here, "the parameters of a step"))
        found: dict[str, Any] = {}
        if "notify" in given:
            found["notify"] = checks.notify(self._problems, given.pop("notify"), f"{here}.notify")
        if "dynamic" in given:
            names = checks.texts(self._problems, given.pop("dynamic"), f"{here}.dynamic", "dynamic")
            found["dynamic_names"] = names
        for name in _RESERVED:
            if name in given:
                reason = f"parameter {name!r} is set by the core; choose another name"
                self._problems.add(reason, node.line, f"{here}.{name}")
        return {**found, "parameters": {name: value.plain() for name, value in given.items()}}

    def _controls(self, entries: dict[str, Node], path: str) -> dict[str, Any]:
        found: dict[str, Any] = {
            f"{key}_s": checks.duration_s(self._problems, entries[key], f"{path}.{key}")
            for key in ("timeout", "queue_timeout")
            if key in entries
        }
        if "idempotent" in entries and checks.flag(
            self._problems, entries["idempotent"], f"{path}.idempotent"
        ):
            found |= {"is_idempotent": True, "on_unknown": OnUnknown.RETRY}
        return found

    def _entries(
        self, node: Node, path: str, others: tuple[str, ...], required: tuple[str, ...]
    ) -> dict[str, Node]:
        """Return what stands in a trigger, check or action."""
        known = (*others, *_STEP_KEYS) if self._is_old else (*others, *_STEP_KEYS, *_CONTROL_KEYS)
        return self._keys(node, path, known, (*required, "command", "subcommand"))

    def _keys(
        self, node: Node, path: str, known: tuple[str, ...], required: tuple[str, ...] = ()
    ) -> dict[str, Node]:
        """Return the entries of a mapping under our names of its keys."""
        by_spelling = {self.spelled(key): key for key in known}
        given = checks.mapping(self._problems, node, path, "this")
        found: dict[str, Node] = {}
        for key, value in given.items():
            if key in by_spelling:
                found[by_spelling[key]] = value
            else:
                self._problems.add(f"unknown key{near(key, by_spelling)}", value.line, f"{path}.{key}")
        if isinstance(node.value, dict):
            for key in required:
                if key not in found:
                    self._problems.add(f"{self.spelled(key)!r} is missing", node.line, path)
        return found

    def _text(self, entries: dict[str, Node], key: str, path: str, default: str = "") -> str:
        if key not in entries:
            return default
        return checks.text(self._problems, entries[key], f"{path}.{self.spelled(key)}")

    def _line(self, entries: dict[str, Node], key: str, path: str) -> str:
        if key not in entries:
            return ""
        return checks.line_of_text(self._problems, entries[key], f"{path}.{self.spelled(key)}")


def near(key: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'NAME'?`` or, when no known key is near, all of them; case does not matter."""
    known = list(known)
    spelled = {one.lower(): one for one in known}
    found = get_close_matches(key[:100].lower(), spelled, n=1)
    return f"; did you mean {spelled[found[0]]!r}?" if found else f"; known: {', '.join(known)}"
