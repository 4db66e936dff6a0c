"""Logging set-up: one line per record on stderr, or JSON lines, with the correlation id of the job.

Secrets are masked in both: what stands for a password in a URL, and what the settings name.
"""

from __future__ import annotations

import contextvars
import json
import logging
import re
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, TextIO

from reworker.clock import iso

#: the line format of 2014 workers; operators' log parsers know it.
LINE_FORMAT = "%(asctime)s - %(name)s - %(levelname)s - %(message)s"

#: descriptors of the streams. Source: unistd.h.
STDOUT, STDERR = 1, 2
#: correlation id of the job that this thread or task works on; empty outside of jobs.
correlation_id: contextvars.ContextVar[str] = contextvars.ContextVar("correlation_id", default="")

#: what stands in the place of a secret, and of what a redaction matches.
MASK, REDACTED = "***", "[redacted]"
#: characters of a secret below which masking would spoil more than it hides.
SECRET_CHARACTERS = 4
#: passwords that everybody knows; masked, they would hide the user's name.
KNOWN_PASSWORDS = ("guest",)
#: names of settings and parameters whose values nobody is shown.
_SECRET = re.compile(r"password|passwd|secret|token|credential|(^|_)(api_?)?key$", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"(?<=://)([^\s:/@'\"]*):[^\s/@'\"]+@")


class Redactor:
    """Takes secrets out of texts; called with a text, it returns what may be shown.

    Threads: any.

    Args:
        secrets: texts that must not be shown, such as passwords.
        patterns: regular expressions of what must not be shown.
    """

    def __init__(self, secrets: Iterable[str] = (), patterns: Iterable[str] = ()) -> None:
        self._hidden: frozenset[str] = frozenset()
        self._secrets: re.Pattern[str] | None = None
        self.learn(secrets)
        self._patterns = [re.compile(one) for one in patterns]

    def learn(self, secrets: Iterable[str]) -> None:
        """Take these out from now on, too; what was secret stays so."""
        new = {one for one in secrets if len(one) >= SECRET_CHARACTERS and one not in KNOWN_PASSWORDS}
        if not new <= self._hidden:
            self._hidden |= new
            longest_first = sorted(self._hidden, key=len, reverse=True)
            self._secrets = re.compile("|".join(map(re.escape, longest_first)))

    def __call__(self, text: str) -> str:
        """Return the text with a mark in the place of each secret."""
        secrets = self._secrets  # another thread may teach it more
        if secrets is not None:
            text = secrets.sub(MASK, text)
        for pattern in self._patterns:
            text = pattern.sub(REDACTED, text)
        return text


def without_url_passwords(text: str) -> str:
    """Return the text with a mark in the place of passwords in URLs."""
    return _URL_PASSWORD.sub(rf"\1:{MASK}@", text) if "://" in text else text


def masked(name: str, value: Any) -> Any:
    """Return a plain value without its secrets: what is called like one, and passwords in URLs."""
    if isinstance(value, dict):
        return {key: masked(str(key), one) for key, one in value.items()}
    if isinstance(value, list):
        return [masked(name, one) for one in value]
    if value is not None and _SECRET.search(name):
        return MASK
    return without_url_passwords(value) if isinstance(value, str) else value


class CorrelationFilter(logging.Filter):
    """Puts the attribute `correlation_id` on every record that does not bring one."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Never drops a record."""
        if not hasattr(record, "correlation_id"):
            record.correlation_id = correlation_id.get()
        return True


class JsonFormatter(logging.Formatter):
    """One JSON object per record.

    ``{"at", "level", "logger", "message", "correlation_id"?, "error"?, "stack"?}``

    Args:
        redact: takes secrets out of a text.
    """

    def __init__(self, redact: Callable[[str], str] = without_url_passwords) -> None:
        super().__init__()
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        entry = {
            "at": iso(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname,
            "logger": record.name,
            "message": self._redact(record.getMessage()),
        }
        if getattr(record, "correlation_id", ""):
            entry["correlation_id"] = record.correlation_id  # type: ignore[attr-defined]  # set by the filter
        if record.exc_info:
            entry["error"] = self._redact(self.formatException(record.exc_info))
        if record.stack_info:
            entry["stack"] = record.stack_info
        return json.dumps(entry)


class LineFormatter(logging.Formatter):
    """The 2014 line; control characters are escaped, so that a message stays on its line.

    Args:
        redact: takes secrets out of a text.
    """

    def __init__(self, redact: Callable[[str], str] = without_url_passwords) -> None:
        super().__init__(LINE_FORMAT)
        self._redact = redact

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # the standard library's name
        """Return the line without a traceback."""
        return escaped(self._redact(super().formatMessage(record)))

    def formatException(self, ei: Any) -> str:  # noqa: N802  # the standard library's name
        """Return the traceback, on lines of its own; what an error says is escaped like any text."""
        text = self._redact(super().formatException(ei))
        return "\n".join(escaped(line) for line in text.split("\n"))

    def formatStack(self, stack_info: str) -> str:  # noqa: N802  # the standard library's name
        """Return a stack, on lines of its own."""
        return "\n".join(escaped(line) for line in super().formatStack(stack_info).split("\n"))


class RedactedLog(logging.StreamHandler[TextIO]):
    """The handler of `setup`: writes records to a stream, and learns what must not be in them.

    Args:
        stream: where to.
        redactor: that its formatter uses.
    """

    def __init__(self, stream: TextIO, redactor: Redactor) -> None:
        super().__init__(stream)
        self.redactor = redactor

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; a job that has closed the stream must cost nobody the log."""
        if self.stream.closed:
            self.stream = reopened(STDERR)
        super().emit(record)


def reopened(descriptor: int) -> TextIO:
    """Return a fresh stream for stdout (1) or stderr (2): closing the old one has not closed these."""
    return open(descriptor, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)


def hide(*secrets: str) -> None:
    """Have the log show these no more; for whoever reads a secret after `setup`, such as a new password."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, RedactedLog):
            handler.redactor.learn(secrets)


def escaped(text: str) -> str:
    r"""Return `text` with control and bidirectional characters as ``\x1b``-like escapes; tabs stay."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c == "\t" else c.encode("unicode_escape").decode("ascii") for c in text
    )


def setup(
    level: str = "INFO",
    *,
    is_json: bool = False,
    stream: TextIO | None = None,
    redactor: Redactor | None = None,
) -> logging.Handler:
    """Send the records of the whole process to one handler; called by a command, again when it knows more.

    Args:
        level: name of the lowest level shown.
        is_json: JSON lines instead of text.
        stream: None is stderr.
        redactor: takes secrets out, beside the passwords in URLs.
    """
    redact = redactor or Redactor()
    make = JsonFormatter if is_json else LineFormatter
    handler = RedactedLog(stream or sys.stderr, redact)
    handler.setFormatter(make(lambda text: redact(without_url_passwords(text))))
    handler.addFilter(CorrelationFilter())
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    logging.getLogger("pika").setLevel("WARNING" if logging.getLevelName(level) != logging.DEBUG else level)
    return handler
