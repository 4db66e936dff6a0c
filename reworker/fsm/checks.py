"""The rules for single values of a playbook: each takes a node and gives what it means.

A value that breaks its rule is added to the problems and replaced by a neutral one, so that reading goes on
and all problems of a playbook are found at once.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from difflib import get_close_matches

from reworker.fsm.document import Node, Problems

#: characters of a command, subcommand or id; a routing key of AMQP has 255 bytes at most.
WORD_CHARACTERS = 100

#: characters of a host: the longest DNS name.
HOST_CHARACTERS = 253

#: characters of a group, name or other line of text.
LINE_CHARACTERS = 200

#: seconds that a timeout may have: a year, which every timer can hold.
MAX_DURATION_S = 366 * 86400.0

PHASES = ("started", "completed", "failed")

_WORD = re.compile(r"[A-Za-z0-9_-]+")
_HOST = re.compile(r"[\w\[:][\w.:%\[\]-]*")
_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?", re.ASCII)
_UNIT_S = (86400, 3600, 60, 1)

Notify = dict[str, dict[str, tuple[str, ...]]]


def mapping(problems: Problems, node: Node, path: str, what: str) -> dict[str, Node]:
    """Return the entries of a mapping."""
    if isinstance(node.value, dict):
        return node.value
    problems.add(f"{what} must be a mapping, not {_kind(node)}", node.line, path)
    return {}


def items(problems: Problems, node: Node, path: str, what: str) -> list[Node]:
    """Return the items of a list that must not be empty."""
    if isinstance(node.value, list) and node.value:
        return node.value
    found = "empty" if node.value == [] else f"not {_kind(node)}"
    problems.add(f"{what} must be a list with at least one item, {found}", node.line, path)
    return []


def text(problems: Problems, node: Node, path: str, *, default: str = "") -> str:
    """Return a text of any length."""
    if isinstance(node.value, str):
        return node.value
    problems.add(f"must be text, not {_kind(node)}; quote it", node.line, path)
    return default


def line_of_text(problems: Problems, node: Node, path: str) -> str:
    """Return one line of text that is not empty."""
    value = text(problems, node, path, default="?")
    if not value.strip() or not value.isprintable() or len(value) > LINE_CHARACTERS:
        problems.add(f"must be one line of 1 to {LINE_CHARACTERS} characters", node.line, path)
    return value


def flag(problems: Problems, node: Node, path: str) -> bool:
    """Return true or false."""
    if isinstance(node.value, bool):
        return node.value
    problems.add(f"must be true or false, not {_kind(node)}", node.line, path)
    return False


def word(problems: Problems, node: Node, path: str) -> str:
    """Return a text that may stand in a routing key."""
    value = text(problems, node, path, default="x")
    if not is_word(value):
        problems.add(f"{_shown(value)} may hold only letters, digits, _ and -", node.line, path)
    return value


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
            f"{_kind(node)} is no duration: give seconds above 0, or text such as 30s, 5m or 1h30m; "
            "at most 366 days",
            node.line,
            path,
        )
    return seconds


def hosts(problems: Problems, node: Node, path: str) -> tuple[str, ...]:
    """Return host names that are all different, however they are spelled."""
    names: list[str] = []
    seen: dict[bytes, str] = {}
    for index, item in enumerate(items(problems, node, path, "hosts")):
        here = f"{path}[{index}]"
        name = text(problems, item, here, default=f"host{index}")
        key = _host_key(name)
        if not key:
            problems.add(f"{_shown(name)} is not a host name or address", item.line, here)
        elif key in seen:
            problems.add(f"host {name!r} is listed twice (as {seen[key]!r})", item.line, here)
        else:
            seen[key] = name
            names.append(name)
    return tuple(names)


def _host_key(name: str) -> bytes:
    """Return what all spellings of a host have in common: upper case, IDN or not, trailing dot."""
    if len(name) > HOST_CHARACTERS or not _HOST.fullmatch(name):
        return b""
    try:
        return name.encode("idna").lower().rstrip(b".")
    except UnicodeError:
        return b""


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
                problems.add(f"transport {_shown(transport)} is no word", targets.line, place)
            found.setdefault(phase, {})[transport] = texts(problems, targets, place, "targets")
    return found


def texts(problems: Problems, node: Node, path: str, what: str) -> tuple[str, ...]:
    """Return a list of lines of text."""
    found = items(problems, node, path, what)
    return tuple(line_of_text(problems, item, f"{path}[{index}]") for index, item in enumerate(found))


def refuse_unknown(
    problems: Problems, entries: dict[str, Node], known: Collection[str], path: str, what: str = "key"
) -> None:
    """Add a problem for each key that is not known."""
    for key, node in entries.items():
        if key not in known:
            problems.add(f"unknown {what} {_shown(key)}{did_you_mean(key, known)}", node.line, path)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'hosts'?`` or, when nothing is near, the known words."""
    known = list(known)
    near = get_close_matches(word[:WORD_CHARACTERS].lower(), known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}"


def _shown(value: str) -> str:
    """Return a text as an error may show it: escaped, and not too long."""
    return ascii(value) if len(value) <= 60 else f"{value[:57]!a}... ({len(value)} characters)"


def _kind(node: Node) -> str:
    """Say what a value is."""
    value = node.value
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, str):
        return _shown(value)
    if value is None:
        return "nothing"
    return str(value).lower()
