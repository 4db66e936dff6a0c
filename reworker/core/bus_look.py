"""What people see of a broker at one moment: queues with their rates and ages, and workers. Pure."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Literal

import msgspec

from reworker.core.roll_call import Heard, commands_on
from reworker.fsm.states import AttemptStatus
from reworker.messages import RunningJob
from reworker.storage.work_contract import WorkRow
from reworker.topology import names
from reworker.topology.model import RETRY_DELAYS_S

#: queues that a core reads or fills, in the order in which they are shown.
CORE_QUEUES = (names.REPLY_QUEUE, names.JOB_QUEUE, names.OUTPUT_QUEUE, names.DEAD_QUEUE)
#: seconds over which rates are taken: RabbitMQ renews its figures every 5.
WINDOW_S = 15.0
#: seconds for which the database says how many steps were sent and started.
STEPS_WINDOW_S = 60.0
#: seconds after which a process that answers no more is said to be silent.
SILENT_S = 10.0
#: state of such a process.
SILENT = "silent"
#: seconds for which one without work, of which only the database knows, is shown.
RECENT_S = 600.0

Kind = Literal["worker", "retry", "core", "dead"]
_ORDER = ("worker", "retry", "core", "dead")


class Counts(msgspec.Struct, frozen=True):
    """What a broker says of a queue; None is what it does not say.

    Args:
        ready: messages that wait for a consumer.
        consumers: read it.
        unacked: messages that were delivered and not settled.
        published: messages that came, since the queue is there.
        taken: messages that left it for good, since then.
        head_at: when the first message was made.
    """

    ready: int = 0
    consumers: int = 0
    unacked: int | None = None
    published: int | None = None
    taken: int | None = None
    head_at: datetime | None = None


class QueueLook(msgspec.Struct, frozen=True):
    """A queue as people see it.

    Args:
        name: of the queue.
        kind: whose it is; ``retry`` is one in which messages wait for another try.
        is_there: False is one that steps were sent to, under the name that it should have.
        ready: messages that wait for a consumer.
        consumers: read it.
        unacked: delivered, not settled.
        in_per_s: messages that come.
        out_per_s: messages that go.
        change_per_s: by how much `ready` grows.
        rates_from: ``broker``, or ``steps`` when the database knows those of the last minute; else empty.
        oldest_ready_s: for how long the first message waits to be started.
        oldest_unacked_s: for how long the first message is being worked on.
    """

    name: str
    kind: Kind
    is_there: bool
    ready: int
    consumers: int
    unacked: int | None = None
    in_per_s: float | None = None
    out_per_s: float | None = None
    change_per_s: float | None = None
    rates_from: Literal["", "broker", "steps"] = ""
    oldest_ready_s: float | None = None
    oldest_unacked_s: float | None = None


class WorkerLook(msgspec.Struct, frozen=True):
    """A process of workers as people see it.

    Args:
        worker: its type, as it calls itself; or the command whose steps it has answered.
        queue: it reads; empty is not known.
        host: of the process.
        pid: of the process; 0 is not known.
        state: its own word, or `SILENT`: it does not answer.
        version: of reworker that it runs; empty is not known.
        jobs: that it performs now.
        job_count: how many these are; of one that is silent the database knows.
        heard_at: when it last answered us, or a core.
    """

    worker: str
    queue: str
    host: str
    pid: int
    state: str
    version: str
    jobs: tuple[RunningJob, ...]
    job_count: int
    heard_at: datetime | None


class BusLook(msgspec.Struct, frozen=True):
    """A broker at one moment.

    Args:
        state: ``looking`` is before the first answer.
        url: of the broker, without its password.
        at: when it last answered; None is never.
        away_since: when it first did not.
        reason: why it does not, in words.
        source: where the figures come from, in words.
        queues: that matter to us.
        workers: that answer, or should.
    """

    state: Literal["looking", "up", "away"]
    url: str
    at: datetime | None = None
    away_since: datetime | None = None
    reason: str = ""
    source: str = ""
    queues: tuple[QueueLook, ...] = ()
    workers: tuple[WorkerLook, ...] = ()

    @property
    def versions(self) -> tuple[str, ...]:
        """The versions that workers run, each once."""
        return tuple(sorted({one.version for one in self.workers if one.version}))


def kind_of(name: str) -> Kind:
    """Return whose queue it is, by its name."""
    if name == names.DEAD_QUEUE:
        return "dead"
    if name in CORE_QUEUES:
        return "core"
    is_retry = names.is_retry_queue(name, name.rpartition(".retry.")[0])
    return "retry" if is_retry else "worker"


def is_ours(name: str, workers: Iterable[str]) -> bool:
    """Tell whether a queue matters here: by its name, or that of a worker's queue, perhaps for retries."""
    if name in CORE_QUEUES or name.startswith(names.WORKER_PREFIX):
        return True
    return any(name == one or names.is_retry_queue(name, one) for one in workers)


