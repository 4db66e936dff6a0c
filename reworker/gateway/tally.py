"""Polls by task type, for the figures that Conductor's clients and servers have agreed on."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping

#: task types that are told apart; all further ones are `OTHER`. Names come from whoever polls.
NAME_COUNT = 100
OTHER = "other"


class PollTally:
    """Counts polls, and those that were refused, by task type, all domains together. Any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._polls: Counter[str] = Counter()
        self._errors: Counter[tuple[str, str]] = Counter()

    def note(self, name: str) -> None:
        """Count a poll for a type that is served."""
        with self._lock:
            self._polls[name if name in self._polls or len(self._polls) < NAME_COUNT else OTHER] += 1

    def note_refused(self, name: str, error: Exception) -> None:
        """Count a poll that was refused; a type that was never served has no name of its own here."""
        with self._lock:
            self._errors[name if name in self._polls else OTHER, type(error).__name__] += 1

    @property
    def polls(self) -> Mapping[str, int]:
        """Polls by type."""
        with self._lock:
            return dict(self._polls)

    @property
    def errors(self) -> Mapping[tuple[str, str], int]:
        """Refused polls by type and name of the error."""
        with self._lock:
            return dict(self._errors)
