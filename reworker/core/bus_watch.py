"""Looking at a broker and its workers again and again: queues, rates, ages, answers to pings."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from reworker.bus.administration import Administration
from reworker.bus.connection import PikaBus
from reworker.clock import Clock
from reworker.config import MqSettings
from reworker.core.bus_look import (
    CORE_QUEUES,
    STEPS_WINDOW_S,
    BusLook,
    Counts,
    Rates,
    is_ours,
    kind_of,
    ladder_of,
    queue_looks,
    worker_looks,
)
from reworker.core.management_search import login_of, plugins_beside
from reworker.core.roll_call import Heard, RollCall, answers_to, commands_on
from reworker.core.upkeep import open_ids
from reworker.errors import BusError, ConfigError, ConnectionLost, StorageError, TopologyMismatch
from reworker.storage.contract import Reader
from reworker.storage.work_contract import WorkRow
from reworker.topology import names
from reworker.topology.code_queues import CODE_COMMAND, is_code_queue
from reworker.topology.management import SEARCH_S, Management, NotSeen, QueueFigures

logger = logging.getLogger(__name__)

#: seconds for each step of connecting, and for the broker to take a ping.
CONNECT_S = 3.0
#: seconds between two reads of the database, two searches for queues, and two for the management plugin.
WORK_S, LADDER_S, PLUGIN_S = 5.0, 15.0, 60.0
#: seconds to wait for the first answers; without one after which a process is forgotten.
PONG_S, FORGET_S = 0.3, 60.0
#: queues that are counted one by one; beyond that the plugin's older figures do.
COUNTED_COUNT = 300
#: workers whose queues for further tries are searched, each of which has a dozen possible names.
LADDER_COUNT = 40
#: deployments that count: those that are open, and the last that have ended up to so many steps.
OPEN_COUNT, ENDED_COUNT, ENDED_STEP_COUNT = 900, 100, 20_000


class BusWatch:
    """Looks at a broker. Threads: one. End of life: `close`, after which the next look connects anew.

    It has a connection for questions, one for pings, and asks the management plugin where there is one: AMQP
    alone tells neither what was delivered, nor how much came and went, nor which queues there are.

    Args:
        settings: of the broker.
        reader: of the database.
        clock: for ages.
        management: URL of the plugin; empty looks for it at its usual port.
    """

    def __init__(self, settings: MqSettings, reader: Reader, clock: Clock, *, management: str = "") -> None:
        self._settings, self._reader, self._clock = settings, reader, clock
        self._management = management
        self._away_since: datetime | None = None
        self._work: list[WorkRow] = []
        self._work_at_mono_s = -WORK_S
        self._last = BusLook("looking", settings.masked_url())
        self._forget_all()

    def _forget_all(self) -> None:
        self._rates = Rates()
        self._broker: Administration | None = None
        self._bus: PikaBus | None = None
        self._call: RollCall | None = None
        self._plugin: Management | None = None
        self._plugin_at_mono_s = self._ladder_at_mono_s = float("-inf")
        self._plugin_reason = self._call_reason = ""
        self._found: set[str] = set()

    def look(self) -> BusLook:
        """Return how it is now; never raises for a broker or a database that is away."""
        try:
            self._connect()
            look = self._look()
        except (BusError, ConfigError) as error:
            self.close()
            self._away_since = self._away_since or self._clock.now()
            look = msgspec.structs.replace(
                self._last, state="away", away_since=self._away_since, reason=str(error)
            )
        self._last = look
        return look

    def close(self) -> None:
        """End the connections. Safe twice."""
        broker, bus = self._broker, self._bus
        self._forget_all()
        if broker is not None:
            broker.__exit__(None, None, None)
        if bus is not None:
            bus.close(deadline_s=1.0)

    def _connect(self) -> None:
        if self._broker is None:
            broker = Administration(self._settings, "reworker web")
            self._broker = broker.__enter__()
        if self._bus is None:
            self._bus = PikaBus(self._settings, name="reworker web pings", clock=self._clock)
            self._bus.open(timeout_s=CONNECT_S)
            call = RollCall(self._bus, self._clock)
            try:
                call.begin()
                self._call = call
            except TopologyMismatch as error:  # we may not; queues can be counted all the same
                self._call_reason = f"workers cannot be asked: {error}"

    def _heard(self) -> list[Heard]:
        """Ping the workers, and return what they have answered to earlier pings."""
        if self._call is None or self._bus is None:
            return []
        health = self._bus.health()
        if not health.is_connected:
            raise ConnectionLost(f"the broker went away: {health.last_error}")
        is_answered = self._call.ask(deadline_s=CONNECT_S)
        self._call.forget(FORGET_S)
        if is_answered and not self._call.heard():
            threading.Event().wait(PONG_S)  # the first time: who is there answers at once
        return self._call.heard()

    def _look(self) -> BusLook:
        now, heard = self._clock.now(), self._heard()
        work = self._recent_work(now)
        figures = self._figures()
        counts = self._counted(figures, self._wanted({one.pong.queue for one in heard}, figures, work))
        counts = with_code_workers(counts, heard)
        self._rates.note(self._clock.mono_s(), counts)
        self._away_since = None
        return BusLook(
            state="up",
            url=self._settings.masked_url(),
            at=now,
            source=self._source(),
            queues=queue_looks(counts, self._rates, work, now),
            workers=worker_looks(heard, work, counts, now),
        )

    def _source(self) -> str:
        source = f"AMQP and the database; {self._plugin_reason}"
        if self._plugin is not None:
            source = f"AMQP and the management plugin at {self._plugin.url}"
        return f"{source}; {self._call_reason}" if self._call_reason else source

    def _recent_work(self, now: datetime) -> list[WorkRow]:
        if self._clock.mono_s() - self._work_at_mono_s >= WORK_S:
            self._work_at_mono_s = self._clock.mono_s()
            try:
                self._work = recent_work(self._reader, now)
            except StorageError as error:
                logger.debug("the work of workers could not be read: %s", error)
        return self._work

    def _figures(self) -> dict[str, QueueFigures] | None:
        """Return what the management plugin says, or None when there is none that we may ask."""
        mono_s = self._clock.mono_s()
        if self._plugin is None and mono_s - self._plugin_at_mono_s < PLUGIN_S:
            return None
        self._plugin_at_mono_s = mono_s
        try:
            if self._plugin is None:
                self._plugin = self._search_plugin()
            return self._plugin.figures(self._settings.vhost)
        except NotSeen as error:
            self._plugin, self._plugin_reason = None, f"the management plugin was not found ({error})"
            return None

    def _search_plugin(self) -> Management:
        """Return the plugin of our broker.

        Raises:
            NotSeen: there is none, or none that we may ask.
            ConfigError: its URL is wrong.
        """
        assert self._broker is not None
        if self._management:
            return Management(self._management, login_of(self._settings), SEARCH_S)
        reasons = []
        for plugin, port in plugins_beside(self._settings):
            try:
                plugin.recognise(self._broker.cluster_name, port)
            except NotSeen as error:
                reasons.append(f"{plugin.url}: {error}")
                continue
            return plugin
        raise NotSeen("; ".join(reasons))

    def _wanted(
        self, heard: Collection[str], figures: dict[str, QueueFigures] | None, work: Iterable[WorkRow]
    ) -> list[str]:
        """Return the names of the queues to count; some may not be there."""
        wanted = [*CORE_QUEUES, *sorted(heard)]
        if figures is not None:
            wanted += (one.name for one in figures.values() if not one.exclusive and is_ours(one.name, heard))
            return list(dict.fromkeys(wanted))
        wanted += sorted(self._found)
        known = {command for queue in wanted for command in commands_on(queue)}
        commands = sorted({row.command for row in work} - known)
        wanted += (names.worker_queue(f"{one}{suffix}") for one in commands for suffix in ("worker", ""))
        if self._clock.mono_s() - self._ladder_at_mono_s >= LADDER_S:
            self._ladder_at_mono_s = self._clock.mono_s() if self._found else float("-inf")
            readers = sorted({*heard, *(one for one in self._found if kind_of(one) == "worker")})
            wanted += (name for queue in readers[:LADDER_COUNT] for name in ladder_of(queue))
        return list(dict.fromkeys(wanted))

    def _counted(self, figures: dict[str, QueueFigures] | None, wanted: Iterable[str]) -> dict[str, Counts]:
        """Return the counts of those queues that are there: the broker's own of this moment."""
        assert self._broker is not None
        found: dict[str, Counts] = {}
        for number, name in enumerate(wanted):
            told = _counts_of((figures or {}).get(name))
            if number < COUNTED_COUNT or figures is None:
                answer = self._broker.find_queue(name)
                if not answer.is_ok:
                    continue
                told = msgspec.structs.replace(
                    told, ready=answer.message_count, consumers=answer.consumer_count
                )
            found[name] = told
        self._found = set(found) - set(CORE_QUEUES)
        return found


