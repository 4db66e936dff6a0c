"""What an onlooker who sees only events and commands can tell of a deployment, and holds the machine to."""

from __future__ import annotations

from collections import Counter

from reworker.fsm import ranges
from reworker.fsm.commands import (
    DispatchStep,
    FinishDeployment,
    Ignored,
    RecordAttempt,
    ReleaseLocks,
    RequestLocks,
    StartTimer,
    StopTimer,
    TimerKind,
)
from reworker.fsm.deployment import MAX_TRACKS
from reworker.fsm.events import Decided, Decision, LocksGranted
from reworker.fsm.plan import Role
from reworker.fsm.playbook import SequenceKind
from reworker.fsm.states import AttemptStatus, DeploymentStatus, Stage

KINDS = list(SequenceKind)
PEOPLE = (AttemptStatus.WAITING, AttemptStatus.UNKNOWN)


class Witness:
    """Sees each event with the commands it led to, and the snapshot after it."""

    def __init__(self, plan):
        self.plan = plan
        self.timers = set()
        self.rows = {}
        self.dispatched = set()
        self.passed = set()
        self.begun = set()
        self.taken_back = []
        self.failed_in = None
        self.waits_for_locks = False
        self.count = Counter()

    def see(self, before, event, commands, now):
        """Note what happened, and complain about what must not."""
        if any(isinstance(command, Ignored) for command in commands):
            assert len(commands) == 1
            assert now is before
            return
        assert not before.status.is_terminal, "something followed an end"
        if before.created_at is None and now.created_at is not None:
            self.passed |= {index for index in range(self.plan.step_count) if is_over(now, index)}
        if isinstance(event, Decided) and event.decision is Decision.SKIP:
            self.passed.add(self.rows[event.attempt].step_index)
        if isinstance(event, LocksGranted):
            self.waits_for_locks = False
        for command in commands:
            self.count[type(command)] += 1
            self.note(command, now)
        if now.failure and not before.failure:
            self.failed_in = before.stage if before.started_at else Stage.CHECKS
            if now.failure.step_index >= 0:
                kind = KINDS[self.rank(now.failure.step_index)]
                self.failed_in = Stage.ACTIONS if kind is SequenceKind.ACTION else self.failed_in
                self.failed_in = Stage.EXECUTION if kind is SequenceKind.EXECUTION else self.failed_in
        assert self.count[FinishDeployment] == now.status.is_terminal
        assert self.count[ReleaseLocks] == (now.status.is_terminal and bool(self.plan.locks))

    def note(self, command, now):
        if isinstance(command, StartTimer):
            self.timers.add((command.attempt, command.kind))
        elif isinstance(command, StopTimer):
            self.timers.remove((command.attempt, command.kind))
        elif isinstance(command, RequestLocks):
            self.waits_for_locks = True
        elif isinstance(command, RecordAttempt):
            self.record(command, now)
        elif isinstance(command, DispatchStep):
            self.dispatch(command, now)

    def record(self, command, now):
        assert command.is_new == (command.attempt not in self.rows)
        if command.is_new:
            assert command.attempt == len(self.rows) + 1, "attempts are numbered without a gap"
        self.rows[command.attempt] = command
        if command.is_new and command.role is not Role.ROLLBACK:
            self.open(command)
        is_over = command.status in (AttemptStatus.COMPLETED, AttemptStatus.SKIPPED)
        if is_over and command.role is not Role.ROLLBACK:
            self.passed.add(command.step_index)

    def open(self, command):
        """Hold a new attempt of the way forward against what comes before it."""
        number, _, offset = self.plan.place(command.step_index)
        first = command.step_index - offset
        earlier = set(range(first, command.step_index))
        assert earlier <= self.passed, "a step overtook an earlier one of its host"
        self.begun.add(number)
        assert not self.begun & set(self.plan.dependents[number]), "a sequence went on after it was needed"
        ranks = {KINDS.index(self.plan.sequences[one].kind) for one in self.begun}
        assert self.rank(command.step_index) == max(ranks), "a stage went on after the next one"
        is_action = self.plan.sequences[number].kind is SequenceKind.ACTION
        assert is_action or not self.taken_back, "something was done after a rollback began"
        assert is_action or self.failed_in is None, "something was begun after a failure"

    def rank(self, index):
        return KINDS.index(self.plan.sequences[self.plan.place(index)[0]].kind)

    def dispatch(self, command, now):
        assert now.status is not DeploymentStatus.PAUSED
        assert command.attempt not in self.dispatched, "an attempt was dispatched twice"
        assert command.fence == now.fence
        assert bool(now.fence) == bool(self.plan.locks), "dispatched without the locks"
        self.dispatched.add(command.attempt)
        if command.role is Role.ROLLBACK and command.step_index not in self.taken_back:
            self.taken_back.append(command.step_index)

    def effects(self, now):
        """Return the steps that took effect, or may have, and can be taken back; the last first."""
        doubtful = {}
        for number, row in sorted(self.rows.items()):
            if row.role is Role.VERIFY and row.status is AttemptStatus.FAILED:
                doubtful[row.step_index] = False
            elif row.status in (AttemptStatus.UNKNOWN, AttemptStatus.CANCELLED) and number in self.dispatched:
                doubtful[row.step_index] = doubtful.get(row.step_index, False) or row.role is Role.STEP
        return [
            index
            for index in reversed(range(self.plan.step_count))
            if self.plan.step(index).rollback
            and (ranges.contains(now.completed, index) or doubtful.get(index))
        ]

    def check(self, now):
        """Hold a snapshot against what was seen."""
        held = {(one.number, kind) for one in now.attempts for kind in one.timers}
        assert held | {(0, kind) for kind in now.timers} == self.timers
        self.check_counters(now)
        self.check_hosts(now)
        self.check_liveness(now)
        if now.status.is_terminal:
            self.check_end(now)

    def check_counters(self, now):
        counted = now.completed_count + now.failed_count + now.skipped_count
        assert counted <= self.plan.step_count
        assert counted == self.plan.step_count or not now.status.is_terminal
        assert min(now.completed_count, now.failed_count, now.skipped_count) >= 0
        assert now.completed_count == ranges.count(now.completed)
        assert now.attempt_count == len(self.rows)

    def check_hosts(self, now):
        indexes = [attempt.step_index for attempt in now.attempts]
        assert len(indexes) == len(set(indexes)), "two attempts at one step on one host"
        places = [self.plan.place(track.index) for track in now.tracks]
        assert len({place[:2] for place in places}) == len(places) <= MAX_TRACKS
        batches = {(number, host // self.plan.sequences[number].batch_count) for number, host, _ in places}
        assert len(batches) == len({number for number, _ in batches}), "two batches at once"
        assert all(
            number in {state.index for state in now.sequences} or now.stage is Stage.ROLLBACK
            for number, _ in batches
        )

    def check_liveness(self, now):
        """Every state that is no end waits for something that will come, or for people."""
        is_asking = [attempt.is_for_people for attempt in now.attempts]
        if now.status is DeploymentStatus.QUEUED:
            assert self.waits_for_locks or now.created_at is None
        elif now.status is DeploymentStatus.CANCELLING:
            assert now.attempts
            assert all(TimerKind.CANCEL in attempt.timers for attempt in now.attempts)
        elif now.status is DeploymentStatus.WAITING:
            assert is_asking
            assert all(is_asking)
            assert now.reason
        elif now.status in (DeploymentStatus.RUNNING, DeploymentStatus.ROLLING_BACK):
            assert not all(is_asking)
            assert bool(now.reason) == any(is_asking)
            busy = {attempt.step_index for attempt in now.attempts}
            is_failing = now.failure and now.stage in (Stage.CHECKS, Stage.EXECUTION)
            assert is_failing or {track.index for track in now.tracks} <= busy, "a host was forgotten"
        for attempt in now.attempts:
            self.check_attempt(now, attempt)

    def check_attempt(self, now, attempt):
        if attempt.status is AttemptStatus.SENT:
            assert TimerKind.QUEUE in attempt.timers
        if attempt.status is AttemptStatus.READY:
            assert attempt.number in self.dispatched
        if attempt.status is AttemptStatus.WAITING and attempt.role is not Role.APPROVAL:
            assert attempt.timers or now.status is DeploymentStatus.PAUSED

    def check_end(self, now):
        left = [now.attempts, now.tracks, now.sequences, now.ready, self.timers]
        assert not any(left)
        effects, status = self.effects(now), now.status
        if status is DeploymentStatus.ROLLED_BACK:
            assert self.taken_back == effects
        else:
            assert self.taken_back == effects[: len(self.taken_back)]
        if status is DeploymentStatus.FAILED and self.failed_in is Stage.EXECUTION:
            assert not effects
        assert (now.failure is not None) >= (
            status not in (DeploymentStatus.COMPLETED, DeploymentStatus.CANCELLED)
        )
        assert not (now.failure and status is DeploymentStatus.COMPLETED)


def is_over(now, index):
    return ranges.contains(now.completed, index) or ranges.contains(now.left_out, index)
