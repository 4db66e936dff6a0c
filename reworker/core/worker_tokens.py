"""Tokens that workers get for an hour in place of their own: ``rwc_<token id>_<end>_<seal>``; kept nowhere.

Such a token is worth what the one is worth that it was given for, and ends with that one.
"""

from __future__ import annotations

import hmac
import re
import secrets
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import msgspec

from reworker.clock import Clock
from reworker.core import tokens
from reworker.core.database_clock import DatabaseClock
from reworker.core.principal import Principal
from reworker.errors import NotAuthenticated
from reworker.storage.contract import Storage

PREFIX = "rwc_"
#: how long one counts. Clients ask for another one after 45 minutes.
LIFE = timedelta(hours=1)
#: name of the setting that holds the key, and bytes of chance in that.
_SETTING, _KEY_BYTES = "worker_token_key", 32
_TOKEN = re.compile(rf"{PREFIX}([0-9a-f]{{24}})_([0-9]{{10}})_([0-9a-f]{{64}})")
_TOKEN_CHARACTERS = len(PREFIX) + 24 + 1 + 10 + 1 + 64


class WorkerTokens:
    """Makes and checks tokens of workers; any thread, any process.

    Args:
        storage: keeps the key, which all processes share.
        clock: of this machine.
    """

    def __init__(self, storage: Storage, clock: Clock) -> None:
        self._storage, self._clock = storage, DatabaseClock(storage, clock)
        self._key = b""

    def prepare(self) -> None:
        """Make the key, unless there is one; whoever makes tokens does so first."""
        with self._storage.begin() as unit:
            unit.lock_code("", _SETTING)  # two processes that start at once must not make two keys
            if self._storage.reader.setting(_SETTING) is None:
                unit.save_setting(_SETTING, msgspec.json.encode(secrets.token_hex(_KEY_BYTES)))

    def token_of(self, who: Principal) -> str:
        """Return a token for who has shown one of ours; `prepare` comes first."""
        end_s = f"{int((self._clock.now() + LIFE).timestamp()):010}"
        return f"{PREFIX}{who.token_id}_{end_s}_{self._seal(who.token_id, end_s)}"

    def principal_of(self, text: str, source_ip: str = "") -> Principal:
        """Return who has shown a token.

        Raises:
            NotAuthenticated: it is none of ours, or counts no more.
        """
        found = self._sealed(text)
        row = None
        if found is not None and self._clock.now() < found[1]:
            row = self._storage.reader.token(found[0])
        view = tokens.view_of(row) if row else None
        if view is None or not view.counts(self._clock.now()):
            raise NotAuthenticated("the token of the worker is unknown, or its hour is over; get another one")
        return view.principal(source_ip)

    def is_over(self, text: str) -> bool:
        """Tell whether it was one of ours, and only its time is over."""
        found = self._sealed(text)
        return found is not None and found[1] <= self._clock.now()

    def _sealed(self, text: str) -> tuple[str, datetime] | None:
        """Return the id of the token behind one that we have sealed, and its end."""
        found = _TOKEN.fullmatch(text) if len(text) == _TOKEN_CHARACTERS else None
        if found is None or not hmac.compare_digest(self._seal(found[1], found[2]), found[3]):
            return None
        return found[1], datetime.fromtimestamp(int(found[2]), UTC)

    def _seal(self, token_id: str, end_s: str) -> str:
        """Return the seal of a token; empty while there is no key."""
        if not self._key:
            stored = self._storage.reader.setting(_SETTING)
            if stored is None:
                return ""
            self._key = bytes.fromhex(msgspec.json.decode(stored, type=str))
        return hmac.new(self._key, f"{token_id}_{end_s}".encode("ascii"), sha256).hexdigest()
