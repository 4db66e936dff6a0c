"""Reading one step of a playbook, with the steps that verify it and take it back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from reworker.fsm import checks, control_parsing
from reworker.fsm.document import Node, Problems
from reworker.fsm.domains import domains
from reworker.fsm.playbook import OnUnknown, Step

CONTROL_KEYS = (
    *("timeout", "queue_timeout", "delay", "retry", "idempotent"),
    *("on_unknown", "when", "verify", "rollback", "id", "domain"),
)
_APPROVAL = "approval"

#: parameters that the core adds to every step message.
_RESERVED_PARAMETERS = ("command", "subcommand", "hosts")


@dataclass(frozen=True)
class _Place:
    """What a step may have, by where it stands."""

    what: str
    controls: tuple[str, ...]
    may_notify: bool = True


_IN_SEQUENCE = _Place("a step", CONTROL_KEYS)
_AS_VERIFY = _Place("a verify step", ("timeout", "queue_timeout", "domain"), may_notify=False)
_AS_ROLLBACK = _Place(
    "a rollback step", ("timeout", "queue_timeout", "retry", "idempotent", "on_unknown", "domain")
)


class StepReader:
    """Turns nodes into steps, gathering problems."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems

    def step(self, node: Node, path: str, place: _Place = _IN_SEQUENCE) -> Step:
        """Return the step, or one without a command if the node is none."""
        if isinstance(node.value, str):
            return Step(**self._names(node.value, node.line, path))
        entries = checks.mapping(self._problems, node, path, place.what)
        keys = [key for key in entries if ":" in key]
        if place is _IN_SEQUENCE and _APPROVAL in entries and not keys:
            return self._approval(entries, path)
        if len(keys) != 1:
            if isinstance(node.value, dict):
                self._explain_keys(entries, keys, node, path)
            return Step(key="", command="", subcommand="")
        body = entries[keys[0]]
        controls = {key: value for key, value in entries.items() if key != keys[0]}
        self._check_controls(controls, place, keys[0], path, is_bare=body.value is None)
        return Step(
            **self._names(keys[0], body.line, path),
            **self._body(body, f"{path}.{keys[0]}", place),
            **self._controls(controls, path, place),
        )

    def _approval(self, entries: dict[str, Node], path: str) -> Step:
        controls = {key: value for key, value in entries.items() if key != _APPROVAL}
        place = _Place("an approval", ("id", "when"))
        is_bare = entries[_APPROVAL].value is None
        self._check_controls(controls, place, _APPROVAL, path, is_bare=is_bare)
        found = control_parsing.approval(self._problems, entries[_APPROVAL], f"{path}.{_APPROVAL}")
        named = self._controls(controls, path, place)
        return Step(key=_APPROVAL, command="", subcommand="", approval=found, **named)

    def _explain_keys(self, entries: dict[str, Node], keys: list[str], node: Node, path: str) -> None:
        """Say why a mapping is no step: it needs one key with a colon."""
        reason = 'a step is "command:Subcommand"'
        if keys:
            reason = f"one step per item, not {len(keys)}: {', '.join(keys[:5])}"
        elif _APPROVAL in entries:
            reason = "an approval is an item of its own in a sequence"
        else:
            split = [(key, value.value) for key, value in entries.items() if key not in CONTROL_KEYS]
            if split and isinstance(split[0][1], str) and checks.is_word(split[0][0] + split[0][1]):
                reason += f"; did you mean {split[0][0]}:{split[0][1]}, without a space?"
        self._problems.add(reason, node.line, path)

    def _check_controls(
        self, controls: dict[str, Node], place: _Place, key: str, path: str, *, is_bare: bool
    ) -> None:
        """Refuse what stands beside a step and is no control key there; often it is indented too little."""
        for name, node in controls.items():
            if name in place.controls:
                continue
            if name == _APPROVAL:
                reason = "an approval is an item of its own in a sequence"
            elif name in CONTROL_KEYS:
                reason = f"{name!r} has no meaning for {place.what}; known: {', '.join(place.controls)}"
            elif is_bare:
                near = checks.nearest(name, place.controls)
                reason = f"parameters stand under their step: indent {name!r} further than {key!r}{near}"
            else:
                near = checks.did_you_mean(name, place.controls)
                reason = f"unknown key {checks.shown(name)}{near}"
            self._problems.add(reason, node.line, path)

    def _names(self, key: str, line: int, path: str) -> dict[str, Any]:
        command, _, subcommand = key.partition(":")
        if not (checks.is_word(command) and checks.is_word(subcommand)):
            shown = ascii(key[:60])
            self._problems.add(
                f"step {shown} is not command:Subcommand, each of 1 to {checks.WORD_CHARACTERS} "
                "letters, digits, _ or -",
                line,
                path,
            )
        return {"key": key, "command": command, "subcommand": subcommand}

    def _body(self, node: Node, path: str, place: _Place) -> dict[str, Any]:
        """Read what stands under a step: its parameters, and `notify` and `dynamic` among them."""
        if node.value is None:
            return {}
        entries = dict(checks.mapping(self._problems, node, path, "the parameters of a step"))
        found: dict[str, Any] = {}
        if "notify" in entries:
            if not place.may_notify:
                self._problems.add(f"{place.what} notifies nobody", entries["notify"].line, path)
            found["notify"] = checks.notify(self._problems, entries.pop("notify"), f"{path}.notify")
        if "dynamic" in entries:
            names = checks.texts(self._problems, entries.pop("dynamic"), f"{path}.dynamic", "dynamic")
            found["dynamic_names"] = names
        for name in _RESERVED_PARAMETERS:
            if name in entries:
                reason = f"parameter {name!r} is set by the core; choose another name"
                self._problems.add(reason, entries[name].line, path)
        found["parameters"] = {name: value.plain() for name, value in entries.items()}
        return found

    def _controls(self, controls: dict[str, Node], path: str, place: _Place) -> dict[str, Any]:
        """Read the control keys that mean something at this place."""
        entries = {key: node for key, node in controls.items() if key in place.controls}
        found: dict[str, Any] = {}
        for key in ("timeout", "queue_timeout", "delay"):
            if key in entries:
                found[f"{key}_s"] = checks.duration_s(self._problems, entries[key], f"{path}.{key}")
        if "id" in entries:
            found["id"] = checks.word(self._problems, entries["id"], f"{path}.id")
        if "domain" in entries:
            found["domains"] = domains(self._problems, entries["domain"], f"{path}.domain")
        if "retry" in entries:
            found["retry"] = control_parsing.retry(self._problems, entries["retry"], f"{path}.retry")
        if "when" in entries:
            found["when"] = control_parsing.when(self._problems, entries["when"], f"{path}.when")
        for key, where in (("verify", _AS_VERIFY), ("rollback", _AS_ROLLBACK)):
            if key in entries:
                found[key] = self.step(entries[key], f"{path}.{key}", where)
        return found | self._doubt(entries, path)

    def _doubt(self, entries: dict[str, Node], path: str) -> dict[str, Any]:
        """Read whether a step may run twice, and what is to be done when nobody knows whether it ran."""
        here = f"{path}.idempotent"
        is_idempotent = "idempotent" in entries and checks.flag(self._problems, entries["idempotent"], here)
        policy = OnUnknown.RETRY if is_idempotent else OnUnknown.ASK
        known = [OnUnknown.RETRY, OnUnknown.ASK, OnUnknown.FAIL]
        if "verify" in entries:
            policy = OnUnknown.VERIFY
            known.insert(0, policy)
        if "on_unknown" in entries:
            here = f"{path}.on_unknown"
            policy = control_parsing.on_unknown(self._problems, entries["on_unknown"], here, known)
        return {"is_idempotent": is_idempotent, "on_unknown": policy}
