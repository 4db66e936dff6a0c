"""What of tasks, schedules and packages is deleted in time, in small portions; a core's upkeep does it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from reworker.ids import make_id
from reworker.storage.contract import Storage

#: rows deleted in one transaction at most, and packages looked at in one go.
PRUNE_COUNT, PACKAGE_COUNT = 200, 500
#: how old a package that nobody needs is at least: an upload may be under way, or a download.
PACKAGE_AGE = timedelta(days=1)


def prune_tasks(storage: Storage, before: datetime, *, pause: Callable[[], object]) -> int:
    """Delete tasks that were over before this time without a deployment, and schedules; return how many.

    Args:
        storage: the database.
        before: time of their end.
        pause: called between two transactions.
    """
    count = 0
    is_more = True
    while is_more:
        with storage.begin() as unit:
            found = unit.prune_tasks(before, PRUNE_COUNT), unit.prune_schedules(before, PRUNE_COUNT)
        count += sum(found)
        is_more = max(found) == PRUNE_COUNT
        pause()
    return count


def remove_packages(storage: Storage, now: datetime, *, pause: Callable[[], object]) -> int:
    """Delete packages of deleted codes without open tasks, and of uploads that broke off; return how many.

    Args:
        storage: the database.
        now: its time.
        pause: called after each package and each look.
    """
    reader, packages = storage.reader, storage.packages
    newest = make_id(now - PACKAGE_AGE, 0)
    count, last = 0, ""
    while ids := [one for one in packages.ids(last, PACKAGE_COUNT) if one < newest]:
        last = ids[-1]
        for own_id in sorted(set(ids) - reader.needed_packages(ids)):
            packages.remove(own_id)
            count += 1
            pause()
        pause()
    return count
