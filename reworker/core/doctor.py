"""Examines a system from outside: its database, what waits in it, and its broker. Changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta

import msgspec

from reworker.bus.contract import Bus, DeclareMode, TopologySpec
from reworker.bus.inspection import QueueCounts
from reworker.core import codec, history
from reworker.core.upkeep import BEAT_S, open_ids
from reworker.errors import BusError, DeploymentNotFound
from reworker.fsm.commands import TimerKind
from reworker.fsm.deployment import Deployment
from reworker.fsm.states import AttemptStatus, DeploymentStatus
from reworker.ids import attempt_id
from reworker.storage.contract import LockRow, Reader, Storage, StorageReport
from reworker.topology import names

#: seconds for which a message may wait for the broker, and a timer for a core.
WAITING_S, OVERDUE_S = 60.0, 30.0
#: bytes that should be free on the database's disk; seconds by which clocks may be apart.
FREE_BYTES, CLOCK_S = 500 << 20, 5.0
#: deployments that are replayed, and named in a finding.
REPLAY_COUNT, SHOWN_COUNT = 10_000, 5
#: messages in a queue that somebody should be reading.
CROWD_COUNT = 1000


class Finding(msgspec.Struct, frozen=True):
    """The outcome of one check: `text` says how it is, `advice` what to do if that is not well.

    `is_checked` tells whether it was looked at, which is no fault: nobody said where to look.
    """

    area: str
    check: str
    is_ok: bool
    text: str
    advice: str = ""
    is_checked: bool = True


def examine_database(storage: Storage, now: datetime) -> Iterator[Finding]:
    """Check the database itself, and whether cores are there; `now` is its time."""
    report = storage.report()
    size = f"{report.engine}, {_mib(report.size_bytes)}"
    advice = "stop all cores, keep a copy, and restore the last backup: what it says cannot be trusted"
    text = "; ".join((size, *report.problems))
    yield Finding("database", "integrity", not report.problems, text, "" if not report.problems else advice)
    yield from _disk(report)
    offset_s = storage.clock_offset_s()
    is_close = abs(offset_s) <= CLOCK_S
    text = f"the database's clock is {offset_s:+.1f} s from this machine's"
    yield Finding("database", "clock", is_close, text, "" if is_close else "let NTP set both clocks")
    yield _cores(storage.reader, now)


def _disk(report: StorageReport) -> Iterator[Finding]:
    if report.free_bytes is not None:
        is_ok = report.free_bytes >= FREE_BYTES
        advice = "" if is_ok else "make room, or delete old deployments: reworker prune --older-than 90d"
        yield Finding("database", "disk", is_ok, f"{_mib(report.free_bytes)} free", advice)


def _cores(reader: Reader, now: datetime) -> Finding:
    found = reader.instances()
    alive = [one for one in found if (now - one.beat_at).total_seconds() < 3 * BEAT_S]
    shown = ", ".join(f"{one.name} on {one.host} ({one.version}, process {one.pid})" for one in alive)
    last = max((one.beat_at for one in found), default=None)
    text = shown or ("no core has run on it yet" if last is None else f"none since {last:%Y-%m-%d %H:%M:%S}")
    return Finding("core", "cores", bool(alive), text, "" if alive else "start one: reworker core")


def examine_waiting(reader: Reader, now: datetime) -> Iterator[Finding]:
    """Check what should not have to wait: messages for the broker, timers that are due, locks of nobody."""
    rows = reader.outbox()
    before = now - timedelta(seconds=WAITING_S)
    old = [row for row in rows if row.created_at < before and (row.claim_until or before) <= before]
    text = f"{len(rows)} messages wait for the broker"
    if old:
        text += f", {len(old)} of them since {old[0].created_at:%Y-%m-%d %H:%M:%S} and before"
    advice = "is a core running, and does the broker take messages? See below, and the core's log"
    yield Finding("database", "outbox", not old, text, advice if old else "")
    timers = reader.timers()
    late = [row for row in timers if row.due_at < now - timedelta(seconds=OVERDUE_S)]
    text = f"{len(timers)} timers run, {len(late)} of them should have ended"
    advice = "is a core running? If so, its log says which deployment it cannot go on with"
    yield Finding("database", "timers", not late, text, advice if late else "")
    yield _orphaned_locks(reader)


def _orphaned_locks(reader: Reader) -> Finding:
    locks = reader.locks()
    ended = {one for one in {row.deployment_id for row in locks} if _has_ended(reader, one)}
    # Looked at again: one that has ended between the two reads gave its locks up then.
    lost = sorted(ended & {row.deployment_id for row in reader.locks()}) if ended else []
    held_count = sum(row.is_held for row in locks)
    text = f"{held_count} locks are held, {len(locks) - held_count} are waited for"
    if lost:
        text += f"; some belong to deployments that have ended: {shown(lost)}"
    advice = "report it with the output of reworker show; their rows in tables lock and lock_wait may go"
    return Finding("database", "locks", not lost, text, advice if lost else "")


def _has_ended(reader: Reader, own_id: str) -> bool:
    try:
        return reader.deployment(own_id).ended_at is not None
    except DeploymentNotFound:  # it was pruned
        return True


def examine_deployments(storage: Storage, pause: Callable[[], None]) -> Iterator[Finding]:
    """Replay every open deployment, and find those that nothing would ever bring on.

    Args:
        storage: the database.
        pause: called before a second look at what seems to be stuck: a core may be about to bring it on.
    """
    reader = storage.reader
    ids = open_ids(reader, REPLAY_COUNT)
    broken = {own_id: found[0] for own_id in ids if (found := history.problems(reader, own_id))}
    text = f"{len(ids)} open deployments replayed"
    if broken:
        text += f", {len(broken)} are not what their history says: {shown(broken, broken)}"
    advice = "see reworker verify ID; cancel them, and start them again"
    yield Finding("deployments", "history", not broken, text, advice if broken else "")
    stuck = _stuck(reader, [own_id for own_id in ids if own_id not in broken])
    if stuck:
        pause()
        again = _stuck(reader, list(stuck))
        stuck = {own_id: one for own_id, one in again.items() if stuck[own_id] == one}
    reasons = {own_id: reason for own_id, (_, reason) in stuck.items()}
    text = f"{len(stuck)} open deployments have nothing to wait for"
    advice = "report it with the output of reworker show; then cancel them: reworker cancel ID"
    text += f": {shown(stuck, reasons)}" if stuck else ""
    yield Finding("deployments", "stuck", not stuck, text, advice if stuck else "")


def _stuck(reader: Reader, ids: Iterable[str]) -> dict[str, tuple[int, str]]:
    """Return those that nothing will bring on: their version, and what is missing."""
    rows = [reader.deployment(own_id) for own_id in ids]
    timers: dict[str, set[tuple[str, int]]] = {}
    for timer in reader.timers():
        timers.setdefault(timer.deployment_id, set()).add((timer.kind, timer.attempt))
    messages = {row.id for row in reader.outbox()}
    blocked = _blocked(reader.locks())
    found = {}
    for row in rows:
        state = codec.decode_snapshot(row.snapshot)
        reason = missing(state, timers.get(row.id, set()), messages, is_blocked=row.id in blocked)
        if reason and not state.status.is_terminal:
            found[row.id] = (row.version, reason)
    return found


def _blocked(locks: Iterable[LockRow]) -> set[str]:
    """Return the deployments that another one keeps from their locks; rows come by name, the holder first."""
    first: dict[str, str] = {}
    for row in locks:
        first.setdefault(row.name, row.deployment_id)
    return {row.deployment_id for row in locks if first[row.name] != row.deployment_id}


def missing(state: Deployment, timers: set[tuple[str, int]], messages: set[str], *, is_blocked: bool) -> str:
    """Return what an open deployment needs to go on and does not have; empty when it has all.

    Args:
        state: its snapshot.
        timers: its rows, as (kind, attempt).
        messages: ids of the rows in the outbox.
        is_blocked: another deployment holds one of its locks, or came earlier.
    """
    if state.status is DeploymentStatus.QUEUED:
        is_woken = is_blocked or (TimerKind.LOCKS, 0) in timers
        return "" if is_woken else "its locks are free, and nothing wakes it"
    wanted = [(kind, 0) for kind in state.timers]
    wanted += [(kind, attempt.number) for attempt in state.attempts for kind in attempt.timers]
    for kind, number in wanted:
        if (kind, number) not in timers:
            return f"its {kind} timer is gone" + (f" (attempt {number})" if number else "")
    for attempt in state.attempts:
        is_ready = attempt.status is AttemptStatus.READY
        if is_ready and attempt_id(state.id, attempt.number) not in messages:
            return f"the message of attempt {attempt.number} is gone"
    if state.attempts or state.status is DeploymentStatus.PAUSED:
        return ""
    return "no attempt, message, timer or person would bring it on"


def examine_topology(bus: Bus, wanted: TopologySpec) -> Finding:
    """Check that the broker has the exchanges and queues of a core; declares nothing."""
    parts = [(one.name, TopologySpec(exchanges=(one,))) for one in wanted.exchanges]
    parts += [(one.name, TopologySpec(queues=(one,))) for one in wanted.queues]
    lost = []
    for name, part in parts:
        try:
            bus.declare(part, DeclareMode.VERIFY)
        except BusError:
            lost.append(name)
    text = f"{len(parts) - len(lost)} of {len(parts)} exchanges and queues are there"
    text += f"; missing: {', '.join(lost)}" if lost else ""
    advice = "a core declares them when it starts; if they have other arguments, delete them first"
    return Finding("broker", "topology", not lost, text, advice if lost else "")


def examine_queues(counts: Mapping[str, QueueCounts], wanted: Mapping[str, int]) -> Iterator[Finding]:
    """Check depths and consumers.

    Args:
        counts: of the queues that exist.
        wanted: the queues that something waits in or for, and how many steps were sent there.
    """
    for queue, step_count in wanted.items():
        found = counts.get(queue, QueueCounts())
        text = f"{found.message_count} messages, {found.consumer_count} consumers"
        if queue == names.DEAD_QUEUE:
            advice = "`reworker dead ls` says why; then send them back, or drop them"
            yield _queue(queue, text, advice if found.message_count else "")
        elif step_count and queue not in counts:
            continue  # the message was routed: its worker reads a queue of another name
        elif not found.consumer_count:
            who = f"{step_count} steps wait: start its worker" if step_count else "start reworker core"
            yield _queue(queue, text, f"nobody reads it; {who}")
        else:
            is_crowded = found.message_count > CROWD_COUNT
            yield _queue(queue, text, "its readers are too slow: start more" if is_crowded else "")


def _queue(queue: str, text: str, advice: str) -> Finding:
    return Finding("broker", f"queue {queue}", not advice, text, advice)


def steps_sent(reader: Reader) -> dict[str, int]:
    """Return how many steps of open deployments wait for, or are with, the workers of each queue."""
    found: dict[str, int] = {}
    for own_id in open_ids(reader, REPLAY_COUNT):
        state = codec.decode_snapshot(reader.deployment(own_id).snapshot)
        waiting = [one for one in state.attempts if one.status in (AttemptStatus.SENT, AttemptStatus.STARTED)]
        if not waiting:
            continue
        plan = codec.decode_plan(reader.plan(own_id))
        for attempt in waiting:
            command = plan.step(attempt.step_index, attempt.role).command
            queue = names.worker_queue(command, attempt.domain)
            found[queue] = found.get(queue, 0) + 1
    return found


def shown(ids: Iterable[str], reasons: Mapping[str, str] | None = None) -> str:
    """Return the first of these, and how many more there are."""
    found = [f"{one} ({reasons[one]})" if reasons else one for one in ids]
    more = [f"{len(found) - SHOWN_COUNT} more"] if len(found) > SHOWN_COUNT else []
    return ", ".join(found[:SHOWN_COUNT] + more)


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 20):,.0f} MiB"
