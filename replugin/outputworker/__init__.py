"""output: writes the output of all jobs to files, one per attempt.

Its settings: ``output_dir`` (required), ``redactions`` (list of regular expressions), ``queue``.
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import quote

from reworker.errors import ConfigError
from reworker.worker import Worker, escaped, runner

#: files kept open between lines.
OPEN_FILES = 64
#: characters of a file name before the hash takes over; file systems stop at 255 bytes.
NAME_LENGTH = 150
REDACTED = "[redacted]"


class OutputWorker(Worker):
    """Appends lines to ``<output_dir>/<correlation id>.log``; secrets and control characters are masked."""

    routing_keys = ("output",)
    reports_status = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("queue", "output")
        super().__init__(*args, **kwargs)
        folder = self._config.get("output_dir")
        if not isinstance(folder, str) or not folder:
            raise ConfigError("name the folder for the log files", key="output_dir")
        self._folder = Path(folder).absolute()
        self._redactions = _compiled(self._config.get("redactions", self._config.get("redacted", ())))
        self._files: OrderedDict[str, TextIO] = OrderedDict()

    def process(self, channel: Any, basic_deliver: Any, properties: Any, body: Any, output: Any) -> None:
        """Write one message; it is acknowledged when it is in the file."""
        file = self._file(file_name(properties.correlation_id))
        for line in str(body.get("message", "")).splitlines() or [""]:
            file.write(f"{escaped(self._redacted(line))}\n")
        file.flush()
        self.ack(basic_deliver)

    def run_forever(self) -> None:
        """Consume until told to stop, then close the files."""
        try:
            super().run_forever()
        finally:
            self.close()

    def close(self) -> None:
        """Close the files. Safe twice."""
        while self._files:
            self._files.popitem()[1].close()

    def _redacted(self, line: str) -> str:
        for pattern in self._redactions:
            line = pattern.sub(REDACTED, line)
        return line

    def _file(self, name: str) -> TextIO:
        if name in self._files:
            self._files.move_to_end(name)
            return self._files[name]
        self._folder.mkdir(parents=True, exist_ok=True)
        file = self._files[name] = (self._folder / name).open(
            "a", encoding="utf-8", errors="backslashreplace"
        )
        if len(self._files) > OPEN_FILES:
            self._files.popitem(last=False)[1].close()
        return file


def file_name(correlation_id: object) -> str:
    """Return a file name for any correlation id: no folder, no hidden file, never too long, one per id."""
    text = "" if correlation_id is None else str(correlation_id)
    name = quote(text, safe="", errors="backslashreplace").replace("~", "%7E") or "%"
    if name.startswith("."):
        name = f"%2E{name[1:]}"
    if len(name) > NAME_LENGTH:
        digest = hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()
        name = f"{name[:NAME_LENGTH]}-{digest[:16]}"
    return f"{name}.log"


def _compiled(patterns: Any) -> list[re.Pattern[str]]:
    if not isinstance(patterns, list | tuple):
        raise ConfigError(f"expected a list of regular expressions, found {patterns!r}", key="redactions")
    try:
        return [re.compile(str(one)) for one in patterns]
    except re.error as error:
        raise ConfigError(f"{error.pattern!r} is no regular expression: {error}", key="redactions") from error


def main() -> None:
    """Run this worker: ``python replugin/outputworker/__init__.py mq.json -w output.yaml``."""
    runner(OutputWorker)


if __name__ == "__main__":
    main()
