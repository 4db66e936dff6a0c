"""What a core counts, by name; any thread."""

from __future__ import annotations

import threading
from collections import Counter


class Counters:
    """Numbers that only grow, for health and metrics."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def add(self, name: str, count: int = 1) -> None:
        """Count something."""
        with self._lock:
            self._counts[name] += count

    def snapshot(self) -> dict[str, int]:
        """Return all numbers of this moment."""
        with self._lock:
            return dict(self._counts)
