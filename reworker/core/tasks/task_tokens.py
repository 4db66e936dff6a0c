"""Tokens for the processes of tasks: ``rwt_<task id>_<seal>``. They are kept nowhere, but made and checked.

Such a token counts while its task is not over and for an hour after, and only for the task's project: what
is stored as a task's message holds it, so it must be worth little, and not for long.
"""

from __future__ import annotations

import hmac
import re
import secrets
from datetime import timedelta
from glob import escape
from hashlib import sha256

import msgspec

from reworker.clock import Clock
from reworker.core.principal import Limits, Principal, Scope
from reworker.errors import NotAuthenticated
from reworker.storage.contract import Storage
from reworker.storage.task_rows import TaskRow

PREFIX = "rwt_"
#: how long a token counts once its task is over: what it has started may still report.
GRACE = timedelta(hours=1)
#: what a process may do in its project.
SCOPES = frozenset({Scope.READ, Scope.RUN})
#: stands for no environment at all, since none can be called so: tasks start tasks, but no playbooks.
NO_ENVIRONMENT = "\x01"
#: name of the setting that holds the key, and bytes of chance in that.
_SETTING, _KEY_BYTES = "task_token_key", 32
_TOKEN = re.compile(rf"{PREFIX}([0-9a-f]{{24}})_([0-9a-f]{{64}})")
_TOKEN_CHARACTERS = len(PREFIX) + 24 + 1 + 64


class TaskTokens:
    """Makes and checks tokens of tasks; any thread, any process.

    Args:
        storage: keeps the key, which all processes share.
    """

    def __init__(self, storage: Storage, clock: Clock) -> None:
        self._storage, self._clock = storage, clock
        self._key = b""

    def prepare(self) -> None:
        """Make the key, unless there is one; whoever makes tokens does so first, outside of a transaction."""
        with self._storage.begin() as unit:
            unit.lock_code("", _SETTING)  # two processes that start at once must not make two keys
            if self._storage.reader.setting(_SETTING) is None:
                unit.save_setting(_SETTING, msgspec.json.encode(secrets.token_hex(_KEY_BYTES)))

    def token_of(self, task_id: str) -> str:
        """Return the token of a task; `prepare` comes first."""
        seal = self._seal(task_id)
        assert seal, "the key was made"
        return f"{PREFIX}{task_id}_{seal}"

    def principal_of(self, text: str, source_ip: str = "") -> Principal:
        """Return who has shown a token.

        Raises:
            NotAuthenticated: it is no token of a task, or counts no more; which of it is not said.
        """
        found = _TOKEN.fullmatch(text) if len(text) == _TOKEN_CHARACTERS else None
        row = self._storage.reader.task(found[1]) if found and self._is_sealed(found[1], found[2]) else None
        project = self._storage.reader.project(row.project_id) if row and self._counts(row) else None
        if row is None or project is None:
            raise NotAuthenticated("the token is unknown, or its task is over; a task that runs has another")
        limits = Limits(groups=(escape(project.name),), environments=(NO_ENVIRONMENT,))
        return Principal(row.id, f"task {row.id}", SCOPES, limits, source_ip)

    def _counts(self, row: TaskRow) -> bool:
        if row.phase != "over":
            return True
        return row.end_at is not None and self._clock.now() < row.end_at + GRACE

    def _is_sealed(self, task_id: str, seal: str) -> bool:
        return hmac.compare_digest(self._seal(task_id), seal)

    def _seal(self, task_id: str) -> str:
        """Return the seal of a task's id; empty while there is no key."""
        if not self._key:
            stored = self._storage.reader.setting(_SETTING)
            if stored is None:
                return ""
            self._key = bytes.fromhex(msgspec.json.decode(stored, type=str))
        return hmac.new(self._key, task_id.encode("ascii"), sha256).hexdigest()
