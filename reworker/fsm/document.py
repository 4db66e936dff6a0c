"""YAML or JSON text to a tree of nodes that know their lines; knows nothing of playbooks.

The text is hostile until proven otherwise: size, depth and aliases are limited, tags and merge keys refused,
and only what JSON calls null, true, false or a number is one; `no`, `on`, `0o17` and dates stay text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from reworker.errors import PlaybookInvalid

if TYPE_CHECKING:
    import yaml

#: bytes of a document; 100,000 plain steps fit.
MAX_BYTES = 2 * 1024 * 1024

#: levels of nesting; a playbook needs 8, its parameters may have the rest.
MAX_DEPTH = 64

#: values in a document with every alias written out; a text without aliases cannot reach it.
MAX_VALUES = 1_000_000

#: characters of a path in an error.
MAX_PATH = 300

#: problems that are collected before the rest is left unread.
MAX_PROBLEMS = 100

_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")
_SURROGATES = re.compile(r"(?<!\\)((?:\\\\)*)\\u(d[89ab][0-9a-f]{2})\\u(d[c-f][0-9a-f]{2})", re.IGNORECASE)
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


class TooManyProblems(Exception):
    """Reading stops here: enough is known to be wrong."""


@dataclass
class Problems:
    """The problems of one document, gathered while it is read, and notes on what is no problem."""

    source: str
    found: list[PlaybookInvalid] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, reason: str, line: int, path: str = "") -> None:
        """Keep a problem.

        Raises:
            TooManyProblems: this was the last one that is kept.
        """
        self.found.append(self._worded(reason, line, path))
        if len(self.found) >= MAX_PROBLEMS:
            raise TooManyProblems

    def note(self, reason: str, line: int, path: str = "") -> None:
        """Keep a note, worded as a problem would be; no more of them than of problems."""
        if len(self.notes) < MAX_PROBLEMS:
            self.notes.append(str(self._worded(reason, line, path)))

    def _worded(self, reason: str, line: int, path: str) -> PlaybookInvalid:
        """Return the error; its path holds keys of the document, which may be anything."""
        if not path.isprintable():
            path = ascii(path)[1:-1]
        if len(path) > MAX_PATH:
            path = f"{path[:MAX_PATH]}..."
        return PlaybookInvalid(reason, line=line, path=path, source=self.source)


@dataclass(slots=True)
class Node:
    """A value and its line; `value` is a scalar, list[Node] or dict[str, Node].

    `size` counts the values in it, aliases written out.
    """

    value: Any
    line: int
    size: int = 1

    def plain(self) -> Any:
        """Return the value with plain lists and dicts in place of nodes."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value


def read_document(text: bytes | str, problems: Problems) -> Node:
    """Return the one document in a YAML or JSON text.

    Args:
        text: at most 2 MiB; bytes are UTF-8, with or without a byte order mark.
        problems: takes what is wrong but does not hinder reading on, such as a duplicate key.

    Raises:
        PlaybookInvalid: reading cannot go on, for example after a syntax error.
        TooManyProblems: `problems` is full.
    """
    clean = _decoded(text, problems.source)
    if not clean.strip():
        raise PlaybookInvalid("the document is empty", line=1, source=problems.source)
    import yaml  # not above: a core or server that meets no playbook does without

    # The C parser where PyYAML has it; either way only its events are used, so no tag can construct anything.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    builder = _Builder(problems)
    try:
        for event in yaml.parse(clean, Loader=loader):
            builder.feed(event)
    except yaml.MarkedYAMLError as error:
        line = min(_line_of(error.problem_mark), clean.count("\n") + 1)
        # Brackets are counted by the parser of some versions before it gives us the first of them.
        is_deep = "maximum nesting depth" in str(error)
        reason = _too_deep() if is_deep else f"the text is not valid YAML or JSON: {_what_of(error)}"
        raise PlaybookInvalid(reason, line=line, source=problems.source) from error
    if builder.root is None:
        raise PlaybookInvalid("the document is empty", line=1, source=problems.source)
    return builder.root


