"""``reworker doctor``: whether database, broker and open deployments are well, and what to do if not."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import click
import msgspec

from reworker.cli.main import EXIT_FAILED
from reworker.cli.options import db_option, optional_mq_option, output_option
from reworker.cli.wiring import connected_bus, existing_storage, name_of_database
from reworker.errors import BusError, ConfigError, StorageError
from reworker.logs import escaped

if TYPE_CHECKING:
    from reworker.config import MqSettings
    from reworker.core.doctor import Finding
    from reworker.core.settings import CoreSettings

#: seconds to look for the broker, and before a second look at what seems to be stuck.
CONNECT_S, SECOND_LOOK_S = 5.0, 1.0


@click.command()
@optional_mq_option
@db_option
@click.option("-c", "--config", type=click.Path(dir_okay=False), help="Settings of the core, JSON or YAML.")
@output_option
def doctor(mq: str | None, db: str, config: str | None, output: str) -> None:
    """Check the database, the broker and every open deployment; exit code 0 only when all is well.

    It changes nothing and may run beside cores. Open deployments are replayed from their events, so run it
    with the new program before an upgrade.
    """
    from reworker.config import mq_settings
    from reworker.core.settings import core_file

    found = core_file(config)
    bus = mq_settings(mq) if mq else found.mq
    sent: dict[str, int] = {}
    findings = [*_database(db, sent), *_broker(bus, found.settings, sent)]
    for line in _json(findings) if output == "json" else _table(findings):
        click.echo(line)
    if not all(one.is_ok for one in findings):
        sys.exit(EXIT_FAILED)


def _database(db: str, sent: dict[str, int]) -> Iterator[Finding]:
    """Check what is in the database; note in `sent` how many steps each worker's queue has got."""
    from reworker.clock import SystemClock
    from reworker.core import doctor as checks
    from reworker.core.database_clock import DatabaseClock
    from reworker.core.tasks.checkup import examine_tasks

    try:
        with existing_storage(db) as (storage, _):
            yield checks.Finding("database", "open", True, name_of_database(db))
            now = DatabaseClock(storage, SystemClock()).now()
            yield from checks.examine_database(storage, now)
            yield from checks.examine_waiting(storage.reader, now)
            yield from checks.examine_deployments(storage, lambda: time.sleep(SECOND_LOOK_S))
            yield from examine_tasks(storage, now)
            sent.update(checks.steps_sent(storage.reader))
    except (StorageError, ConfigError) as error:
        yield checks.Finding("database", "open", False, str(error), "check --db, the server and its disk")


def _broker(bus: MqSettings | None, settings: CoreSettings, sent: dict[str, int]) -> Iterator[Finding]:
    from reworker.bus.inspection import queue_counts
    from reworker.bus.parameters import masked_urls
    from reworker.core import doctor as checks
    from reworker.topology import names

    if bus is None:
        text, advice = "not looked at: nothing says where it is", "give --mq, or settings that name it"
        yield checks.Finding("broker", "connect", True, text, advice, is_checked=False)
        return
    wanted = dict.fromkeys((names.REPLY_QUEUE, names.OUTPUT_QUEUE, settings.job_queue, names.DEAD_QUEUE), 0)
    try:
        with connected_bus(bus, name="reworker doctor", timeout_s=CONNECT_S) as connected:
            yield checks.Finding("broker", "connect", True, masked_urls(bus))
            yield checks.examine_topology(connected, settings.topology())
            if connected.health().is_blocked:
                advice = "free its memory or disk; until then nothing is published"
                yield checks.Finding("broker", "alarm", False, "it takes no messages", advice)
        counts = queue_counts(bus, [*wanted, *sent])
        yield from checks.examine_queues(counts, wanted | sent)
    except BusError as error:
        advice = "check --mq, user, password and virtual host, and that the broker runs"
        yield checks.Finding("broker", "connect", False, str(error), advice)


def _table(findings: Iterable[Finding]) -> Iterator[str]:
    """Yield aligned lines, each problem followed by what to do."""
    rows = list(findings)
    widths = [max(len(getattr(one, name)) for one in rows) for name in ("area", "check")]
    for one in rows:
        mark = ("ok " if one.is_ok else "BAD") if one.is_checked else " ? "
        yield escaped(f"{mark}  {one.area:<{widths[0]}}  {one.check:<{widths[1]}}  {one.text}")
        if one.advice:
            yield escaped(f"     -> {one.advice}")
    bad_count, count = sum(not one.is_ok for one in rows), sum(one.is_checked for one in rows)
    unseen = [one.area for one in rows if not one.is_checked]
    rest = f"; not looked at: {', '.join(unseen)}" if unseen else ""
    yield (f"{bad_count} of {count} checks need you" if bad_count else f"all {count} checks are well") + rest


def _json(findings: Iterable[Finding]) -> Iterator[str]:
    rows = [msgspec.structs.asdict(one) for one in findings]
    yield json.dumps({"is_well": all(one["is_ok"] for one in rows), "findings": rows})
