"""What the kit found out about a worker. No I/O."""

from __future__ import annotations

import enum
from collections.abc import Sequence

import msgspec


class Support(enum.StrEnum):
    """How a worker did in one check."""

    SUPPORTED = "supported"
    MISSING = "not supported"
    UNTRIED = "not tried"


class Finding(msgspec.Struct, frozen=True):
    """Result of one check.

    Args:
        check: its name.
        level: of the contract, 1 or 2.
        is_required: a worker without it is no worker.
        support: how it did.
        seen: what was seen, or why it was not tried.
        advice: what to do about it; empty is nothing.
    """

    check: str
    level: int
    is_required: bool
    support: Support
    seen: str
    advice: str = ""


class Report(msgspec.Struct, frozen=True):
    """All that was found about the worker of one queue."""

    queue: str
    findings: Sequence[Finding]

    @property
    def is_worker(self) -> bool:
        """Whether nothing required is missing, and it did something at all."""
        return not self.missing and any(
            one.support is Support.SUPPORTED and one.check == "completed" for one in self.findings
        )

    @property
    def missing(self) -> list[str]:
        """What is required and not supported."""
        return [one.check for one in self.findings if one.is_required and one.support is Support.MISSING]

    def counts(self, level: int) -> tuple[int, int, int]:
        """Return how many checks of a level are supported, not supported and not tried."""
        found = [one.support for one in self.findings if one.level == level]
        supported, missing = found.count(Support.SUPPORTED), found.count(Support.MISSING)
        return supported, missing, len(found) - supported - missing
