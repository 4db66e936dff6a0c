"""irc: says notifications, the messages with the key ``notify.irc``, in IRC channels; also the step `Say`.

Its settings: ``host`` (required), ``port``, ``tls``, ``ca``, ``nick``, ``password`` or ``password_file``,
``channels``, ``people``, ``burst_lines``, ``line_pause_s``, ``server_timeout_s``, ``retry_s``.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import msgspec

from replugin.ircnotifyworker.connection import LINE_BYTES, IrcConnection
from replugin.ircnotifyworker.settings import CHANNEL, IrcSettings
from reworker.errors import JobFailed, JobRetry
from reworker.worker import Job, Notification, Worker, notification_of, runner, step, tls_context

#: bytes that a server puts in front of a line for others: who says it, from where.
PREFIX_BYTES = 100
#: lines of one notification; more are a log, not a notification.
LINES = 10


class Told(msgspec.Struct):
    """What became of each target."""

    accepted: list[str]
    refused: dict[str, str]
    later: dict[str, str]


class IRCNotifyWorker(Worker):
    """Says each notification to its targets, on one connection that is made for the first and kept."""

    routing_keys = ("notify.irc", "worker.ircnotify")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("queue", "ircnotify")
        super().__init__(*args, **kwargs)
        self._irc = self.own_settings(IrcSettings)
        self._tls = tls_context(self._irc.ca)
        self._open_connection: IrcConnection | None = None
        self._leave: Callable[[], object] = lambda: None

    def process(self, channel: Any, basic_deliver: Any, properties: Any, body: Any, output: Any) -> None:
        """Say a notification; a step goes its own way."""
        if "parameters" in body:
            super().process(channel, basic_deliver, properties, body, output)
            return
        told = self._tell_all(notification_of(body), properties.correlation_id or "")
        if told.later:
            raise JobRetry(self._irc.retry_s, _reasons(told.later), changes={"target": list(told.later)})

    @step("Say")
    def say(
        self, job: Job, *, slug: str, message: str, target: list[str], phase: str = "completed"
    ) -> dict[str, Any]:
        """Say it to the channels and people in `target`."""
        told = self._tell_all(Notification(slug, message, phase, target), job.id)
        if told.later:
            left = {"parameters": {**job.parameters, "target": list(told.later)}}
            raise JobRetry(self._irc.retry_s, _reasons(told.later), changes=left)
        return {"sent": told.accepted, "refused": told.refused}

    def close(self) -> None:
        """Leave the server. Safe twice."""
        self._leave()
        self._open_connection = None

    def _tell_all(self, note: Notification, corr_id: str) -> Told:
        """Say it to all targets.

        Raises:
            JobFailed: nobody will ever hear it.
        """
        told = Told([], {}, {})
        for target in dict.fromkeys(note.target):
            try:
                self._tell(target, note)
            except JobFailed as error:
                told.refused[target] = error.message
            except OSError as error:
                told.later[target] = f"{self._irc.host}: {error or type(error).__name__}"
                self.close()
            else:
                told.accepted.append(target)
        for target, reason in told.refused.items():
            self.app_logger.error("%s: nothing said to %r: %s", corr_id, target, reason)
        if not told.accepted and not told.later:
            raise JobFailed(f"nothing was said: {_reasons(told.refused) or 'nobody is named'}")
        return told

    def _tell(self, target: str, note: Notification) -> None:
        if not CHANNEL.fullmatch(target) and target not in self._irc.people:
            raise JobFailed("is neither a channel nor one of the people that the settings name")
        if self._open_connection is None or not self._open_connection.is_open:
            self.close()
            connection = self._open_connection = IrcConnection(self._irc, self._tls)
            # also at the end of the process
            self._leave = weakref.finalize(self, connection.close)
        self._open_connection.tell(target, texts_of(note, target))


def texts_of(note: Notification, target: str) -> list[str]:
    """Return the lines of a notification: none has a line break or is too long to arrive whole."""
    text = note.message if note.message.startswith(note.slug) else f"{note.slug}: {note.message}"
    lines = [plain for one in text.splitlines() if (plain := _plain(one))] or ["(no text)"]
    if len(lines) > LINES:
        lines[LINES - 1 :] = [f"... and {len(lines) - LINES + 1} lines more"]
    limit_bytes = LINE_BYTES - PREFIX_BYTES - len(f"PRIVMSG {target} :\r\n".encode())
    return [_cut(line, limit_bytes) for line in lines]


def _plain(line: str) -> str:
    return "".join(char if char.isprintable() else " " for char in line).strip()


def _cut(line: str, limit_bytes: int) -> str:
    raw = line.encode(errors="replace")
    if len(raw) <= limit_bytes:
        return line
    return raw[: limit_bytes - 3].decode(errors="ignore") + "..."


def _reasons(refused: dict[str, str]) -> str:
    return "; ".join(f"{target!r}: {reason}" for target, reason in refused.items())


def main() -> None:
    """Run this worker: ``python replugin/ircnotifyworker/__init__.py mq.json -w ircnotify.yaml``."""
    runner(IRCNotifyWorker)


if __name__ == "__main__":
    main()
