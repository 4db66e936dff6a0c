"""Logging set-up: one line per record on stderr, or JSON lines, with the correlation id of the job."""

from __future__ import annotations

import contextvars
import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

from reworker.clock import iso

#: the line format of 2014 workers; operators' log parsers know it.
LINE_FORMAT = "%(asctime)s - %(name)s - %(levelname)s - %(message)s"

#: correlation id of the job that this thread or task works on; empty outside of jobs.
correlation_id: contextvars.ContextVar[str] = contextvars.ContextVar("correlation_id", default="")


class CorrelationFilter(logging.Filter):
    """Puts the attribute `correlation_id` on every record."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Never drops a record."""
        record.correlation_id = correlation_id.get()
        return True


class JsonFormatter(logging.Formatter):
    """One JSON object per record: ``{"at", "level", "logger", "message", "correlation_id"?, "error"?}``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        entry = {
            "at": iso(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if getattr(record, "correlation_id", ""):
            entry["correlation_id"] = record.correlation_id  # type: ignore[attr-defined]  # set by the filter
        if record.exc_info:
            entry["error"] = self.formatException(record.exc_info)
        return json.dumps(entry)


class LineFormatter(logging.Formatter):
    """The 2014 line; control characters are escaped, so that a message stays on its line."""

    def __init__(self) -> None:
        super().__init__(LINE_FORMAT)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # the standard library's name
        """Return the line without a traceback."""
        return escaped(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802  # the standard library's name
        """Return the traceback, on lines of its own; what an error says is escaped like any text."""
        return "\n".join(escaped(line) for line in super().formatException(ei).split("\n"))


def escaped(text: str) -> str:
    r"""Return `text` with control and bidirectional characters as ``\x1b``-like escapes; tabs stay."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c == "\t" else c.encode("unicode_escape").decode("ascii") for c in text
    )


def setup(level: str = "INFO", *, is_json: bool = False, stream: TextIO | None = None) -> logging.Handler:
    """Send the records of the whole process to one handler; called once, by a command.

    Args:
        level: name of the lowest level shown.
        is_json: JSON lines instead of text.
        stream: None is stderr.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if is_json else LineFormatter())
    handler.addFilter(CorrelationFilter())
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    logging.getLogger("pika").setLevel("WARNING" if logging.getLevelName(level) != logging.DEBUG else level)
    return handler
