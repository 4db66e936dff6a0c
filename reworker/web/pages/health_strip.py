"""Whether the parts of the system are there, in a word each."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import msgspec

from reworker.web.pages.visits import Visit


class Part(msgspec.Struct, frozen=True):
    """A part of the system and how it is."""

    name: str
    status: str
    detail: str = ""
    since: datetime | None = None


def bus_parts(visit: Visit) -> Iterator[Part]:
    """Yield how the broker and the workers are."""
    if visit.site.desk is None:
        yield Part("bus", "not asked", "this server was started without --mq")