def ladder_of(queue: str) -> tuple[str, ...]:
    """Return the names that queues for further tries of a worker's steps may have."""
    return tuple(names.retry_queue(queue, delay_s) for delay_s in RETRY_DELAYS_S)


class Rates:
    """How fast queues fill and empty, from successive looks. Threads: one."""

    def __init__(self, window_s: float = WINDOW_S) -> None:
        self._window_s = window_s
        self._seen: deque[tuple[float, Mapping[str, Counts]]] = deque()

    def note(self, at_mono_s: float, counts: Mapping[str, Counts]) -> None:
        """Remember a look; those that are older than needed are forgotten."""
        self._seen.append((at_mono_s, counts))
        while len(self._seen) > 1 and self._seen[1][0] <= at_mono_s - self._window_s:
            self._seen.popleft()

    def of(self, name: str) -> tuple[float | None, float | None, float | None]:
        """Return messages in, messages out and growth per second; None is not known."""
        known = [(at, seen[name]) for at, seen in self._seen if name in seen]
        if len(known) < 2:
            return (None, None, None)
        (then_s, old), (now_s, new) = known[0], known[-1]
        span_s = now_s - then_s
        if span_s <= 0:
            return (None, None, None)
        came, went = _grown(old.published, new.published), _grown(old.taken, new.taken)
        return (
            None if came is None else came / span_s,
            None if went is None else went / span_s,
            (new.ready - old.ready) / span_s,
        )


def _grown(old: int | None, new: int | None) -> int | None:
    """Return by how much a count has grown; one that fell began anew."""
    return None if old is None or new is None or new < old else new - old


def queue_looks(
    counts: Mapping[str, Counts], rates: Rates, work: Iterable[WorkRow], now: datetime
) -> tuple[QueueLook, ...]:
    """Return the queues as people see them: those of workers first, then by name."""
    by_queue = work_by_queue(counts, work)
    looks = [_queue_look(name, one, rates, by_queue.get(name, ()), now) for name, one in counts.items()]
    lost = {name: rows for name, rows in by_queue.items() if name not in counts and _first_sent(rows)}
    looks += [
        msgspec.structs.replace(_queue_look(name, Counts(), rates, rows, now), is_there=False)
        for name, rows in lost.items()
    ]
    return tuple(sorted(looks, key=_place))


def _place(look: QueueLook) -> tuple[int, str]:
    return (_ORDER.index(look.kind), look.name)


def work_by_queue(queues: Iterable[str], work: Iterable[WorkRow]) -> dict[str, list[WorkRow]]:
    """Return the work of each queue: that which takes the command, or the one that should be there."""
    readers = {command: name for name in queues if kind_of(name) == "worker" for command in commands_on(name)}
    found: dict[str, list[WorkRow]] = defaultdict(list)
    for row in work:
        found[readers.get(row.command) or names.worker_queue(row.command)].append(row)
    return found


