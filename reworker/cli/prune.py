"""``reworker prune``: deletes deployments that ended long ago."""

from __future__ import annotations

import re
import time
from datetime import timedelta

import click

from reworker.cli.options import db_option
from reworker.cli.waits import counted
from reworker.cli.wiring import existing_storage
from reworker.clock import SystemClock
from reworker.core.database_clock import DatabaseClock
from reworker.core.tasks.tidying import prune_tasks
from reworker.core.upkeep import ROOM_S
from reworker.core.upkeep import prune as prune_some

_DAYS = re.compile(r"([1-9][0-9]{0,5})d?")


@click.command()
@click.option("--older-than", "age", required=True, metavar="DAYS", help="Age since their end, such as 90d.")
@db_option
def prune(age: str, db: str) -> None:
    """Delete deployments and tasks that ended long ago, with history and output, and schedules that are over.

    This happens in small portions, so a core may run meanwhile. To have it done for good, set keep_days.
    """
    found = _DAYS.fullmatch(age)
    if found is None:
        raise click.BadParameter(f"{age!r} is not a number of days such as 90d", param_hint="--older-than")
    count = 0
    with existing_storage(db) as (storage, logs):
        clock = DatabaseClock(storage, SystemClock())
        while ids := prune_some(storage, logs, clock, int(found[1]), pause=time.sleep):
            count += len(ids)
        before = clock.now() - timedelta(days=int(found[1]))
        rest_count = prune_tasks(storage, before, pause=lambda: time.sleep(ROOM_S))
    click.echo(f"{counted(count, 'deployment')} deleted")
    if rest_count:
        click.echo(f"{rest_count} tasks that never ran and schedules that were over deleted")
