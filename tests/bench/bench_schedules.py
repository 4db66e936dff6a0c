"""How many schedules fire in time: all are due at one moment, and a core makes a task for each.

    python -m tests.bench.bench_schedules [--url AMQP_URL] [--db DB ...] [--schedules N] [--cores N]

The cores are processes of their own; nobody takes the tasks, so each code has as many started as may wait for
a worker. The time is that from the moment until the last task stands in the database.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from reworker.core.tasks.codes import CodeDraft
from reworker.core.tasks.schedule_drafts import ScheduleDraft
from reworker.storage.task_rows import TaskFilter
from tests.bench.bench_core import Bed, Servers
from tests.bench.pages import place
from tests.support.waiting import wait_until

SCHEDULE_COUNT, CODE_COUNT = 10_000, 20
#: seconds until the schedules are due, once all are stored; seconds that all may take.
LEAD_S, LIMIT_S = 3.0, 600.0
#: schedules stored in one call, and tasks read in one.
BATCH_COUNT, PAGE_COUNT = 1000, 1000


def fill(bed: Bed, schedules: int, codes: int, due_at: datetime) -> None:
    """Store schedules that are all due at one moment."""
    project = bed.service.projects.find("default")
    names = [f"code{number}" for number in range(codes)]
    for name in names:
        bed.service.codes.upload(project, CodeDraft(name, "sh", "a.sh"), [b"PK"])
    drafts = [
        ScheduleDraft(names[number % codes], "{}", start_at=due_at, run_every_s=3600.0)
        for number in range(schedules)
    ]
    for begin in range(0, schedules, BATCH_COUNT):
        bed.service.schedules.add(project, drafts[begin : begin + BATCH_COUNT])


def lags_s(bed: Bed, schedules: int, due_at: datetime) -> list[float]:
    """Return how long after the moment each task was made, once there is one for each schedule."""
    reader, wanted = bed.reader, TaskFilter()
    wait_until(
        lambda: sum(reader.task_counts(wanted).values()) >= schedules,
        LIMIT_S,
        "all schedules to fire",
        poll_s=0.2,
    )
    pages = (reader.tasks(wanted, limit=PAGE_COUNT, offset=at) for at in range(0, schedules, PAGE_COUNT))
    rows = [row for page in pages for row in page]
    assert len({row.schedule_id for row in rows}) == len(rows) == schedules
    return [(row.created_at - due_at).total_seconds() for row in rows]


def fired(bed: Bed, schedules: int, codes: int, core_count: int = 1) -> Iterator[str]:
    """Measure; yield lines.

    Args:
        bed: without a core.
        schedules: how many are due at once.
        codes: that they are of.
        core_count: cores that look for them.
    """
    stored_s = time.monotonic()
    due_at = datetime.now(UTC) + timedelta(seconds=LEAD_S + schedules / 1000)
    fill(bed, schedules, codes, due_at)
    stored_s = time.monotonic() - stored_s
    yield f"{schedules:,} schedules stored in {stored_s:.1f} s"
    cores = [bed.core(f"core{number}") for number in range(core_count)]
    before_s = sum(core.ask("usage")["cpu_s"] for core in cores)
    found = lags_s(bed, schedules, due_at)
    cpu_s = sum(core.ask("usage")["cpu_s"] for core in cores) - before_s
    yield (
        f"{schedules:,} schedules of {codes} codes, due at once, {core_count} cores: half fired after "
        f"{statistics.median(found):.1f} s, all after {max(found):.1f} s; "
        f"{1e3 * cpu_s / schedules:.2f} ms of CPU each"
    )


def measured(url: str, db: str, schedules: int, codes: int, core_count: int) -> Iterator[str]:
    """Measure on a fresh virtual host and database; yield lines. See `Servers` and `fired`."""
    with contextlib.closing(Servers(url, db)) as servers:
        yield servers.title
        with contextlib.closing(servers.bed()) as bed:
            yield from (f"- {line}" for line in fired(bed, schedules, codes, core_count))


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description="Measure schedules that are due at once.")
    parser.add_argument(
        "--url", default="", help="amqp:// URL of an empty virtual host; else RabbitMQ is started"
    )
    parser.add_argument(
        "--db", nargs="+", default=["sqlite", "postgres"], help="`sqlite`, `postgres` or a URL"
    )
    parser.add_argument("--schedules", type=int, default=SCHEDULE_COUNT, help="how many are due at once")
    parser.add_argument("--codes", type=int, default=CODE_COUNT, help="that they are of")
    parser.add_argument("--cores", type=int, default=1, help="that look for them; more need PostgreSQL")
    options = parser.parse_args()
    print(f"{place()}; confirms on, all persistent.")
    for db in options.db:
        for line in measured(options.url, db, options.schedules, options.codes, options.cores):
            print(line, flush=True)


if __name__ == "__main__":
    main()