def _queue_look(name: str, counts: Counts, rates: Rates, rows: Sequence[WorkRow], now: datetime) -> QueueLook:
    came, went, growth = rates.of(name)
    source: Literal["", "broker", "steps"] = "" if came is None and went is None else "broker"
    if not source and rows:
        came = sum(row.sent_count for row in rows) / STEPS_WINDOW_S
        went = sum(row.started_count for row in rows) / STEPS_WINDOW_S
        source = "steps"
    first_at = _first_sent(rows) or (counts.head_at if counts.ready else None)
    started = [row.oldest_started_at for row in rows if row.status == AttemptStatus.STARTED]
    return QueueLook(
        name=name,
        kind=kind_of(name),
        is_there=True,
        ready=counts.ready,
        consumers=counts.consumers,
        unacked=counts.unacked,
        in_per_s=came,
        out_per_s=went,
        change_per_s=growth,
        rates_from=source,
        oldest_ready_s=_age_s(first_at, now),
        oldest_unacked_s=_age_s(min(filter(None, started), default=None), now),
    )


def _first_sent(rows: Iterable[WorkRow]) -> datetime | None:
    sent = [row.oldest_sent_at for row in rows if row.status == AttemptStatus.SENT]
    return min(filter(None, sent), default=None)


def _age_s(at: datetime | None, now: datetime) -> float | None:
    return None if at is None else max(0.0, (now - at).total_seconds())


def worker_looks(
    heard: Iterable[Heard], work: Iterable[WorkRow], queues: Iterable[str], now: datetime
) -> tuple[WorkerLook, ...]:
    """Return the processes of workers: those that answer, and those of which only the database knows.

    Args:
        heard: answers.
        work: of the deployments that count.
        queues: that are there.
        now: the time.
    """
    answered = [_answered(one, now) for one in heard]
    known = {(one.host, one.pid) for one in answered} | {(one.worker, 0) for one in answered}
    by_process: dict[tuple[str, int], list[WorkRow]] = defaultdict(list)
    for row in work:
        if row.worker and process_of(row.worker) not in known:
            by_process[process_of(row.worker)].append(row)
    silent = [
        _silent(*process, rows, queues)
        for process, rows in by_process.items()
        if _counts(process[1], rows, now)
    ]
    return tuple(sorted(answered + silent, key=lambda one: (one.queue, one.host, one.pid)))


def process_of(worker: str) -> tuple[str, int]:
    """Return host and process of an instance, ``host:pid:number``; other names are those of no process."""
    host, _, rest = worker.rpartition(":")[0].rpartition(":")
    return (host, int(rest)) if host and rest.isascii() and rest.isdecimal() else (worker, 0)


def _answered(one: Heard, now: datetime) -> WorkerLook:
    pong = one.pong
    is_silent = (now - one.at).total_seconds() > SILENT_S
    return WorkerLook(
        worker=pong.worker,
        queue=pong.queue,
        host=pong.host,
        pid=pong.pid,
        state=SILENT if is_silent else pong.state,
        version=pong.version,
        jobs=tuple(pong.running),
        job_count=len(pong.running),
        heard_at=one.at,
    )


def _counts(pid: int, rows: Sequence[WorkRow], now: datetime) -> bool:
    """Tell whether a process that does not answer is worth a line: it has work in hand.

    One of another library (`pid` is 0) answers nobody: it counts while it was there just now.
    """
    if any(row.status == AttemptStatus.STARTED for row in rows):
        return True
    newest = max(filter(None, (row.newest_at for row in rows)), default=None)
    return not pid and newest is not None and (now - newest).total_seconds() < RECENT_S


def _silent(host: str, pid: int, rows: Sequence[WorkRow], queues: Iterable[str]) -> WorkerLook:
    return WorkerLook(
        worker=rows[0].step.partition(":")[0] if pid else host,
        queue=next(iter(work_by_queue(queues, rows))),
        host=host if pid else "",
        pid=pid,
        state=SILENT,
        version="",
        jobs=(),
        job_count=sum(row.attempt_count for row in rows if row.status == AttemptStatus.STARTED),
        heard_at=max(filter(None, (row.newest_at for row in rows)), default=None),
    )