def plain_document(text: bytes | str, source: str) -> Any:
    """Return the value in a YAML or JSON text, by the rules of playbooks: `no` and dates are text.

    Raises:
        PlaybookInvalid: something is wrong with it; the first thing.
    """
    problems = Problems(source)
    try:
        node = read_document(text, problems)
    except TooManyProblems:
        raise problems.found[0] from None
    if problems.found:
        raise problems.found[0]
    return node.plain()


def _too_deep() -> str:
    return f"nested deeper than {MAX_DEPTH} levels"


def _what_of(error: yaml.MarkedYAMLError) -> str:
    what = " ".join(part for part in (error.context, error.problem) if part)
    # What one meets when the first key is put beside a step without parameters.
    if "mapping values are not allowed" in what:
        what += "; a step with keys below it ends with a colon, and a text with ': ' in it stands in quotes"
    return what


def _decoded(text: bytes | str, source: str) -> str:
    """Return the text that YAML may see: of legal size, in UTF-8, without a mark or forbidden characters."""
    try:
        raw = text.encode("utf-8") if isinstance(text, str) else text
        reason = _refusal(raw)
        if reason:
            raise PlaybookInvalid(reason, line=1, source=source)
        clean = raw.decode("utf-8-sig")
    except UnicodeEncodeError as error:
        line = error.object.count("\n", 0, error.start) + 1
        raise PlaybookInvalid("the text holds half a surrogate pair", line=line, source=source) from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise PlaybookInvalid(
            f"byte 0x{error.object[error.start]:02x} is not valid UTF-8; save the file as UTF-8",
            line=line,
            source=source,
        ) from error
    bad = _FORBIDDEN.search(clean)
    if bad:
        line = clean.count("\n", 0, bad.start()) + 1
        name = "a NUL" if bad[0] == "\0" else f"the control character U+{ord(bad[0]):04X}"
        raise PlaybookInvalid(f"the text holds {name}", line=line, source=source)
    if clean.lstrip().startswith("{"):
        clean = _SURROGATES.sub(_joined, clean)
    return clean


