"""What holds for any events in any order: the promises of the machine, each tried on random histories."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from reworker.core.codec import decode_event, decode_snapshot, encode_snapshot
from reworker.fsm import events as ev
from reworker.fsm.commands import DispatchStep, FinishDeployment, Ignored, StartTimer, StopTimer, TimerKind
from reworker.fsm.deployment import Deployment
from reworker.fsm.machine import reduce, replay
from reworker.fsm.plan import Plan
from reworker.fsm.playbook import OnUnknown, Sequence, Step
from reworker.fsm.states import AttemptStatus, DeploymentStatus
from tests.unit.fsm.rows import event_row

AT = datetime(2026, 1, 1, tzinfo=UTC)
TIMER_EVENTS = {
    TimerKind.QUEUE: ev.QueueTimedOut,
    TimerKind.RUN: ev.RunTimedOut,
    TimerKind.HEARTBEAT: ev.HeartbeatLost,
    TimerKind.CANCEL: ev.CancelTimedOut,
}
REQUESTS = (ev.Submitted, ev.PauseRequested, ev.ResumeRequested, ev.CancelRequested)
ATTEMPT_KINDS = [
    kind
    for kind in ev.EVENT_KINDS.values()
    if issubclass(kind, ev.AttemptEvent) and kind is not ev.Decided and kind not in TIMER_EVENTS.values()
]

steps = st.builds(
    Step,
    key=st.just("a:B"),
    command=st.just("a"),
    subcommand=st.just("B"),
    timeout_s=st.sampled_from([None, 5.0]),
    on_unknown=st.sampled_from(OnUnknown),
    notify=st.sampled_from([{}, {"started": {"irc": ("#a",)}, "failed": {"irc": ("#a",)}}]),
)
sequences = st.builds(
    Sequence,
    hosts=st.sampled_from([("h1",), ("h1", "h2"), ("h1", "h2", "h3")]),
    steps=st.lists(steps, min_size=1, max_size=3).map(tuple),
)
plans = st.builds(
    Plan,
    group=st.just("g"),
    name=st.just("n"),
    sequences=st.lists(sequences, min_size=1, max_size=2).map(tuple),
    is_unattended=st.booleans(),
)


class AnyHistory(RuleBasedStateMachine):
    """Feeds events that fit, that are late, and that are nonsense, and watches what the core would hold."""

    @initialize(plan=plans)
    def begin(self, plan):
        self.plan = plan
        self.deployment = Deployment(id="d")
        self.history = []
        self.timers = set()
        self.done = set()
        self.dispatched = []

    def feed(self, event):
        before = self.deployment
        self.deployment, commands = reduce(self.plan, before, event)
        self.history.append(event)
        self.obey(commands)
        self.check_step(before, event, commands)
        again, _ = reduce(self.plan, self.deployment, event)
        assert again == self.deployment, "a duplicate changed something"

    def obey(self, commands):
        for command in commands:
            if isinstance(command, StartTimer):
                self.timers.add((command.attempt, command.kind))
            elif isinstance(command, StopTimer):
                self.timers.remove((command.attempt, command.kind))

    def check_step(self, before, event, commands):
        is_ignored = any(isinstance(command, Ignored) for command in commands)
        assert not is_ignored or (self.deployment is before and len(commands) == 1)
        assert is_ignored or not before.status.is_terminal, "something followed an end"
        if self.deployment.position > before.position:
            self.done.add(before.position)
        for command in commands:
            if isinstance(command, DispatchStep):
                self.check_dispatch(command)
        finished = [command for command in commands if isinstance(command, FinishDeployment)]
        has_ended = self.deployment.status.is_terminal and not before.status.is_terminal
        assert len(finished) == has_ended

    def check_dispatch(self, command):
        assert self.deployment.status is DeploymentStatus.RUNNING
        assert command.attempt not in self.dispatched, "an attempt was dispatched twice"
        self.dispatched.append(command.attempt)
        host = self.plan.step(command.step_index).host
        earlier = {
            one.index for one in self.plan.steps() if one.host == host and one.index < command.step_index
        }
        assert earlier <= self.done, "a step overtook an earlier one of its host"

    @rule(kind=st.sampled_from(REQUESTS))
    def request(self, kind):
        self.feed(kind(at=AT))

    @rule()
    def submit(self):
        self.feed(ev.Submitted(at=AT))

    @rule(kind=st.sampled_from(ATTEMPT_KINDS), back=st.sampled_from([0, 0, 0, 0, 1, 2, -1, 99]))
    def observe(self, kind, back):
        self.feed(kind(at=AT, attempt=self.deployment.attempt_count - back))

    @rule()
    def complete(self):
        self.feed(ev.ReplyCompleted(at=AT, attempt=self.deployment.attempt_count))

    @rule(kind=st.sampled_from(TimerKind))
    def let_timer_expire(self, kind):
        number = self.deployment.attempt_count
        was_running = (number, kind) in self.timers
        before = self.deployment
        self.feed(TIMER_EVENTS[kind](at=AT, attempt=number))
        assert was_running == (self.deployment is not before), "a timer counts if and only if it runs"

    @rule(decision=st.sampled_from(ev.Decision))
    def decide(self, decision):
        self.feed(ev.Decided(at=AT, attempt=self.deployment.attempt_count, decision=decision))

    @invariant()
    def timers_are_those_of_the_open_attempts(self):
        held = {(one.number, kind) for one in self.deployment.attempts for kind in one.timers}
        assert held == self.timers

    @invariant()
    def no_zombie_exists(self):
        now = self.deployment
        statuses = {attempt.status for attempt in now.attempts}
        if now.status.is_terminal:
            assert not now.attempts
        elif now.status is DeploymentStatus.RUNNING:
            assert statuses
            assert all(status.is_live for status in statuses)
        elif now.status is DeploymentStatus.WAITING:
            assert AttemptStatus.UNKNOWN in statuses
        elif now.status is DeploymentStatus.CANCELLING:
            assert now.attempts
            assert all(TimerKind.CANCEL in attempt.timers for attempt in now.attempts)

    @invariant()
    def sent_attempts_have_a_queue_timer(self):
        sent = [one for one in self.deployment.attempts if one.status is AttemptStatus.SENT]
        assert all(TimerKind.QUEUE in attempt.timers for attempt in sent)

    @invariant()
    def steps_have_at_most_one_open_attempt(self):
        indexes = [attempt.step_index for attempt in self.deployment.attempts]
        assert len(indexes) == len(set(indexes))

    @invariant()
    def counters_add_up(self):
        now = self.deployment
        counted = now.completed_count + now.failed_count + now.skipped_count
        assert counted == (self.plan.step_count if now.status.is_terminal else now.position)
        assert (now.failure is None) == (now.status is not DeploymentStatus.FAILED)

    @invariant()
    def snapshot_is_the_same_when_read_back(self):
        assert decode_snapshot(encode_snapshot(self.deployment)) == self.deployment

    def teardown(self):
        if hasattr(self, "history"):
            stored = [decode_event(event_row(event)) for event in self.history]
            assert replay(self.plan, "d", stored) == self.deployment


def test_machine_keeps_its_promises_when_any_history_comes():
    # More than the promises are checked here: `invariant` and `feed` fail the run that breaks one.
    run_state_machine_as_test(AnyHistory, settings=settings(stateful_step_count=40, deadline=None))


@settings(deadline=None)
@given(plan=plans, is_confirmed=st.booleans(), is_paused=st.booleans())
def test_started_and_completed_commute_when_they_come_in_either_order(plan, is_confirmed, is_paused):
    opening = [ev.Submitted(at=AT)]
    opening += [ev.DispatchConfirmed(at=AT, attempt=1)] * is_confirmed
    opening += [ev.PauseRequested(at=AT)] * is_paused
    started, completed = ev.ReplyStarted(at=AT, attempt=1), ev.ReplyCompleted(at=AT, attempt=1)
    in_order = replay(plan, "d", [*opening, started, completed])
    assert replay(plan, "d", [*opening, completed, started]) == in_order
    assert in_order.completed_count == 1
