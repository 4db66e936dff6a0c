"""One turn of the machine: the snapshot being changed and the commands gathered, for one event.

Knows how things are done (timers, records, notifications), not when: the rules are in `machine.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from reworker.fsm.commands import (
    Command,
    DispatchStep,
    FinishDeployment,
    RecordAttempt,
    SendControl,
    SendNotification,
    StartTimer,
    StopTimer,
    TimerKind,
)
from reworker.fsm.deployment import Attempt, Deployment
from reworker.fsm.events import Event
from reworker.fsm.plan import Plan, PlannedStep
from reworker.fsm.states import DEPLOYMENT_TRANSITIONS, AttemptStatus, Trigger

#: characters of a reason that the snapshot keeps; it is rewritten with every event and must stay small.
REASON_CHARACTERS = 500

#: characters of a notification's slug; the protocol's limit.
SLUG_CHARACTERS = 80


class Turn:
    """The working state of one `reduce`; it lives for one event and one thread."""

    def __init__(self, plan: Plan, deployment: Deployment, at: datetime) -> None:
        self.plan = plan
        self.deployment = deployment
        self.at = at
        self.commands: list[Command] = []
        self._steps: dict[int, PlannedStep] = {}

    def do(self, command: Command) -> None:
        """Add a command."""
        self.commands.append(command)

    def change(self, **fields: Any) -> None:
        """Change fields of the snapshot."""
        self.deployment = replace(self.deployment, **fields)

    def move(self, trigger: Trigger) -> bool:
        """Make the deployment's transition; False, with nothing changed, when the table has none."""
        status = DEPLOYMENT_TRANSITIONS.get((self.deployment.status, trigger))
        if status is None:
            return False
        if status is not self.deployment.status:
            self.change(status=status)
        return True

    def step(self, index: int) -> PlannedStep:
        """Return a step of the plan, made once per turn."""
        if index not in self._steps:
            self._steps[index] = self.plan.step(index)
        return self._steps[index]

    def finish(self, trigger: Trigger, reason: str = "") -> None:
        """End the deployment; every step that did not complete or fail counts as skipped."""
        self.move(trigger)
        now = self.deployment
        skipped_count = self.plan.step_count - now.completed_count - now.failed_count
        self.change(ended_at=self.at, reason=reason, skipped_count=skipped_count)
        self.do(FinishDeployment(status=self.deployment.status, reason=reason))

    def open(self, step: PlannedStep) -> None:
        """Open the next attempt at a step and dispatch it."""
        number, tries = self.deployment.attempt_count + 1, self.deployment.tries + 1
        attempt = Attempt(number=number, step_index=step.index)
        attempts = (*self.deployment.attempts, attempt)
        self.change(attempt_count=number, tries=tries, attempts=attempts)
        self.record(attempt, attempt.status)
        self.do(DispatchStep(attempt=number, step_index=step.index, tries=tries))

    def put(self, changed: Attempt) -> None:
        """Keep an attempt in place of the open one of its number."""
        self.change(attempts=(*self._others(changed.number), changed))

    def close(self, number: int, status: AttemptStatus | None = None) -> None:
        """Forget an attempt: nothing said about it later counts. Count its step if it completed or failed."""
        now = self.deployment
        self.change(
            attempts=self._others(number),
            completed_count=now.completed_count + (status is AttemptStatus.COMPLETED),
            failed_count=now.failed_count + (status is AttemptStatus.FAILED),
        )

    def _others(self, number: int) -> tuple[Attempt, ...]:
        return tuple(one for one in self.deployment.attempts if one.number != number)

    def begin(self, attempt: Attempt) -> Attempt:
        """Mark an attempt as started: it waits in no queue any more; return it."""
        changed = replace(attempt, status=AttemptStatus.STARTED)
        if TimerKind.QUEUE in attempt.timers:
            self.do(StopTimer(kind=TimerKind.QUEUE, attempt=attempt.number))
            left = tuple(kind for kind in attempt.timers if kind is not TimerKind.QUEUE)
            changed = replace(changed, timers=left)
        self.put(changed)
        return changed

    def record(
        self, attempt: Attempt, status: AttemptStatus, event: Event | None = None, message: str = ""
    ) -> None:
        """Have the attempt's row written, with a message and what else the event brought."""
        self.do(
            RecordAttempt(
                attempt=attempt.number,
                step_index=attempt.step_index,
                status=status,
                at=self.at,
                message=message,
                data=getattr(event, "data", None),
                percent=getattr(event, "percent", None),
            )
        )

    def start_timer(self, attempt: Attempt, kind: TimerKind, after_s: float) -> Attempt:
        """Start or restart a timer; return the attempt that has it."""
        self.do(StartTimer(kind=kind, attempt=attempt.number, after_s=after_s))
        others = tuple(timer for timer in attempt.timers if timer is not kind)
        changed = replace(attempt, timers=(*others, kind))
        self.put(changed)
        return changed

    def stop_timers(self, attempt: Attempt) -> Attempt:
        """Stop every timer of an attempt that ends; return the attempt without them."""
        for kind in attempt.timers:
            self.do(StopTimer(kind=kind, attempt=attempt.number))
        return replace(attempt, timers=())

    def tell_to_cancel(self, attempt: Attempt, reason: str) -> None:
        """Have the workers of the attempt's command told to stop or refuse it."""
        command = self.step(attempt.step_index).command
        self.do(SendControl(attempt=attempt.number, command=command, reason=reason))

    def notify_step(self, step: PlannedStep, phase: str, detail: str = "") -> None:
        """Send what the step asks for at this phase."""
        self._notify(step.notify, phase, f"step: {step.key} on {step.host}", detail)

    def notify_sequence(self, step: PlannedStep, phase: str, detail: str = "") -> None:
        """Send what the step's sequence asks for at this phase."""
        sequence = self.plan.sequences[step.sequence_index]
        what = sequence.description or f"number {step.sequence_index + 1}"
        self._notify(sequence.notify, phase, f"sequence: {what}", detail)

    def _notify(
        self, notify: Mapping[str, Mapping[str, tuple[str, ...]]], phase: str, what: str, detail: str
    ) -> None:
        title = f"{phase.capitalize()} {what}"
        message = f"{title}: {detail}" if detail else title
        for transport, targets in notify.get(phase, {}).items():
            self.do(
                SendNotification(
                    transport=transport,
                    targets=targets,
                    phase=phase,
                    slug=title[:SLUG_CHARACTERS],
                    message=f"{message} ({self.plan.name}, deployment {self.deployment.id})",
                )
            )


def event_text(event: Event) -> str:
    """Return the text for people that an event brings, or an empty one."""
    for name in ("reason", "message", "data"):
        text = getattr(event, name, None)
        if isinstance(text, str) and text:
            return text[:REASON_CHARACTERS]
    return ""