def with_code_workers(counts: Mapping[str, Counts], heard: Iterable[Heard]) -> dict[str, Counts]:
    """Return counts in which the workers of codes are consumers of their queues.

    To the broker they are none: they ask each queue for one message at a time.
    """
    takers_count = sum(answers_to(one.pong.queue, CODE_COMMAND) for one in heard)
    return {
        name: msgspec.structs.replace(one, consumers=one.consumers + takers_count)
        if is_code_queue(name)
        else one
        for name, one in counts.items()
    }


def recent_work(reader: Reader, now: datetime) -> list[WorkRow]:
    """Return the work of the deployments that are open, and of the last that have ended.

    Raises:
        StorageError: the database is away.
    """
    ids = [*open_ids(reader, OPEN_COUNT), *_ended_ids(reader)]
    return reader.work(list(dict.fromkeys(ids)), now - timedelta(seconds=STEPS_WINDOW_S))


def _ended_ids(reader: Reader) -> Iterator[str]:
    step_count = 0
    for row in reader.deployments(limit=ENDED_COUNT):
        step_count += row.step_count
        if row.ended_at is not None and step_count <= ENDED_STEP_COUNT:
            yield row.id


def _counts_of(figures: QueueFigures | None) -> Counts:
    """Return what the plugin says of a queue."""
    if figures is None:
        return Counts()
    stats = figures.message_stats if isinstance(figures.message_stats, dict) else {}
    is_counted = bool(stats)
    return Counts(
        ready=figures.messages_ready or 0,
        consumers=figures.consumers or 0,
        unacked=figures.messages_unacknowledged,
        published=_number(stats.get("publish")) if is_counted else None,
        taken=sum(_number(stats.get(one)) for one in _TAKEN) if is_counted else None,
        head_at=_moment(figures.head_message_timestamp),
    )


#: figures of messages that leave a queue for good. Source: RabbitMQ, management plugin, message_stats.
_TAKEN = ("ack", "deliver_no_ack", "get_no_ack")


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _moment(value: Any) -> datetime | None:
    with contextlib.suppress(OverflowError, OSError, ValueError):
        if isinstance(value, int) and value > 0:
            return datetime.fromtimestamp(value, UTC)
    return None
