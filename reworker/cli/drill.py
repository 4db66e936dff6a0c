"""``reworker drill``: kills a core and a worker of its own, again and again, and counts what went wrong."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click
import msgspec

from reworker.bus.inspection import queue_counts
from reworker.cli.main import EXIT_FAILED, EXIT_OK, cli
from reworker.cli.options import db_option, mq_option, output_option
from reworker.cli.wiring import opened_storage
from reworker.clock import SystemClock
from reworker.config import MqSettings, mq_settings
from reworker.core.database_clock import DatabaseClock
from reworker.core.service import Service
from reworker.core.upkeep import BEAT_S
from reworker.drill.drill import Drill, Report, blows_of, sample, with_stops
from reworker.drill.lane import OWN_CORES, Blow, Lane, Site
from reworker.drill.lives import Nursery
from reworker.drill.orders import GROUP
from reworker.drill.truth import messages_left
from reworker.drill.worker import SUFFIX
from reworker.errors import ConfigError
from reworker.fsm.states import DeploymentStatus
from reworker.logs import escaped
from reworker.storage.contract import Storage
from reworker.topology import names

#: modules that every core and worker needs: loaded once, for all of them.
PRELOADED = (
    "encodings.idna",
    "reworker.bus.connection",
    "reworker.cli.core",
    "reworker.cli.drill",
    "reworker.cli.wiring",
    "reworker.cli.worker",
    "reworker.core.core",
    "reworker.drill.worker",
    "reworker.host.plugins",
    "reworker.storage.log",
    "reworker.storage.opening",
    "reworker.storage.postgres",
    "reworker.storage.sql",
    "sqlalchemy.dialects.sqlite",
)
#: strikes unless told otherwise: about a minute and a half.
STRIKE_COUNT = 250
#: the queues that must be as empty afterwards as they were before.
QUEUES = (names.worker_queue(SUFFIX), names.REPLY_QUEUE, names.DEAD_QUEUE)
#: strikes between two signs of life.
PROGRESS_EVERY = 25


@click.command()
@mq_option
@db_option
@click.option("--kills", default=STRIKE_COUNT, show_default=True, type=click.IntRange(1), help="How many.")
@output_option
def drill(mq: str, db: str, kills: int, output: str) -> None:
    """Kill a core and a worker on your broker and database, and check every deployment.

    They are of the drill's own, with the queue worker.drill and playbooks of the group drill. No other core
    may run there meanwhile. Exit codes: 0 nothing was lost, doubled, stuck or out of order; 1 something was.
    """
    settings = mq_settings(mq)
    refuse_readers(settings)
    with ExitStack() as stack:
        storage, logs = stack.enter_context(opened_storage(db))
        service = Service(storage, logs, SystemClock())
        refuse_strangers(service)
        refuse_cores(storage)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="reworker-drill-")))
        site = Site(mq=mq, db=db, folder=folder, storage=storage, service=service)
        report = run_drill(settings, site, kills)
    click.echo(json.dumps(msgspec.to_builtins(report)) if output == "json" else table_of(report))
    for problem in report.problems:
        click.echo(escaped(problem), err=True)
    sys.exit(EXIT_OK if report.is_clean else EXIT_FAILED)


def run_drill(settings: MqSettings, site: Site, strike_count: int) -> Report:
    """Strike so many times on a site of one lane, and judge."""
    before = _message_counts(settings)
    with opened_lane(site, f"drill-{site.folder.name[-8:]}") as lane:
        progress = _Progress(strike_count)
        run = Drill([lane], progress.note)
        blows = blows_of(run.passages())
        run.strike(with_stops(sample(blows, strike_count)))
        lane.close()
        left = _message_counts(settings)
        return run.report(messages_left({name: max(0, left[name] - before[name]) for name in left}))


@contextmanager
def opened_lane(site: Site, name: str) -> Iterator[Lane]:
    """Open a lane on a site for the block; none of its processes is left afterwards.

    Raises:
        ConfigError: its processes do not start; with what they said.
    """
    lane = Lane(Nursery(run_command, PRELOADED), site, name)
    try:
        lane.open()
        yield lane
    except TimeoutError as error:
        raise ConfigError(f"the drill's own processes do not work: {error}") from error
    finally:
        lane.kill()


def run_command(arguments: list[str]) -> None:
    """Run a command of ours in this process: what each life of a core or a worker does."""
    cli.main(args=arguments, prog_name="reworker", standalone_mode=False)


def refuse_readers(settings: MqSettings) -> None:
    """Refuse a broker on which somebody else takes what is meant for the drill's core or worker.

    Raises:
        ConfigError: says which queue, and what to do.
    """
    for queue, counts in queue_counts(settings, QUEUES).items():
        if counts.consumer_count:
            reason = f"{counts.consumer_count} others consume {queue} on {settings.masked_url()}"
            cure = "stop them, or give the drill a virtual host of its own"
            raise ConfigError(f"{reason}; {cure}: it kills its core all the time", key="--mq")


def refuse_strangers(service: Service) -> None:
    """Refuse a database with deployments under way that are not a drill's.

    Raises:
        ConfigError: names one of them.
    """
    for status in DeploymentStatus:
        for one in service.deployments(limit=1000, status=str(status)) if not status.is_terminal else ():
            if one.row.group != GROUP:
                reason = f"deployment {one.row.id} ({one.row.group} / {one.row.name}) is {status} there"
                cure = "let it end, or give the drill a database of its own"
                raise ConfigError(f"{reason}; {cure}", key="--db")


def refuse_cores(storage: Storage) -> None:
    """Refuse a database that another core works on, perhaps with another broker.

    Raises:
        ConfigError: names the core.
    """
    now = DatabaseClock(storage, SystemClock()).now()
    for one in storage.reader.instances():
        age_s = (now - one.beat_at).total_seconds()
        if age_s < 3 * BEAT_S and not one.name.startswith(OWN_CORES):
            reason = f"core {one.name} on {one.host} gave a sign of life there {age_s:.0f} s ago"
            cure = f"stop it and wait {3 * BEAT_S:.0f} s, or give the drill a database of its own"
            raise ConfigError(f"{reason}; {cure}", key="--db")


def table_of(report: Report) -> str:
    """Return a report for people."""
    strikes = f"{report.strike_count} at {len(report.strikes)} points, {report.missed_count} missed"
    outcomes = ", ".join(f"{count} {status}" for status, count in sorted(report.outcomes.items()))
    rows = {
        "struck": strikes,
        "deployments": f"{sum(report.outcomes.values())}: {outcomes}",
        "asked": f"{report.decision_count} times whether to try again",
        **{fault: str(count) for fault, count in report.faults.items()},
        "duration": f"{report.duration_s:.1f} s",
    }
    return "\n".join(f"{name:<14}{value}" for name, value in rows.items())


def _message_counts(settings: MqSettings) -> dict[str, int]:
    found = queue_counts(settings, QUEUES)
    return {name: found[name].message_count if name in found else 0 for name in QUEUES}


class _Progress:
    """Says on stderr how far the drill has come."""

    def __init__(self, strike_count: int) -> None:
        self._strike_count, self._count = strike_count, 0

    def note(self, _: Blow) -> None:
        self._count += 1
        if self._count % PROGRESS_EVERY == 0:
            click.echo(f"{self._count} of {self._strike_count} strikes", err=True)
