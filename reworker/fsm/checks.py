"""The rules for single values of a playbook: each takes a node and gives what it means.

A value that breaks its rule is added to the problems and replaced by a neutral one, so that reading goes on
and all problems of a playbook are found at once.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from difflib import get_close_matches

from reworker.fsm.document import Node, Problems
from reworker.fsm.playbook import host_key

#: characters of a command, subcommand or id; a routing key of AMQP has 255 bytes at most.
WORD_CHARACTERS = 100

#: characters of a group, name or other line of text.
LINE_CHARACTERS = 200

#: characters of a text for people, such as what an approval asks.
PROSE_CHARACTERS = 2_000

#: known words that an error lists.
MAX_SHOWN = 20

#: hosts that a strategy may speak of; more than any playbook can have.
MAX_HOSTS = 100_000

#: seconds that a timeout may have: a year, which every timer can hold.
MAX_DURATION_S = 366 * 86400.0

PHASES = ("started", "completed", "failed")

_WORD = re.compile(r"[A-Za-z0-9_-]+")
_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?", re.ASCII)
_UNIT_S = (86400, 3600, 60, 1)
_PERCENTAGE = re.compile(r"(\d{1,3}) ?%", re.ASCII)

Notify = dict[str, dict[str, tuple[str, ...]]]


def mapping(problems: Problems, node: Node, path: str, what: str) -> dict[str, Node]:
    """Return the entries of a mapping."""
    if isinstance(node.value, dict):
        return node.value
    problems.add(f"{what} must be a mapping, not {kind(node)}", node.line, path)
    return {}


def items(problems: Problems, node: Node, path: str, what: str) -> list[Node]:
    """Return the items of a list that must not be empty."""
    if isinstance(node.value, list) and node.value:
        return node.value
    found = "empty" if node.value == [] else f"not {kind(node)}"
    problems.add(f"{what} must be a list with at least one item, {found}", node.line, path)
    return []


def text(problems: Problems, node: Node, path: str, *, default: str = "") -> str:
    """Return a text of any length."""
    if isinstance(node.value, str):
        return node.value
    problems.add(f"must be text, not {kind(node)}; quote it", node.line, path)
    return default


def line_of_text(problems: Problems, node: Node, path: str) -> str:
    """Return one line of text that is not empty."""
    value = text(problems, node, path, default="?")
    if not value.strip() or not value.isprintable() or len(value) > LINE_CHARACTERS:
        problems.add(f"must be one line of 1 to {LINE_CHARACTERS} characters", node.line, path)
    return value


def prose(problems: Problems, node: Node, path: str) -> str:
    """Return a text for people that is not blank."""
    value = text(problems, node, path, default="?")
    if not value.strip() or len(value) > PROSE_CHARACTERS:
        problems.add(f"must be a text of 1 to {PROSE_CHARACTERS} characters", node.line, path)
    return value


def flag(problems: Problems, node: Node, path: str) -> bool:
    """Return true or false."""
    if isinstance(node.value, bool):
        return node.value
    problems.add(f"must be true or false, not {kind(node)}", node.line, path)
    return False


def word(problems: Problems, node: Node, path: str) -> str:
    """Return a text that may stand in a routing key; empty if it may not."""
    value = text(problems, node, path)
    if is_word(value):
        return value
    if isinstance(node.value, str):
        problems.add(f"{shown(value)} may hold only letters, digits, _ and -", node.line, path)
    return ""


def is_word(value: str) -> bool:
    """Tell whether a text may stand in a routing key: ASCII letters, digits, ``_`` and ``-``."""
    return len(value) <= WORD_CHARACTERS and _WORD.fullmatch(value) is not None


def duration_s(problems: Problems, node: Node, path: str) -> float:
    """Return the seconds of a number or of a text such as ``1h30m``."""
    value = node.value
    seconds = 0.0
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = float(value)
    elif isinstance(value, str) and len(value) <= WORD_CHARACTERS:
        match = _DURATION.fullmatch(value)
        parts = match.groups(default="0") if match else ()
        seconds = sum(float(part) * unit for part, unit in zip(parts, _UNIT_S, strict=False))
    if not 0 < seconds <= MAX_DURATION_S:
        problems.add(
            f"{kind(node)} is no duration: give seconds above 0, or text such as 30s, 5m or 1h30m; "
            "at most 366 days",
            node.line,
            path,
        )
    return seconds


def whole(problems: Problems, node: Node, path: str, *, least: int, most: int) -> int:
    """Return a whole number between two others, both included."""
    value = node.value
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
        return value
    problems.add(f"must be a whole number from {least} to {most}, not {kind(node)}", node.line, path)
    return least


def host_count(problems: Problems, node: Node, path: str, host_count: int, *, least: int) -> int:
    """Return how many of so many hosts a number or a percentage such as ``25%`` means.

    A part of a host counts where at least one is asked for, else it does not; more than there are is all.
    """
    value = node.value
    match = _PERCENTAGE.fullmatch(value) if isinstance(value, str) else None
    percent = int(match[1]) if match else None
    if percent is not None and least <= percent <= 100:
        exact = percent * host_count
        return max(1, -(-exact // 100)) if least else exact // 100
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= MAX_HOSTS:
        return max(least, min(value, host_count))
    problems.add(
        f"{kind(node)} is no number of hosts: give a whole number from {least} to {MAX_HOSTS}, "
        f"or a percentage from {least}% to 100%",
        node.line,
        path,
    )
    return least


def hosts(problems: Problems, node: Node, path: str) -> tuple[str, ...]:
    """Return host names that are all different, however they are spelled."""
    names: list[str] = []
    seen: dict[str, str] = {}
    for index, item in enumerate(items(problems, node, path, "hosts")):
        here = f"{path}[{index}]"
        name = text(problems, item, here, default=f"host{index}")
        key = host_key(name)
        if not key:
            problems.add(f"{shown(name)} is not a host name or address", item.line, here)
        elif key in seen:
            problems.add(f"host {name!r} is listed twice (as {seen[key]!r})", item.line, here)
        else:
            seen[key] = name
            names.append(name)
    return tuple(names)


def notify(problems: Problems, node: Node, path: str) -> Notify:
    """Return ``{phase: {transport: (target, ...)}}``."""
    phases = mapping(problems, node, path, "notify")
    refuse_unknown(problems, phases, PHASES, path, "phase")
    found: Notify = {}
    for phase, transports in phases.items():
        here = f"{path}.{phase}"
        for transport, targets in mapping(problems, transports, here, "a phase").items():
            place = f"{here}.{transport}"
            if not is_word(transport):
                problems.add(f"transport {shown(transport)} is no word", targets.line, place)
            found.setdefault(phase, {})[transport] = texts(problems, targets, place, "targets")
    return found


def texts(problems: Problems, node: Node, path: str, what: str) -> tuple[str, ...]:
    """Return a list of lines of text."""
    found = items(problems, node, path, what)
    return tuple(line_of_text(problems, item, f"{path}[{index}]") for index, item in enumerate(found))


def keys(
    problems: Problems,
    node: Node,
    path: str,
    known: Collection[str],
    required: Collection[str] = (),
) -> dict[str, Node]:
    """Return the entries of a mapping, with a problem for each key that is not known or missing."""
    if not isinstance(node.value, dict):
        return {}
    refuse_unknown(problems, node.value, known, path)
    for key in required:
        if key not in node.value:
            problems.add(f"{key!r} is missing", node.line, path)
    return node.value


def refuse_unknown(
    problems: Problems, entries: dict[str, Node], known: Collection[str], path: str, what: str = "key"
) -> None:
    """Add a problem for each key that is not known."""
    for key, node in entries.items():
        if key not in known:
            problems.add(f"unknown {what} {shown(key)}{did_you_mean(key, known)}", node.line, path)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'hosts'?`` or, when nothing is near, the known words."""
    known = list(known)
    shown = [*known[:MAX_SHOWN], "..."] if len(known) > MAX_SHOWN else known
    return nearest(word, known) or f"; known: {', '.join(shown)}"


def nearest(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'hosts'?``, or nothing when no known word is near."""
    near = get_close_matches(word[:WORD_CHARACTERS].lower(), list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def shown(value: str) -> str:
    """Return a text as an error may show it: escaped, and not too long."""
    return ascii(value) if len(value) <= 60 else f"{value[:57]!a}... ({len(value)} characters)"


def kind(node: Node) -> str:
    """Say what a value is."""
    value = node.value
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, str):
        return shown(value)
    if value is None:
        return "nothing"
    return str(value).lower()
