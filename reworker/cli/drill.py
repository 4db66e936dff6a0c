"""``reworker drill``: kills a core and a worker of its own, cuts them off, and counts what went wrong."""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import quote

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
from reworker.drill.drill import Drill, Report
from reworker.drill.frames import FrameProxy, Harm
from reworker.drill.lane import OWN_CORES, ROLES, Lane, Site
from reworker.drill.lives import Nursery
from reworker.drill.orders import GROUP
from reworker.drill.strikes import Strike, blows_of, pairs_of, sample, shares_of, with_stops
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
#: strikes unless told otherwise: some minutes.
STRIKE_COUNT = 250
#: the queues that must be as empty afterwards as they were before.
QUEUES = (names.worker_queue(SUFFIX), names.REPLY_QUEUE, names.DEAD_QUEUE)
#: what was done to connections, in words.
HARM_WORDS = {Harm.CUT: "cut", Harm.RESET: "reset", Harm.FREEZE: "frozen", Harm.DELAY: "delayed"}
#: strikes between two signs of life.
PROGRESS_EVERY = 25


@click.command()
@mq_option
@db_option
@click.option(
    "--kills",
    "strike_count",
    default=STRIKE_COUNT,
    show_default=True,
    type=click.IntRange(1),
    help="How many strikes.",
)
@output_option
def drill(mq: str, db: str, strike_count: int, output: str) -> None:
    """Kill a core and a worker on your broker and database, cut them off, and check every deployment.

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
        report = run_drill(settings, site, strike_count)
    click.echo(json.dumps(msgspec.to_builtins(report)) if output == "json" else table_of(report))
    for problem in report.problems:
        click.echo(escaped(problem), err=True)
    sys.exit(EXIT_OK if report.is_clean else EXIT_FAILED)


def run_drill(settings: MqSettings, site: Site, strike_count: int) -> Report:
    """Strike so many times on a site, processes first and connections then, and judge."""
    before, name = _message_counts(settings), f"drill-{site.folder.name[-8:]}"
    shares = shares_of(strike_count, has_connections=settings.tls is None)
    with opened_lane(site, name) as lane:
        run = Drill([lane], _Progress(strike_count).note)
        passages = run.passages()
        run.strike(with_stops(sample(blows_of(passages), shares.blows)))
        run.strike(pairs_of(passages, shares.pairs))
        lane.close()
    if shares.interruptions and not lane.problems:
        _interrupt(run, settings, site, f"{name}-cut", shares.interruptions)
    left = _message_counts(settings)
    return run.report(messages_left({name: max(0, left[name] - before[name]) for name in left}))


def _interrupt(run: Drill, settings: MqSettings, site: Site, name: str, count: int) -> None:
    """Harm connections on the same site, of a core and a worker that go through proxies."""
    url, folder = url_of(settings), site.folder / "connections"
    folder.mkdir()
    with ExitStack() as stack:
        proxies = {role: stack.enter_context(FrameProxy(url)) for role in ROLES}
        ways = {f"{role}_mq": proxy.url for role, proxy in proxies.items()}
        lane = stack.enter_context(opened_lane(msgspec.structs.replace(site, folder=folder, **ways), name))
        run.interrupt(lane, proxies, count)
        lane.close()


def url_of(settings: MqSettings) -> str:
    """Return the URL, with the password, of the first address of a broker that is reached without TLS."""
    host, port = settings.addresses()[0]
    login = f"{quote(settings.user, safe='')}:{quote(settings.current_password(), safe='')}"
    place = f"[{host}]" if ":" in host else host
    vhost = quote(settings.vhost, safe="")
    return f"amqp://{login}@{place}:{port}/{vhost}?heartbeat={settings.heartbeat_s}"


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
    alone, pairs = sum(report.strikes.values()), sum(report.pairs.values())
    harms = ", ".join(f"{count} {name}" for name, count in sorted(_by_harm(report).items()))
    outcomes = ", ".join(f"{count} {status}" for status, count in sorted(report.outcomes.items()))
    rows = {
        "struck": f"{alone} at {len(report.strikes)} points",
        "together": f"{pairs} times core and worker, at {len(report.pairs)} pairs of points",
        "connections": f"{sum(report.interruptions.values())}: {harms}" if harms else "none",
        "missed": f"{report.missed_count} strikes whose moment did not come",
        "deployments": f"{sum(report.outcomes.values())}: {outcomes}",
        "asked": f"{report.decision_count} times whether to try again",
        **{fault: str(count) for fault, count in report.faults.items()},
        "duration": f"{report.duration_s:.1f} s",
    }
    return "\n".join(f"{name:<14}{value}" for name, value in rows.items())


def _by_harm(report: Report) -> Counter[str]:
    """Return how often connections were harmed in each way, whosever they were."""
    counts: Counter[str] = Counter()
    for place, count in report.interruptions.items():
        counts[HARM_WORDS[Harm(place.partition(".")[2])]] += count
    return counts


def _message_counts(settings: MqSettings) -> dict[str, int]:
    found = queue_counts(settings, QUEUES)
    return {name: found[name].message_count if name in found else 0 for name in QUEUES}


class _Progress:
    """Says on stderr how far the drill has come."""

    def __init__(self, strike_count: int) -> None:
        self._strike_count, self._count = strike_count, 0

    def note(self, _: Strike) -> None:
        self._count += 1
        if self._count % PROGRESS_EVERY == 0:
            click.echo(f"{self._count} of {self._strike_count} strikes", err=True)
