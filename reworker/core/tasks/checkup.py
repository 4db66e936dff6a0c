"""Examines tasks, schedules and packages from outside; see `doctor`. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from reworker.core.doctor import OVERDUE_S, Finding, shown
from reworker.core.tasks.options import CodeOptions, decoded
from reworker.errors import DeploymentNotFound
from reworker.storage.contract import Reader, Storage
from reworker.storage.task_rows import CodeRow

#: codes, and ids of packages, read at once.
_PAGE_COUNT = 500


def examine_tasks(storage: Storage, now: datetime) -> Iterator[Finding]:
    """Check that tasks and schedules that are due are seen to, and that codes have their packages."""
    reader, before = storage.reader, now - timedelta(seconds=OVERDUE_S)
    late = [
        load.code_id
        for load in reader.waiting_codes(before)
        if load.active_count < (decoded(CodeOptions, load.options).max_concurrency or 1)
    ]
    text = f"{len(late)} codes have tasks that nothing starts" + (f": {shown(late)}" if late else "")
    advice = "is a core running, and does the broker take messages? See the core's log"
    yield Finding("tasks", "waiting", not late, text, advice if late else "")
    is_late = reader.has_due_schedules(before)
    text = "schedules are due, and nothing fires them" if is_late else "no schedule is overdue"
    yield Finding("tasks", "schedules", not is_late, text, "start a core" if is_late else "")
    lost = [own_id for own_id in reader.active_ids() if not _has_deployment(reader, own_id)]
    text = f"{len(lost)} tasks run without a deployment" + (f": {shown(lost)}" if lost else "")
    advice = "restore the database as a whole: a part of it is older than the rest"
    yield Finding("tasks", "running", not lost, text, advice if lost else "")
    yield _packages(storage)


def _has_deployment(reader: Reader, own_id: str) -> bool:
    try:
        reader.deployment(own_id)
    except DeploymentNotFound:  # it may have ended, and been pruned, since
        found = reader.task(own_id)
        return found is None or found.phase != "active"
    return True


def _packages(storage: Storage) -> Finding:
    there = set(_package_ids(storage))
    wanted = {code.revision_id: code.name for code in _codes(storage.reader)}
    lost = [f"{name} ({own_id})" for own_id, name in wanted.items() if own_id not in there]
    text = f"{len(wanted) - len(lost)} of {len(wanted)} codes have their package"
    text += f"; missing: {shown(lost)}" if lost else ""
    advice = "upload them again; the file of packages belongs into each backup"
    return Finding("tasks", "packages", not lost, text, advice if lost else "")


def _package_ids(storage: Storage) -> Iterator[str]:
    last = ""
    while ids := storage.packages.ids(last, _PAGE_COUNT):
        yield from ids
        last = ids[-1]


def _codes(reader: Reader) -> Iterator[CodeRow]:
    offset = 0
    while rows := reader.codes("", limit=_PAGE_COUNT, offset=offset):
        yield from rows
        offset += len(rows)
