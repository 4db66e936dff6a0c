"""The log line of the Release Engine of 2014, and the core's own log in it."""

from __future__ import annotations

import logging
import logging.handlers
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from io import TextIOWrapper

import msgspec

from reworker.errors import ConfigError
from reworker.logs import escaped
from reworker.messages import cut_line

#: files may be read by the group, such as that of a log shipper, and by nobody else.
FILE_MODE, FOLDER_MODE = 0o640, 0o750


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """What one line says; the fields after `message` are empty where they mean nothing."""

    at: datetime
    level: str
    message: str
    source_ip: str = ""
    playbook_id: str = ""
    deployment_id: str = ""
    user_id: str = ""
    active_step: str = ""
    deploy_phase: str = ""

    def text(self) -> str:
        r"""Return the line with its newline.

        In a value, ``"`` is written ``\"`` and ``\`` ``\\``; control characters are written as ``\x1b`` or
        ``\n``, so that a line is a line whatever a worker said.
        """
        fields = (
            ("app_component", "recore"),
            ("source_ip", self.source_ip),
            ("log_level", self.level),
            ("playbook_id", self.playbook_id),
            ("deployment_id", self.deployment_id),
            ("user_id", self.user_id),
            ("active_step", self.active_step),
            ("deploy_phase", self.deploy_phase),
            ("message", cut_line(self.message)),
        )
        at = self.at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f +0000")
        return " - ".join((at, *(f'{name}="{_quoted(value)}"' for name, value in fields))) + "\n"


def _quoted(value: str) -> str:
    return escaped(value.replace("\\", "\\\\").replace('"', '\\"')).replace("\t", "\\t")


class _Formatter(logging.Formatter):
    """The line of 2014 for records of the core; a traceback becomes part of the message."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        message = record.getMessage()
        if record.exc_info:
            message += "\n" + self.formatException(record.exc_info)
        at = datetime.fromtimestamp(record.created, UTC)
        return Line(at=at, level=record.levelname, message=message).text().rstrip("\n")


class _PrivateLog(logging.handlers.WatchedFileHandler):
    """Writes to a file that others may not read, and to a new one when that is renamed."""

    def _open(self) -> TextIOWrapper:
        descriptor = open_private(self.baseFilename, os.O_WRONLY | os.O_APPEND)
        return open(descriptor, "a", encoding=self.encoding, errors=self.errors)


def open_private(path: str, flags: int) -> int:
    """Return a descriptor of a log file that is made if missing; a symbolic link is not followed.

    Raises:
        OSError: it cannot be opened.
    """
    return os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)


@contextmanager
def core_log(path: str, level: str) -> Iterator[None]:
    """Write the records of the process to a file too, for the block; an empty path is none.

    The file may be rotated by renaming it.

    Raises:
        ConfigError: the file cannot be written.
    """
    if not path:
        yield
        return
    try:
        handler = _PrivateLog(path, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}", key="log_file") from error
    handler.setLevel(level)
    handler.setFormatter(_Formatter())
    root = logging.getLogger()
    before, others = root.level, [(one, one.level) for one in root.handlers]
    for other, own in others:
        other.setLevel(max(own, before))
    root.setLevel(min(before, handler.level))
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()
        root.setLevel(before)
        for other, own in others:
            other.setLevel(own)
