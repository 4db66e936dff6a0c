"""One turn of the machine: how attempts are opened, recorded, timed and closed, for one event.

When that is done is not known here: the rules are in `attempts`, `people`, `flow` and `hosts`.
"""

from __future__ import annotations

from reworker.fsm import ranges
from reworker.fsm.changing import changed
from reworker.fsm.commands import (
    DispatchStep,
    FinishDeployment,
    RecordAttempt,
    ReleaseLocks,
    SendControl,
    StartTimer,
    StopTimer,
    TimerKind,
)
from reworker.fsm.deployment import Attempt, Track
from reworker.fsm.domains import only
from reworker.fsm.events import Event
from reworker.fsm.notices import Notices
from reworker.fsm.plan import Role
from reworker.fsm.states import AttemptStatus, DeploymentStatus, Trigger

#: characters of a reason that the snapshot keeps; it is rewritten with every event and must stay small.
REASON_CHARACTERS = 500


class Turn(Notices):
    """The working state of one `reduce`; it lives for one event and one thread."""

    def finish(self, trigger: Trigger, reason: str = "") -> None:
        """End the deployment; every step that did not complete or fail counts as skipped."""
        self.move(trigger)
        now = self.deployment
        skipped_count = self.plan.step_count - now.completed_count - now.failed_count
        self.change(ended_at=self.at, reason=reason, skipped_count=skipped_count)
        self.change(tracks=(), sequences=(), ready=(), facts=())
        if self.plan.locks:
            self.do(ReleaseLocks())
        self.give_notice("completed" if now.status is DeploymentStatus.COMPLETED else "failed")
        self.do(FinishDeployment(status=now.status, reason=reason))

    def stop_own_timers(self) -> None:
        """Stop the timers of the deployment as a whole."""
        for kind in self.deployment.timers:
            self.do(StopTimer(kind=kind, attempt=0))
        self.change(timers=())

    def open(
        self,
        track: Track,
        role: Role,
        *,
        status: AttemptStatus = AttemptStatus.READY,
        reason: str = "",
    ) -> Attempt:
        """Open the next attempt at a track's step; `ready` dispatches it, anything else has to wait."""
        number = self.deployment.attempt_count + 1
        attempt = Attempt(
            number=number,
            step_index=track.index,
            role=role,
            status=status,
            reason=reason,
            domain=only(self.step(track.index, role).domains),
        )
        self.change(attempt_count=number, attempts=(*self.deployment.attempts, attempt))
        if status is AttemptStatus.READY:
            self._announce(track, role)
        self.record(attempt, status, message=reason, is_new=True, tries=track.tries)
        if status is AttemptStatus.READY:
            self._dispatch(attempt, track)
        return attempt

    def dispatch(self, attempt: Attempt, track: Track) -> None:
        """Dispatch an attempt that had to wait."""
        ready = changed(attempt, status=AttemptStatus.READY, timers=())
        self.put(ready)
        self._announce(track, attempt.role)
        self.record(ready, ready.status, tries=track.tries)
        self._dispatch(ready, track)

    def _announce(self, track: Track, role: Role) -> None:
        if role is Role.STEP and track.tries == 1:
            self.notify_step(self.step(track.index), "started")

    def _dispatch(self, attempt: Attempt, track: Track) -> None:
        self.do(
            DispatchStep(
                attempt=attempt.number,
                step_index=attempt.step_index,
                tries=track.tries,
                role=attempt.role,
                fence=self.deployment.fence,
            )
        )

    def skip(self, track: Track, reason: str) -> None:
        """Leave out a track's step, with an attempt that says so."""
        number = self.deployment.attempt_count + 1
        self.change(attempt_count=number, skipped_count=self.deployment.skipped_count + 1)
        status = AttemptStatus.SKIPPED
        skipped = Attempt(number=number, step_index=track.index, status=status)
        self.record(skipped, status, message=reason, is_new=True)

    def close(self, attempt: Attempt, status: AttemptStatus | None = None) -> None:
        """Forget an attempt: nothing said about it later counts. Count its step if it completed or failed."""
        now = self.deployment
        self.change(attempts=tuple(one for one in now.attempts if one.number != attempt.number))
        if attempt.role is Role.ROLLBACK:
            self.change(rolled_back_count=now.rolled_back_count + (status is AttemptStatus.COMPLETED))
        elif status is AttemptStatus.COMPLETED:
            completed = ranges.added(now.completed, attempt.step_index)
            self.change(completed=completed, completed_count=now.completed_count + 1)
        elif status is AttemptStatus.FAILED:
            self.change(failed_count=now.failed_count + 1)

    def drop(self, attempt: Attempt, reason: str) -> None:
        """Close an attempt that waits for a delay or for people."""
        self.stop_timers(attempt)
        self.record(attempt, AttemptStatus.CANCELLED, message=reason)
        self.close(attempt)

    def begin(self, attempt: Attempt) -> Attempt:
        """Mark an attempt as started: it waits in no queue any more; return it."""
        if TimerKind.QUEUE in attempt.timers:
            self.do(StopTimer(kind=TimerKind.QUEUE, attempt=attempt.number))
        left = tuple(kind for kind in attempt.timers if kind is not TimerKind.QUEUE)
        begun = changed(attempt, status=AttemptStatus.STARTED, timers=left)
        self.put(begun)
        return begun

    def record(
        self,
        attempt: Attempt,
        status: AttemptStatus,
        event: Event | None = None,
        *,
        message: str = "",
        is_new: bool = False,
        tries: int = 1,
    ) -> None:
        """Have the attempt's row written, with a message and what else the event brought."""
        self.do(
            RecordAttempt(
                attempt=attempt.number,
                step_index=attempt.step_index,
                status=status,
                at=self.at,
                role=attempt.role,
                is_new=is_new,
                tries=tries,
                message=message,
                data=getattr(event, "data", None),
                percent=getattr(event, "percent", None),
                domain=attempt.domain,
            )
        )

    def start_timer(self, attempt: Attempt, kind: TimerKind, after_s: float) -> Attempt:
        """Start or restart a timer; return the attempt that has it."""
        self.do(StartTimer(kind=kind, attempt=attempt.number, after_s=after_s))
        timers = attempt.timers if kind in attempt.timers else (*attempt.timers, kind)
        timed = changed(attempt, timers=timers)
        self.put(timed)
        return timed

    def stop_timers(self, attempt: Attempt) -> Attempt:
        """Stop every timer of an attempt that ends; return the attempt without them."""
        for kind in attempt.timers:
            self.do(StopTimer(kind=kind, attempt=attempt.number))
        return changed(attempt, timers=()) if attempt.timers else attempt

    def tell_to_cancel(self, attempt: Attempt, reason: str) -> None:
        """Have the workers of the attempt's command told to stop or refuse it."""
        command = self.step_of(attempt).command
        self.do(SendControl(attempt=attempt.number, command=command, reason=reason))

    def call_back(self, attempt: Attempt, reason: str) -> None:
        """Have a message refused that may still lie in a queue, now that its attempt is given up."""
        if attempt.is_unconfirmed:
            self.tell_to_cancel(attempt, reason)


def event_text(event: Event) -> str:
    """Return the text for people that an event brings, or an empty one."""
    for name in ("reason", "message", "data"):
        text = getattr(event, name, None)
        if isinstance(text, str) and text:
            return text[:REASON_CHARACTERS]
    return ""
