"""What was said about one step: its replies and lines of output, in the order in which they came. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from reworker.messages import FINAL_STATUSES


class Heard(msgspec.Struct, frozen=True):
    """One reply as it came.

    Args:
        value: its body; None when it is no JSON object.
        correlation_id: of its properties, or None.
        message_id: likewise.
        app_id: likewise.
        headers: of its properties.
        at_mono_s: when it came.
    """

    value: Mapping[str, Any] | None
    correlation_id: str | None
    message_id: str | None
    app_id: str | None
    headers: Mapping[str, Any]
    at_mono_s: float

    @property
    def status(self) -> str:
        """Its status, as text, whatever it is."""
        return "no JSON object" if self.value is None else str(self.value.get("status"))

    @property
    def is_final(self) -> bool:
        """Whether it ends the attempt."""
        return self.status in FINAL_STATUSES

    @property
    def words(self) -> str:
        """What it says to people."""
        value = self.value or {}
        found = value.get("message") or value.get("reason") or value.get("data") or ""
        return " ".join(str(found).split())[:200]


class Talk:
    """All that a worker says about one step.

    Args:
        own_id: correlation id of the step.
        asked_mono_s: when it was sent.
    """

    def __init__(self, own_id: str, asked_mono_s: float) -> None:
        self.own_id, self.asked_mono_s = own_id, asked_mono_s
        self.heard: list[Heard] = []
        self.lines: list[str] = []

    @property
    def statuses(self) -> list[str]:
        """Statuses in order, without heartbeats."""
        return [one.status for one in list(self.heard) if one.status != "running"]

    @property
    def finals(self) -> list[Heard]:
        """Final replies; one that came twice under the same message id counts once."""
        found = [one for one in list(self.heard) if one.is_final]
        return list({one.message_id or f"#{number}": one for number, one in enumerate(found)}.values())

    @property
    def started_count(self) -> int:
        """How often the step was begun."""
        return self.statuses.count("started")

    @property
    def end(self) -> str:
        """The status that it ended with; empty is not at all."""
        return self.finals[0].status if self.finals else ""

    @property
    def took_s(self) -> float:
        """Seconds until the first final reply; 0 before."""
        return self.finals[0].at_mono_s - self.asked_mono_s if self.finals else 0.0

    def summary(self) -> str:
        """Return what was heard, for people."""
        if not self.heard:
            return "nothing came"
        said = ", ".join(self.statuses) or "heartbeats only"
        if not self.finals:
            return f"{said}, and nothing more"
        words = self.finals[0].words if self.end != "completed" else ""
        return f"{said} in {self.took_s:.1f} s" + (f": {words}" if words else "")
