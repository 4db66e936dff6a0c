"""Lines of output of a job, sent to the bus: the object that `process()` gets as `output`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from reworker.messages import cut_line
from reworker.topology.names import OUTPUT_KEY

DEFAULT_LEVEL = logging.INFO


class Output:
    """Looks like a logger; each record is one `output` message. Any thread of the job may use it.

    Args:
        send: called as ``send("output", corr_id, {"message": str})``.
        corr_id: correlation id of the job.
        level: name or number of the lowest level that is sent; unknown names mean INFO.
    """

    #: takes secrets out of a line; None is nothing to take out.
    redact: Callable[[str], str] | None = None

    def __init__(self, send: Callable[..., Any], corr_id: Any, level: str | int = DEFAULT_LEVEL) -> None:
        self.send, self.corr_id = send, corr_id
        self._level = DEFAULT_LEVEL
        if type(level) is int:
            self._level = level
        else:
            self.setLevel(level)

    def setLevel(self, level: str | int) -> None:  # noqa: N802  # the name of logging, kept since 2014
        """Change the lowest level that is sent; an unknown name changes nothing."""
        number = _number_of(level)
        if number is not None:
            self._level = number

    def log(self, level: str | int, message: Any, *args: Any) -> None:
        """Send `message`, with `args` put in by ``%``, unless `level` is too low; unknown levels are INFO."""
        number = _number_of(level)
        if (DEFAULT_LEVEL if number is None else number) >= self._level:
            text = _text_of(message, args)
            text = text if self.redact is None else self.redact(text)
            self.send(OUTPUT_KEY, self.corr_id, {"message": cut_line(text)})

    def debug(self, message: Any, *args: Any) -> None:
        """Send at level DEBUG."""
        self.log(logging.DEBUG, message, *args)

    def info(self, message: Any, *args: Any) -> None:
        """Send at level INFO."""
        self.log(logging.INFO, message, *args)

    def warning(self, message: Any, *args: Any) -> None:
        """Send at level WARNING."""
        self.log(logging.WARNING, message, *args)

    def error(self, message: Any, *args: Any) -> None:
        """Send at level ERROR."""
        self.log(logging.ERROR, message, *args)

    def critical(self, message: Any, *args: Any) -> None:
        """Send at level CRITICAL."""
        self.log(logging.CRITICAL, message, *args)

    warn = warning
    fatal = critical


def _number_of(level: str | int) -> int | None:
    if isinstance(level, int):
        return level
    return logging.getLevelNamesMapping().get(str(level).upper())


def _text_of(message: Any, args: tuple[Any, ...]) -> str:
    """Like logging does: neither a wrong format nor a file name in no UTF-8 must cost the job its line."""
    text = str(message)
    try:
        text = text % (args[0] if len(args) == 1 and isinstance(args[0], dict) else args) if args else text
    except (TypeError, ValueError, KeyError):
        text = f"{text} {args!r}"
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()
