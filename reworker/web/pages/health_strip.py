"""Whether the parts of the system are there, in a word each."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import msgspec

from reworker.core.bus_look import SILENT
from reworker.web.pages.visits import Visit

#: characters of why the broker is away; names that are listed.
REASON_CHARACTERS, WORKER_COUNT = 120, 4


class Part(msgspec.Struct, frozen=True):
    """A part of the system and how it is."""

    name: str
    status: str
    detail: str = ""
    since: datetime | None = None


def bus_parts(visit: Visit) -> Iterator[Part]:
    """Yield how the broker and the workers are, as they were some seconds ago at most."""
    if visit.site.desk is None:
        yield Part("bus", "not asked", "this server was started without --mq")
        return
    look = visit.site.desk.look(visit.who)
    if look.state != "up":
        yield Part("bus", look.state, look.reason[:REASON_CHARACTERS], look.away_since)
        return
    yield Part("bus", "ok")
    # one of which neither queue nor machine is known is no process, but a name in the history
    silent = [one.worker for one in look.workers if one.state == SILENT and one.host]
    answering = sum(one.state != SILENT for one in look.workers)
    yield Part(
        "workers", "ok" if answering else "away", f"{answering} answer" if answering else "none answers"
    )
    if silent:
        yield Part("silent", "late", ", ".join(sorted(set(silent))[:WORKER_COUNT]))
    if deaf := [one.name for one in look.queues if one.kind == "worker" and one.ready and not one.consumers]:
        yield Part("no consumer", "late", ", ".join(deaf[:WORKER_COUNT]))
    letters = sum(one.ready for one in look.queues if one.kind == "dead")
    if letters:
        yield Part("dead letters", "late", f"{letters:,}")
