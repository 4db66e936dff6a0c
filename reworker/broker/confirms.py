"""Publisher confirms of one channel, joined into as few frames as the protocol allows. Pure."""

from __future__ import annotations

from reworker.broker.codec import encode_confirm


class Confirms:
    """Counts publishes and says what became of them; publishes are settled in their order."""

    def __init__(self, channel: int) -> None:
        self.is_on = False
        self._channel = channel
        self._last = 0
        self._runs: list[tuple[bool, int, int]] = []

    def settle_next(self, *, is_taken: bool) -> None:
        """Note what became of the next publish; no effect before confirms are turned on."""
        if not self.is_on:
            return
        self._last += 1
        if self._runs and self._runs[-1][0] == is_taken:
            self._runs[-1] = (is_taken, self._runs[-1][1], self._last)
        else:
            self._runs.append((is_taken, self._last, self._last))

    def flush(self) -> bytes:
        """Return the frames for everything settled since the last call."""
        runs, self._runs = self._runs, []
        return b"".join(
            encode_confirm(self._channel, last, multiple=last > first, is_ack=is_ack)
            for is_ack, first, last in runs
        )
