"""Events of one transaction, folded onto their deployments: read in sets, reduced, written in sets."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import msgspec

from reworker.core import codec
from reworker.core.attempt_rows import new_attempt, recorded
from reworker.core.memory import Memory
from reworker.core.outgoing import Cause, control_row, notification_row, step_row
from reworker.core.works import Work, Works
from reworker.errors import StaleVersion, StorageError
from reworker.fsm.commands import (
    Command,
    DispatchStep,
    Ignored,
    RecordAttempt,
    ReleaseLocks,
    RequestLocks,
    SendControl,
    SendNotification,
    StartTimer,
    StopTimer,
    TimerKind,
)
from reworker.fsm.events import (
    DispatchConfirmed,
    Event,
    LocksAwaited,
    LocksGranted,
    ReplyCancelled,
    ReplyCompleted,
    ReplyFailed,
    ReplyRunning,
    ReplyStarted,
    ReplyUnknown,
)
from reworker.fsm.machine import reduce
from reworker.fsm.plan import Plan
from reworker.fsm.states import AttemptStatus
from reworker.ids import attempt_id
from reworker.storage.contract import (
    AttemptRow,
    Changes,
    DeploymentRow,
    EventRow,
    InstanceRow,
    OutboxRow,
    TimerRow,
    Unit,
)

#: what a worker says that is at a step.
_SIGNS_OF_LIFE = (ReplyStarted, ReplyRunning)
_REPLIES = (*_SIGNS_OF_LIFE, ReplyCompleted, ReplyFailed, ReplyUnknown, ReplyCancelled)
#: for how long a core that was alive may hold a `started` that it has not stored: the broker takes messages
#: that nobody has acknowledged for half an hour away from it.
CORE_GONE = timedelta(hours=1)


class Request(msgspec.Struct, frozen=True):
    """An event for a deployment.

    Args:
        deployment_id: that it is for; need not exist.
        event: what happened.
        dedup_key: at most one event of the deployment has it; None is none.
        actor: the worker or person it comes from.
        is_kept: record it even when it changes nothing.
        is_suspect: it has probably come before, so its key is looked up first.
    """

    deployment_id: str
    event: Event
    dedup_key: str | None = None
    actor: str = ""
    is_kept: bool = True
    is_suspect: bool = False


class Applied(enum.Enum):
    """What became of an event."""

    CHANGED = "changed"
    IGNORED = "ignored"
    DUPLICATE = "duplicate"
    #: there is no such deployment or attempt.
    UNKNOWN = "unknown"


class Result(msgspec.Struct, frozen=True):
    """What became of an event; `reason` says why it was ignored."""

    applied: Applied
    reason: str = ""


class Claim(msgspec.Struct, frozen=True):
    """Whose rows are, from their first moment, that may be published twice anyhow."""

    owner: str
    until: datetime


class Batch:
    """One transaction's events; used once, by one thread, inside `Storage.begin`.

    `load` reads what the events need, `apply` folds each, `save` writes. Rows to publish are in
    `changes.outbox_added` afterwards; `remember` is for after the COMMIT.

    Args:
        unit: the transaction.
        memory: of deployments.
        claim: whose the rows to publish are.
        cores: says which were seen, ours among them; asked when a reply is believed only without others.
    """

    def __init__(
        self,
        unit: Unit,
        memory: Memory,
        claim: Claim | None = None,
        *,
        cores: Callable[[], Sequence[InstanceRow]] = tuple,
    ) -> None:
        self._unit, self._claim, self._cores = unit, claim, cores
        self._works = Works(unit, memory)
        self._attempts: dict[str, AttemptRow] = {}
        self._changed_attempts: dict[str, None] = {}
        self._timers: dict[tuple[str, str, int], datetime | None] = {}
        self._known: set[tuple[str, str]] = set()
        self._is_careful = True
        self.changes = Changes()

    def load(
        self, requests: Iterable[Request], *, is_careful: bool = True, is_trusting: bool = False
    ) -> None:
        """Read the deployments, attempts and dedup keys that these events concern.

        Args:
            requests: the events, all that will be applied.
            is_careful: look up every key. Else only those of suspects: the transaction raises `StaleVersion`
                when another one was known, and the whole batch has to be done again with care.
            is_trusting: take what is in memory for what is in the database. The transaction raises
                `StaleVersion` when it is not, and the batch has to be done again without trust.
        """
        wanted, self._is_careful = list(requests), is_careful
        self._works.load({one.deployment_id for one in wanted}, is_trusting=is_trusting)
        self._attempts |= self._works.attempts
        keys = {
            (one.deployment_id, one.dedup_key)
            for one in wanted
            if one.dedup_key and (is_careful or one.is_suspect)
        }
        self._known = self._unit.known_keys(keys)
        numbers = ((one.deployment_id, getattr(one.event, "attempt", 0)) for one in wanted)
        ids = {attempt_id(*one) for one in numbers if one[1] and self._is_open(*one)}
        self._attempts |= self._unit.attempts(ids - self._attempts.keys())

    def _is_open(self, deployment_id: str, number: int) -> bool:
        work = self._works.get(deployment_id)
        return work is not None and work.deployment.attempt(number) is not None

    def create(self, row: DeploymentRow, plan: Plan, event: Event) -> None:
        """Add a deployment and its first event; `row` is that of a deployment without events."""
        work = self._works.add(row, plan)
        self._reduce(work, Request(row.id, event, actor=row.actor))
        self.changes.created.append((self._saved_row(work, version=1), codec.encode_plan(plan)))

    def apply(self, request: Request) -> Result:
        """Fold one event; see `Applied`."""
        work = self._works.get(request.deployment_id)
        number = getattr(request.event, "attempt", 0)
        if work is None or number > work.deployment.attempt_count:
            return Result(Applied.UNKNOWN)
        key = (request.deployment_id, request.dedup_key or "")
        if key in self._known:
            return Result(Applied.DUPLICATE)
        if request.dedup_key:
            self._known.add(key)
        attempt = work.deployment.attempt(number)
        if attempt and attempt.status is AttemptStatus.READY and isinstance(request.event, _REPLIES):
            # A reply proves that the broker had the message, whatever becomes of its confirm. Noting it
            # first gives the same list of events whichever of the two comes first.
            confirmed = DispatchConfirmed(at=request.event.at, attempt=number)
            self._reduce(work, Request(work.row.id, confirmed))
        if isinstance(request.event, ReplyUnknown) and request.event.unless_started:
            request = msgspec.structs.replace(request, event=self._held_against_others(request.event))
        return self._reduce(work, request)

    def _held_against_others(self, event: ReplyUnknown) -> ReplyUnknown:
        """Believe that an attempt never began only where no other core may know better.

        Replies come to one core in their order. Another one may hold the attempt's `started`.
        """
        alive = [one for one in self._cores() if one.beat_at > event.at - CORE_GONE]
        return event if len(alive) <= 1 else replace(event, unless_started=False)

    def put_off_timer(self, row: TimerRow, due_at: datetime) -> None:
        """Let a timer that is due fire later, unless an event of this batch stops it."""
        self._timers[row.deployment_id, row.kind, row.attempt] = due_at

    def remove_timer(self, row: TimerRow) -> None:
        """Forget a timer that fired, unless its event has started it again."""
        self._timers.setdefault((row.deployment_id, row.kind, row.attempt), None)

    def save(self) -> None:
        """Write everything that the events changed; only claims may follow in this transaction.

        Raises:
            StaleVersion: an event has come before, whose key was not looked up, or a deployment was not as it
                is remembered. It may come from the end of the transaction as well.
            StorageError: what is stored contradicts itself, so that to try again is of no use.
        """
        changes = self.changes
        created = {row.id for row, _ in changes.created}
        changes.saved = [
            self._saved_row(work, version=work.row.version + 1)
            for work in self._works.changed()
            if work.row.id not in created
        ]
        changes.attempts = [self._attempts[one] for one in self._changed_attempts]
        for key, due_at in self._timers.items():
            if due_at is None:
                changes.timers_removed.append(key)
            else:
                changes.timers_set.append(TimerRow(*key, due_at))
        # In one order, so that no two cores wait for each other's rows.
        changes.outbox_removed.sort()
        try:
            self._unit.save(changes, is_last=not self._is_careful)
        except StaleVersion as error:
            if not self._is_careful:
                raise
            # What was just read is locked until we are done: nobody can have been faster.
            raise StorageError(
                f"the database contradicts itself, `reworker doctor` says where: {error}"
            ) from error

    def remember(self) -> None:
        """Keep the deployments that were saved in memory; only after the COMMIT."""
        self._works.remember(self.changes.saved, self._attempts)

    def _saved_row(self, work: Work, *, version: int) -> DeploymentRow:
        now = work.deployment
        return msgspec.structs.replace(
            work.row,
            status=str(now.status),
            version=version,
            snapshot=codec.encode_snapshot(now),
            last_seq=work.last_seq,
            last_hash=work.last_hash,
            updated_at=work.updated_at,
            ended_at=now.ended_at,
        )

    def _reduce(self, work: Work, request: Request) -> Result:
        event = request.event
        before = work.deployment
        work.deployment, commands = reduce(work.plan, before, event)
        reason = next((one.reason for one in commands if isinstance(one, Ignored)), None)
        # A heartbeat is a sign of life, not history: hours of them would grow the table for nothing.
        is_beat = isinstance(event, ReplyRunning) and (reason is not None or work.deployment == before)
        if not is_beat and (reason is None or request.is_kept):
            self._append(work, request, reason)
        cause = Cause(work.row.id, work.last_seq, event.at)
        worker = request.actor if isinstance(event, _REPLIES) else ""
        for ordinal, command in enumerate(commands):
            self._carry_out(work, cause, command, ordinal, worker)
        if reason is not None and isinstance(event, _SIGNS_OF_LIFE) and before.status.is_terminal:
            self._call_off(work, cause, event.attempt, reason)
        return Result(Applied.CHANGED) if reason is None else Result(Applied.IGNORED, reason)

    def _call_off(self, work: Work, cause: Cause, number: int, reason: str) -> None:
        """Have a task ended that is over here, but runs on: its worker was lost to us, and is back."""
        if not work.row.is_task:
            return
        command = SendControl(attempt=number, command=work.plan.step(0).command, reason=reason)
        row = control_row(cause, command)
        row = msgspec.structs.replace(row, id=f"{row.id}.{cause.at.timestamp():.6f}")
        if all(one.id != row.id for one in self.changes.outbox_added):
            self._send(row)

    def _append(self, work: Work, request: Request, ignored: str | None) -> None:
        row = EventRow(
            deployment_id=work.row.id,
            seq=work.last_seq + 1,
            kind=type(request.event).__name__,
            at=request.event.at,
            actor=request.actor,
            data=codec.encode_event(request.event),
            dedup_key=request.dedup_key,
            ignored=ignored,
            hash="",
        )
        row = codec.chained(work.last_hash, row)
        work.last_seq, work.last_hash, work.is_changed = row.seq, row.hash, True
        work.updated_at = work.updated_at if ignored else row.at
        self.changes.events.append(row)

    def _carry_out(self, work: Work, cause: Cause, command: Command, ordinal: int, worker: str) -> None:
        # The most frequent first.
        match command:
            case RecordAttempt():
                self._record(work, command, worker)
            case StopTimer():
                self._stop_timer(work, command)
            case StartTimer():
                due_at = cause.at + timedelta(seconds=command.after_s)
                self._timers[work.row.id, str(command.kind), command.attempt] = due_at
            case DispatchStep():
                self._send(step_row(cause, command, work.plan))
            case RequestLocks():
                self._request_locks(work, cause.at)
            case ReleaseLocks():
                self._release_locks(work, cause.at)
            case SendControl():
                self._send(control_row(cause, command))
            case SendNotification():
                self._send(notification_row(cause, command, ordinal))

    def _request_locks(self, work: Work, at: datetime) -> None:
        """Take the plan's locks, and fold the answer within the same transaction."""
        self._works.confirm()  # deployments are locked before anything else, by everybody
        result = self._unit.take_locks(work.row.id, work.plan.locks, at)
        event: Event = LocksAwaited(at=at, lock=result.name, holder=result.holder)
        if result.fence is not None:
            event = LocksGranted(at=at, fence=result.fence)
        self._reduce(work, Request(work.row.id, event, is_kept=False))

    def _release_locks(self, work: Work, at: datetime) -> None:
        """Give up the locks; those that may have them now try again, each in a transaction of its own."""
        self._works.confirm()
        for waiting_id in self._unit.drop_locks(work.row.id):
            self._timers[waiting_id, str(TimerKind.LOCKS), 0] = at

    def _send(self, row: OutboxRow) -> None:
        if self._claim is not None and row.is_idempotent:
            row = msgspec.structs.replace(row, claimed_by=self._claim.owner, claim_until=self._claim.until)
        self.changes.outbox_added.append(row)

    def _stop_timer(self, work: Work, command: StopTimer) -> None:
        key = (work.row.id, str(command.kind), command.attempt)
        if (str(command.kind), command.attempt) in work.stored_timers:
            self._timers[key] = None
        else:
            self._timers.pop(key, None)

    def _record(self, work: Work, command: RecordAttempt, worker: str) -> None:
        own_id = attempt_id(work.row.id, command.attempt)
        before = self._attempts.get(own_id)
        if command.is_new:
            step = work.plan.step(command.step_index, command.role)
            before = new_attempt(own_id, work.row.id, step, command)
        elif before is None:
            before = self._unit.attempts({own_id})[own_id]
        if before.status == AttemptStatus.READY and command.status is not AttemptStatus.READY:
            # The row of a step lives exactly as long as its attempt is ready: once anything is known of
            # the message, or nobody wants it any more, it must not be published again.
            self.changes.outbox_removed.append(own_id)
        self._attempts[own_id] = recorded(before, command, worker)
        self._changed_attempts[own_id] = None
        work.is_changed = True
