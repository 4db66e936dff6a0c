"""Tokens that were looked up a moment ago, so that a busy client costs one read of the database a second."""

from __future__ import annotations

import threading
from datetime import datetime

import msgspec

from reworker.clock import Clock
from reworker.core.tokens import TokenView

#: seconds that a token is believed without a look at the database: how long one that was revoked goes on.
KNOWN_S = 1.0
#: tokens and sessions that are remembered.
KNOWN_COUNT = 2000


class Known(msgspec.Struct, frozen=True):
    """A token; when the session ends that was shown in its place, or None when it was shown itself."""

    token: TokenView
    ends_at: datetime | None = None


class KnownTokens:
    """What was looked up, by digest, and when uses were noted; any thread.

    Args:
        clock: for how long ago that was.
        touch_s: seconds between two notes of a token's use.
    """

    def __init__(self, clock: Clock, touch_s: float) -> None:
        self._clock, self._touch_s = clock, touch_s
        self._lock = threading.Lock()
        self._found: dict[str, tuple[float, Known]] = {}
        self._touched: dict[str, float] = {}

    def get(self, digest: str) -> Known | None:
        """Return what was looked up within the last second."""
        with self._lock:
            at_mono_s, found = self._found.get(digest, (0.0, None))
            return found if found and self._clock.mono_s() - at_mono_s < KNOWN_S else None

    def put(self, digest: str, found: Known, at_mono_s: float) -> Known:
        """Remember what was looked up, beginning at this time; return it."""
        with self._lock:
            if len(self._found) >= KNOWN_COUNT:
                self._found.clear()
            self._found[digest] = (at_mono_s, found)
        return found

    def forget(self, *, digest: str = "", token_id: str = "") -> None:
        """Forget a token or session, or all of a token."""
        with self._lock:
            self._found.pop(digest, None)
            for key in [key for key, (_, one) in self._found.items() if one.token.id == token_id]:
                del self._found[key]

    def forget_name(self, name: str) -> None:
        """Forget all sessions and tokens of a name."""
        with self._lock:
            for key in [key for key, (_, one) in self._found.items() if one.token.name == name]:
                del self._found[key]

    def is_to_be_touched(self, token: TokenView, now: datetime) -> bool:
        """Tell whether its use is to be noted now, which then is taken to be done."""
        if token.used_at is not None and (now - token.used_at).total_seconds() < self._touch_s:
            return False
        mono_s = self._clock.mono_s()
        with self._lock:
            if mono_s - self._touched.get(token.id, mono_s - self._touch_s) < self._touch_s:
                return False
            if len(self._touched) >= KNOWN_COUNT:
                self._touched.clear()
            self._touched[token.id] = mono_s
        return True
