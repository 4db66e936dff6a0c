"""Which tasks a list shows: the query of its address, and what the database is asked. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from urllib.parse import urlencode

import msgspec

from reworker.core.tasks.outcomes import TaskStatus
from reworker.ids import is_id
from reworker.storage.task_rows import TaskFilter
from reworker.web.pages.listing import SINCE, WORD_CHARACTERS

_T = TaskStatus
#: words that stand for several statuses, with what people read.
GROUPS: dict[str, tuple[str, tuple[TaskStatus, ...]]] = {
    "open": ("not over", (_T.QUEUED, _T.RUNNING)),
    "trouble": ("in trouble", (_T.ERROR, _T.TIMEOUT, _T.KILLED)),
}
_PATH = "/tasks"


class TaskListing(msgspec.Struct, frozen=True):
    """What the address asks for; empty words limit nothing."""

    project: str = ""
    code: str = ""
    status: str = ""
    label: str = ""
    schedule: str = ""
    since: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> TaskListing:
        """Return what the query of an address asks for; words that we do not know limit nothing."""
        words = {name: query.get(name, "").strip()[:WORD_CHARACTERS] for name in cls.__struct_fields__}
        words["status"] = words["status"] if words["status"] in (*GROUPS, *_T) else ""
        words["since"] = words["since"] if words["since"] in SINCE else ""
        words["schedule"] = words["schedule"] if is_id(words["schedule"]) else ""
        return cls(**words)

    @property
    def is_limited(self) -> bool:
        """Tell whether anything is asked for."""
        return self != TaskListing()

    def url(self, **changes: str) -> str:
        """Return the address of the list, with some words changed."""
        words = {**msgspec.structs.asdict(self), **changes}
        query = urlencode({name: value for name, value in words.items() if value})
        return f"{_PATH}?{query}" if query else _PATH

    def wanted(self, now: datetime, project_id: str) -> TaskFilter:
        """Return what the database is asked."""
        if self.status in GROUPS:
            statuses = tuple(str(one) for one in GROUPS[self.status][1])
        else:
            statuses = (self.status,) if self.status else ()
        hours = SINCE[self.since][1] if self.since else 0
        return TaskFilter(
            project_id=project_id,
            code_name=self.code,
            statuses=statuses,
            label=self.label,
            schedule_id=self.schedule,
            # whole minutes, so that a page that nothing happened on stays the same
            created_after=now.replace(second=0, microsecond=0) - timedelta(hours=hours) if hours else None,
        )


def status_choices() -> list[tuple[str, str]]:
    """Return the words for a status and what people read."""
    return [
        ("", "any"),
        *((word, text) for word, (text, _) in GROUPS.items()),
        *((str(one), str(one)) for one in _T),
    ]


def tab_title(counts: Mapping[str, int]) -> str:
    """Return what the title of the tab says: what runs, what waits, what is in trouble."""
    trouble = sum(counts.get(one, 0) for one in GROUPS["trouble"][1])
    shown = (
        (counts.get(_T.RUNNING, 0), "running"),
        (counts.get(_T.QUEUED, 0), "queued"),
        (trouble, "failed"),
    )
    return ", ".join(f"{count:,} {word}" for count, word in shown if count)
