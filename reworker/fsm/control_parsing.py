"""Reading the values of control keys, which stand beside a step: retry, when, on_unknown; and approvals."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from reworker.fsm import checks
from reworker.fsm.document import Node, Problems
from reworker.fsm.playbook import Approval, OnUnknown, Retry, When

APPROVAL_KEYS = ("text", "of", "not_self", "expires")
RETRY_KEYS = ("attempts", "backoff")
WHEN_KEYS = ("step", "not", "data")

#: attempts of one step, and people who approve; beyond this it is a mistake.
MAX_ATTEMPTS, MAX_APPROVALS = 100, 100


def retry(problems: Problems, node: Node, path: str) -> Retry:
    """Return the attempts: a number of them, or ``{attempts: 3, backoff: 2s}``."""
    if not isinstance(node.value, dict):
        return Retry(attempts=_attempts(problems, node, path))
    entries = checks.keys(problems, node, path, RETRY_KEYS, ("attempts",))
    given: dict[str, Any] = {"attempts": 2}
    if "attempts" in entries:
        given["attempts"] = _attempts(problems, entries["attempts"], f"{path}.attempts")
    if "backoff" in entries:
        given["backoff_s"] = checks.duration_s(problems, entries["backoff"], f"{path}.backoff")
    return Retry(**given)


def _attempts(problems: Problems, node: Node, path: str) -> int:
    return checks.whole(problems, node, path, least=2, most=MAX_ATTEMPTS)


def when(problems: Problems, node: Node, path: str) -> When | None:
    """Return the condition: ``ID``, ``not ID``, ``{step: ID, data: {...}}`` or ``{not: ID}``."""
    if isinstance(node.value, str):
        word, _, name = node.value.partition(" ")
        is_negated = word == "not" and bool(name)
        asked = Node(name.strip() if is_negated else node.value, node.line)
        return When(step=checks.word(problems, asked, path), is_negated=is_negated)
    entries = checks.mapping(problems, node, path, "when, if it is no id,")
    checks.keys(problems, node, path, WHEN_KEYS)
    named = [key for key in ("step", "not") if key in entries]
    if len(named) != 1:
        if isinstance(node.value, dict):
            problems.add("when asks for one step: give either 'step' or 'not'", node.line, path)
        return None
    data = entries.get("data")
    if data is not None and (named == ["not"] or data.value is None):
        problems.add("data is what 'step' returned: give it beside 'step', and not null", data.line, path)
    return When(
        step=checks.word(problems, entries[named[0]], f"{path}.{named[0]}"),
        data=data.plain() if data else None,
        is_negated=named == ["not"],
    )


def on_unknown(problems: Problems, node: Node, path: str, known: Collection[OnUnknown]) -> OnUnknown:
    """Return what to do in doubt."""
    if isinstance(node.value, str) and node.value in known:
        return OnUnknown(node.value)
    name = checks.text(problems, node, path, default=OnUnknown.ASK)
    if name == OnUnknown.VERIFY:
        problems.add("there is no 'verify' step here that could tell", node.line, path)
    elif name not in known:
        reason = f"unknown value {checks.shown(name)}{checks.did_you_mean(name, map(str, known))}"
        problems.add(reason, node.line, path)
    return OnUnknown.ASK


def approval(problems: Problems, node: Node, path: str) -> Approval:
    """Return who has to approve what: a text, or ``{text, of: 1, not_self: true, expires: 1h}``."""
    if isinstance(node.value, str):
        return Approval(text=checks.prose(problems, node, path))
    entries = checks.mapping(problems, node, path, "an approval, if it is no text,")
    checks.keys(problems, node, path, APPROVAL_KEYS, ("text",))
    given: dict[str, Any] = {"text": ""}
    if "text" in entries:
        given["text"] = checks.prose(problems, entries["text"], f"{path}.text")
    if "of" in entries:
        given["of"] = checks.whole(problems, entries["of"], f"{path}.of", least=1, most=MAX_APPROVALS)
    if "not_self" in entries:
        given["is_not_self"] = checks.flag(problems, entries["not_self"], f"{path}.not_self")
    if "expires" in entries:
        given["expires_s"] = checks.duration_s(problems, entries["expires"], f"{path}.expires")
    return Approval(**given)