def _refusal(raw: bytes) -> str:
    if len(raw) > MAX_BYTES:
        return f"the document is too large, the limit is {MAX_BYTES} bytes; split the playbook"
    if raw.startswith((b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")):
        return "the text is UTF-16 or UTF-32; save the file as UTF-8"
    return ""


def _joined(match: re.Match[str]) -> str:
    """Write out a JSON surrogate pair, which YAML does not know."""
    pair = bytes.fromhex(match[2] + match[3]).decode("utf-16-be")
    return match[1] + pair


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end has not come yet."""

    node: Node
    anchor: str | None
    key: str | None = None
    key_line: int = 0

    def wants_key(self) -> bool:
        return isinstance(self.node.value, dict) and self.key is None


class _Builder:
    """Makes nodes of YAML events, without recursion."""

    def __init__(self, problems: Problems) -> None:
        self.root: Node | None = None
        self._problems = problems
        self._stack: list[_Open] = []
        self._anchors: dict[str, Node | None] = {}

    def feed(self, event: yaml.Event) -> None:
        act = self._ACTS.get(type(event).__name__)
        if act:
            act(self, event)

    def _fatal(self, reason: str, event: yaml.Event) -> PlaybookInvalid:
        return PlaybookInvalid(reason, line=_line(event), source=self._problems.source)

    def _start_document(self, event: yaml.Event) -> None:
        if self.root is not None:
            raise self._fatal("a second document begins here; one file holds one playbook", event)

    def _start(self, event: yaml.CollectionStartEvent) -> None:
        if self._stack and self._stack[-1].wants_key():
            raise self._fatal("a key must be text, not a list or mapping", event)
        if len(self._stack) >= MAX_DEPTH:
            raise self._fatal(_too_deep(), event)
        self._refuse_tag(event)
        if event.anchor:
            self._anchors[event.anchor] = None
        value: Any = {} if type(event).__name__ == "MappingStartEvent" else []
        self._stack.append(_Open(Node(value, _line(event)), event.anchor))

    def _end(self, event: yaml.Event) -> None:
        done = self._stack.pop()
        self._add(done.node, done.anchor, event)

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        self._refuse_tag(event)
        is_plain = event.style is None or event.style == ""
        if self._stack and self._stack[-1].wants_key():
            self._take_key(event, is_plain=is_plain)
            return
        value = self._typed(event) if is_plain else event.value
        self._add(Node(value, _line(event)), event.anchor, event)

    def _take_key(self, event: yaml.ScalarEvent, *, is_plain: bool) -> None:
        if is_plain and event.value == "<<":
            raise self._fatal("merge keys (<<) are not supported; write the values out", event)
        top = self._stack[-1]
        top.key, top.key_line = event.value, _line(event)
        if event.value in top.node.value:
            self._problems.add(f"key {event.value[:100]!r} appears twice", top.key_line)

    def _alias(self, event: yaml.AliasEvent) -> None:
        if self._stack and self._stack[-1].wants_key():
            raise self._fatal("a key must be text, not an alias", event)
        if event.anchor not in self._anchors:
            raise self._fatal(f"alias *{event.anchor} has no anchor before it", event)
        target = self._anchors[event.anchor]
        if target is None:
            raise self._fatal(f"alias *{event.anchor} stands inside what it refers to", event)
        self._add(Node(target.value, _line(event), target.size), None, event)

    def _add(self, node: Node, anchor: str | None, event: yaml.Event) -> None:
        if anchor:
            self._anchors[anchor] = node
        if not self._stack:
            self.root = node
            return
        top = self._stack[-1]
        if top.key is None:
            top.node.value.append(node)
        else:
            node.line = top.key_line
            top.node.value.setdefault(top.key, node)
            top.key = None
        top.node.size += node.size
        if top.node.size > MAX_VALUES:
            raise self._fatal(f"more than {MAX_VALUES} values, counting what aliases repeat", event)

    def _refuse_tag(self, event: Any) -> None:
        if event.tag is not None:
            tag = event.tag[:100].replace("tag:yaml.org,2002:", "!!")
            self._problems.add(f"tags such as {tag} are not supported; remove it", _line(event))

    def _typed(self, event: yaml.ScalarEvent) -> Any:
        """Return the value of a plain scalar: null, a boolean or a number as in JSON, else its text."""
        text: str = event.value
        if text in _WORDS:
            return _WORDS[text]
        if _NOT_FINITE.fullmatch(text):
            self._problems.add(
                f"{text} is no number that JSON can carry; quote it if it is text", _line(event)
            )
        match = _NUMBER.fullmatch(text)
        if not match:
            return text
        is_whole = match[1] is None and match[2] is None
        if is_whole and len(text) <= 20 and -(2**63) <= int(text) < 2**63:
            return int(text)
        if not is_whole and abs(float(text)) != float("inf"):
            return float(text)
        self._problems.add(f"number {text[:30]} is too large; quote it if it is text", _line(event))
        return text

    #: name of the parser's event -> what it does.
    _ACTS: ClassVar[dict[str, Callable[[_Builder, Any], None]]] = {
        "DocumentStartEvent": _start_document,
        "MappingStartEvent": _start,
        "SequenceStartEvent": _start,
        "MappingEndEvent": _end,
        "SequenceEndEvent": _end,
        "ScalarEvent": _scalar,
        "AliasEvent": _alias,
    }


def _line(event: yaml.Event) -> int:
    return _line_of(event.start_mark)


def _line_of(mark: Any) -> int:
    """Return a mark's line, from 1. Marks are never None here, whatever their type says."""
    return int(mark.line) + 1
