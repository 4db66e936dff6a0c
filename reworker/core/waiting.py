"""For whom deployments wait at this moment.

A snapshot says for whom a deployment waited when it last tried to get its locks, which may be long ago: when
locks are given up, only the first in each line is told. Who looks reads the locks themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import msgspec

from reworker.core.service import DeploymentView
from reworker.fsm.states import DeploymentStatus
from reworker.storage.contract import LockRow, Reader

#: what is said of one that has nobody before it.
FREE = "waits for a core: its locks are free"


def as_now(reader: Reader, views: Sequence[DeploymentView]) -> list[DeploymentView]:
    """Return deployments with what those that are queued wait for now as their reason."""
    if not any(view.state.status is DeploymentStatus.QUEUED for view in views):
        return list(views)
    reasons = reasons_of(reader.locks())
    return [_told(view, reasons.get(view.row.id, view.state.reason)) for view in views]


def _told(view: DeploymentView, reason: str) -> DeploymentView:
    if view.state.status is not DeploymentStatus.QUEUED:
        return view
    return msgspec.structs.replace(view, state=replace(view.state, reason=reason))


def reasons_of(locks: Iterable[LockRow]) -> dict[str, str]:
    """Return what each deployment in a line waits for: a holder if there is one, else who came first.

    Args:
        locks: by name, the holder first, then the line.
    """
    before: dict[str, LockRow] = {}
    found: dict[str, LockRow | None] = {}
    for row in locks:
        first = before.setdefault(row.name, row)
        if row.is_held:
            continue
        known = found.setdefault(row.deployment_id, None)
        if first is not row and (known is None or _rank(first) < _rank(known)):
            found[row.deployment_id] = first
    return {own_id: FREE if first is None else _words(first) for own_id, first in found.items()}


def _rank(row: LockRow) -> tuple[bool, int]:
    """Order as locks are given: holders first, by the names of their locks, then who asked first."""
    return (False, 0) if row.is_held else (True, row.number)


def _words(first: LockRow) -> str:
    kind, _, name = first.name.partition(":")
    did = "holds" if first.is_held else "asked for first"
    return f"waits for {kind} {name}, which deployment {first.deployment_id} {did}"
