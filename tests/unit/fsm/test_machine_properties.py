"""What holds for any events in any order: the promises of the machine, each tried on random histories."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from reworker.core.codec import decode_event, decode_plan, decode_snapshot, encode_plan, encode_snapshot
from reworker.fsm import events as ev
from reworker.fsm.commands import TimerKind
from reworker.fsm.deployment import Deployment
from reworker.fsm.machine import reduce, replay
from reworker.fsm.plan import Role
from reworker.fsm.states import AttemptStatus, DeploymentStatus
from tests.unit.fsm.random_plans import plans
from tests.unit.fsm.rows import event_row
from tests.unit.fsm.witness import Witness

AT = datetime(2026, 1, 1, tzinfo=UTC)
TIMER_EVENTS = {
    TimerKind.QUEUE: ev.QueueTimedOut,
    TimerKind.RUN: ev.RunTimedOut,
    TimerKind.HEARTBEAT: ev.HeartbeatLost,
    TimerKind.CANCEL: ev.CancelTimedOut,
    TimerKind.DELAY: ev.DelayEnded,
    TimerKind.APPROVAL: ev.ApprovalExpired,
}
ATTEMPT_KINDS = [
    kind
    for kind in ev.EVENT_KINDS.values()
    if issubclass(kind, ev.AttemptEvent) and kind is not ev.Decided and kind not in TIMER_EVENTS.values()
]
ranges_of_any = st.lists(st.tuples(st.integers(-2, 12), st.integers(-2, 60)), max_size=2).map(tuple)
#: methods of `AnyHistory`, each as often as it is to come.
WHAT_HAPPENS = [
    *["help_on"] * 8,
    *["complete"] * 8,
    *["doubt"] * 3,
    *["decide"] * 3,
    *["observe"] * 2,
    *["let_timer_expire"] * 2,
    *["approve", "fail", "pause", "resume", "resume", "try_locks", "try_locks"],
    *["ask_for_nonsense", "end_early"],
]


@dataclass(frozen=True, kw_only=True)
class Invented(ev.Event):
    """An event that no version knows."""


class AnyHistory(RuleBasedStateMachine):
    """Feeds events that fit, that are late, and that are nonsense, and watches what the core would hold."""

    @initialize(
        plan=plans(),
        unattended=st.booleans(),
        done=ranges_of_any,
        left_out=ranges_of_any,
        early=st.booleans(),
    )
    def begin(self, plan, unattended, done, left_out, early):
        self.plan = decode_plan(encode_plan(plan))
        self.deployment = Deployment(id="d")
        self.history = []
        self.witness = Witness(plan)
        if early:
            self.feed(ev.PauseRequested(at=AT))
            self.feed(ev.LocksGranted(at=AT, fence=9))
        is_new = unattended or not done
        self.feed(
            ev.Submitted(
                at=AT,
                actor="ann",
                unattended=unattended and early,
                done=() if is_new else done,
                left_out=() if is_new else left_out,
                facts=() if is_new else ("0.1@0", "nonsense"),
            )
        )

    def feed(self, event):
        before = self.deployment
        self.deployment, commands = reduce(self.plan, before, event)
        self.history.append(event)
        self.witness.see(before, event, commands, self.deployment)
        again, _ = reduce(self.plan, self.deployment, event)
        assert again == self.deployment, "a duplicate changed something"

    def pick(self, place):
        """Return the number of an open attempt; 0 when there is none."""
        found = self.deployment.attempts
        return found[place % len(found)].number if found else 0

    # One rule, not one each: Hypothesis leaves out rules at random, and then most histories lead nowhere.
    @rule(what=st.sampled_from(WHAT_HAPPENS), place=st.integers(0, 9), data=st.data())
    def happen(self, what, place, data):
        getattr(self, what)(place, data)

    def observe(self, place, data):
        """Feed anything that can be seen of an open attempt."""
        before, number = self.deployment, self.pick(place)
        attempt = before.attempt(number)
        self.feed(data.draw(st.sampled_from(ATTEMPT_KINDS))(at=AT, attempt=number))
        if attempt and attempt.status is AttemptStatus.UNKNOWN and not attempt.is_unconfirmed:
            assert self.deployment is before, "only a person can end this doubt"

    def fail(self, place, data):
        self.feed(ev.ReplyFailed(at=AT, attempt=self.pick(place), message="broken"))

    def doubt(self, place, data):
        self.feed(ev.ReplyUnknown(at=AT, attempt=self.pick(place), reason="who knows"))

    def complete(self, place, data):
        number = self.pick(place)
        attempt = self.deployment.attempt(number)
        outcome = data.draw(st.sampled_from([None, {"x": 1, "y": 2}]))
        completed = ev.ReplyCompleted(at=AT, attempt=number, data=outcome)
        if attempt and attempt.status.is_live:
            started = ev.ReplyStarted(at=AT, attempt=number)
            in_order = replay_on(self.plan, self.deployment, started, completed)
            assert replay_on(self.plan, self.deployment, completed, started) == in_order
        self.feed(completed)

    def let_timer_expire(self, place, data):
        number, before = self.pick(place), self.deployment
        kind = data.draw(st.sampled_from(sorted(TIMER_EVENTS)))
        was_running = (number, kind) in self.witness.timers
        self.feed(TIMER_EVENTS[kind](at=AT, attempt=number))
        assert was_running == (self.deployment is not before), "a timer counts if and only if it runs"

    def decide(self, place, data):
        for attempt in self.deployment.attempts:
            if attempt.status is AttemptStatus.UNKNOWN:
                decision = data.draw(st.sampled_from(ev.Decision))
                self.feed(ev.Decided(at=AT, attempt=attempt.number, decision=decision))

    def approve(self, place, data):
        actor = data.draw(st.sampled_from(["", "ann", "bob", "cid"]))
        self.feed(ev.Approved(at=AT, attempt=self.pick(place), actor=actor))

    def pause(self, place, data):
        self.feed(ev.PauseRequested(at=AT))

    def resume(self, place, data):
        self.feed(ev.ResumeRequested(at=AT))

    def try_locks(self, place, data):
        self.feed(ev.LocksDue(at=AT))
        self.feed(ev.LocksAwaited(at=AT, lock="host:h1", holder=str(place)))
        if place > 3:
            self.feed(ev.LocksGranted(at=AT, fence=7))

    def end_early(self, place, data):
        if place == 0:
            self.feed(ev.CancelRequested(at=AT, reason="changed my mind"))
        elif place == 1:
            was_running, before = (0, TimerKind.DEPLOYMENT) in self.witness.timers, self.deployment
            self.feed(ev.DeploymentTimedOut(at=AT))
            assert was_running == (self.deployment is not before)

    def ask_for_nonsense(self, place, data):
        before, number = self.deployment, data.draw(st.integers(-1, 99))
        nonsense = [ev.Submitted(at=AT), Invented(at=AT), ev.Decided(at=AT, attempt=number, decision="x")]
        if before.attempt(number) is None:
            nonsense.append(data.draw(st.sampled_from(ATTEMPT_KINDS))(at=AT, attempt=number))
        for event in nonsense:
            after, commands = reduce(self.plan, before, event)
            assert after is before
            assert [type(command).__name__ for command in commands] == ["Ignored"]

    @invariant()
    def snapshot_is_what_was_seen(self):
        self.witness.check(self.deployment)
        assert decode_snapshot(encode_snapshot(self.deployment)) == self.deployment

    def help_on(self, place=0, data=None):
        """Do what makes the deployment go on, as a well-meaning world would."""
        now = self.deployment
        attempt = now.attempt(self.pick(place))
        if now.status is DeploymentStatus.QUEUED:
            self.feed(ev.LocksGranted(at=AT, fence=7))
        elif attempt is None:
            self.feed(ev.ResumeRequested(at=AT))
        elif attempt.status is AttemptStatus.UNKNOWN:
            self.feed(ev.Decided(at=AT, attempt=attempt.number, decision=ev.Decision.COMPLETE))
        elif attempt.status is AttemptStatus.WAITING and attempt.role is Role.APPROVAL:
            actor = f"person {len(self.history)}"
            self.feed(ev.Approved(at=AT, attempt=attempt.number, actor=actor))
        elif attempt.status is AttemptStatus.WAITING and attempt.timers:
            self.feed(ev.DelayEnded(at=AT, attempt=attempt.number))
        elif attempt.status is AttemptStatus.WAITING:
            self.feed(ev.ResumeRequested(at=AT))
        else:
            self.feed(ev.ReplyCompleted(at=AT, attempt=attempt.number))

    def teardown(self):
        if not hasattr(self, "history"):
            return
        for _ in range(6 * self.plan.step_count + 6):
            self.help_on()
            self.witness.check(self.deployment)
        assert self.deployment.status.is_terminal, "it can be brought to no end"
        stored = [decode_event(event_row(event)) for event in self.history]
        assert replay(self.plan, "d", stored) == self.deployment


def replay_on(plan, deployment, *events):
    for event in events:
        deployment, _ = reduce(plan, deployment, event)
    return deployment


def test_machine_keeps_its_promises_when_any_history_comes():
    # The promises are checked by `Witness`, and by what each rule asserts.
    run_state_machine_as_test(AnyHistory, settings=settings(stateful_step_count=40, deadline=None))
