"""Which deployments a list shows: the query of its address, and the rows as a page wants them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from urllib.parse import urlencode

import msgspec

from reworker.core.reads import DeploymentView
from reworker.fsm.states import TERMINAL_STATUSES, DeploymentStatus
from reworker.storage.contract import DeploymentFilter
from reworker.web.pages.deployment_head import Expectation, Progress, progress

_S = DeploymentStatus
#: words that stand for several statuses, with what people read.
GROUPS: dict[str, tuple[str, tuple[DeploymentStatus, ...]]] = {
    "open": ("open", tuple(one for one in _S if one not in TERMINAL_STATUSES)),
    "trouble": ("in trouble", (_S.FAILED, _S.ROLLED_BACK, _S.ROLLBACK_FAILED)),
}
#: how far back a list goes: word -> (what people read, hours).
SINCE: dict[str, tuple[str, int]] = {
    "1h": ("the last hour", 1),
    "24h": ("the last 24 hours", 24),
    "7d": ("the last 7 days", 7 * 24),
    "30d": ("the last 30 days", 30 * 24),
}
#: characters of a word in the address that are looked at.
WORD_CHARACTERS = 200

#: what shows the tasks of code packages, too.
WITH_TASKS = "all"


class Listing(msgspec.Struct, frozen=True):
    """What the address asks for; empty words limit nothing."""

    q: str = ""
    status: str = ""
    group: str = ""
    environment: str = ""
    actor: str = ""
    playbook: str = ""
    since: str = ""
    kind: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Listing:
        """Return what the query of an address asks for; words that we do not know limit nothing."""
        words = {name: query.get(name, "").strip()[:WORD_CHARACTERS] for name in cls.__struct_fields__}
        words["status"] = words["status"] if words["status"] in (*GROUPS, *_S) else ""
        words["since"] = words["since"] if words["since"] in SINCE else ""
        words["kind"] = words["kind"] if words["kind"] == WITH_TASKS else ""
        return cls(**words)

    @property
    def is_limited(self) -> bool:
        """Tell whether anything is asked for."""
        return self != Listing()

    def query(self, **changes: str) -> str:
        """Return the query of the address, with some words changed."""
        words = {**msgspec.structs.asdict(self), **changes}
        return urlencode({name: value for name, value in words.items() if value})

    def url(self, **changes: str) -> str:
        """Return the address of the list, with some words changed."""
        query = self.query(**changes)
        return f"/deployments?{query}" if query else "/deployments"

    def wanted(self, now: datetime) -> DeploymentFilter:
        """Return what the database is asked."""
        if self.status in GROUPS:
            statuses = tuple(str(one) for one in GROUPS[self.status][1])
        else:
            statuses = (self.status,) if self.status else ()
        hours = SINCE[self.since][1] if self.since else 0
        return DeploymentFilter(
            statuses=statuses,
            groups=(self.group,) if self.group else (),
            environments=(self.environment,) if self.environment else (),
            playbook_id=self.playbook,
            actor=self.actor,
            name=self.q,
            # whole minutes, so that a page that nothing happened on stays the same
            created_after=now.replace(second=0, microsecond=0) - timedelta(hours=hours) if hours else None,
            is_task=None if self.kind == WITH_TASKS else False,
        )


class Row(msgspec.Struct, frozen=True):
    """A deployment in a list."""

    view: DeploymentView
    progress: Progress
    took_s: float | None
    trouble: str
    expected: Expectation | None = None
    is_late: bool = False

    @property
    def id(self) -> str:
        """Its id."""
        return self.view.row.id


def row_of(view: DeploymentView, expected: Expectation | None = None, now: datetime | None = None) -> Row:
    """Return a deployment as lists show it; `now` tells whether it is late."""
    state = view.state
    took_s = None
    if state.ended_at is not None and state.started_at is not None:
        took_s = (state.ended_at - state.started_at).total_seconds()
    is_late = expected is not None and now is not None and expected.is_late(now)
    return Row(view, progress(view), took_s, _trouble(view), expected, is_late)


def _trouble(view: DeploymentView) -> str:
    """Return why it failed or what it waits for, in a line."""
    failure = view.state.failure
    if failure is not None:
        where = f" on {failure.host}" if failure.host else ""
        step = f"{failure.step}{where}: " if failure.step else ""
        return f"{step}{failure.reason}"
    if view.state.status is DeploymentStatus.COMPLETED:
        return ""
    return view.state.reason


def status_choices() -> list[tuple[str, str]]:
    """Return the words for a status and what people read."""
    groups = [(word, text) for word, (text, _) in GROUPS.items()]
    return [("", "any"), *groups, *((str(one), str(one).replace("_", " ")) for one in _S)]


def since_choices() -> list[tuple[str, str]]:
    """Return the words for how far back, and what people read."""
    return [("", "ever"), *((word, text) for word, (text, _) in SINCE.items())]


def tab_title(counts: Mapping[str, int]) -> str:
    """Return what the title of the tab says: what waits for people, what runs, what failed."""
    waiting, running = counts.get(_S.WAITING, 0), counts.get(_S.RUNNING, 0)
    parts = [f"{waiting} waiting"] if waiting else []
    parts += [f"{running} running"] if running else []
    failed = sum(counts.get(one, 0) for one in GROUPS["trouble"][1])
    parts += [f"{failed} failed"] if failed else []
    return ", ".join(parts)
