"""The snapshot while one event changes it, and the commands gathered; what `turn` and `notices` build on."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from reworker.fsm import ranges
from reworker.fsm.changing import changed
from reworker.fsm.commands import Command
from reworker.fsm.deployment import Attempt, Deployment, SequenceState, Track
from reworker.fsm.plan import Plan, PlannedStep, Role
from reworker.fsm.states import DEPLOYMENT_TRANSITIONS, DeploymentStatus, Stage, Trigger


class Draft:
    """A deployment between two of its snapshots; it lives for one event and one thread."""

    def __init__(self, plan: Plan, deployment: Deployment, at: datetime) -> None:
        self.plan = plan
        self.deployment = self._before = deployment
        self.at = at
        self.commands: list[Command] = []

    def is_winding_down(self) -> bool:
        """Tell whether the deployment has failed and only waits for what is under way."""
        now = self.deployment
        return now.is_failing and now.stage in (Stage.CHECKS, Stage.EXECUTION)

    def is_called_off(self) -> bool:
        """Tell whether what is under way is to stop: on request, or because the deployment has timed out."""
        now = self.deployment
        is_timed_out = now.failure is not None and now.failure.step_index < 0 and self.is_winding_down()
        return now.status is DeploymentStatus.CANCELLING or is_timed_out

    def do(self, command: Command) -> None:
        """Add a command."""
        self.commands.append(command)

    def change(self, **fields: Any) -> None:
        """Change fields of the snapshot: of a copy, which nobody else has until the event is done."""
        if self.deployment is self._before:
            self.deployment = changed(self.deployment, **fields)
        else:
            vars(self.deployment).update(fields)

    def move(self, trigger: Trigger) -> bool:
        """Make the deployment's transition; False, with nothing changed, when the table has none."""
        status = DEPLOYMENT_TRANSITIONS.get((self.deployment.status, trigger))
        if status is None:
            return False
        self.change(status=status)
        return True

    def step(self, index: int, role: Role = Role.STEP) -> PlannedStep:
        """Return a step of the plan; see `Plan.step`."""
        return self.plan.step(index, role)

    def step_of(self, attempt: Attempt) -> PlannedStep:
        """Return what an attempt does."""
        return self.step(attempt.step_index, attempt.role)

    def put(self, changed: Attempt) -> None:
        """Keep an attempt in place of the open one of its number."""
        # In its old place: a heartbeat must leave a snapshot that equals the one before.
        kept = [changed if one.number == changed.number else one for one in self.deployment.attempts]
        self.change(attempts=tuple(kept))

    def doubt(self, index: int) -> None:
        """Remember that a step may have taken effect."""
        if self.plan.has_rollback:
            self.change(doubtful=ranges.added(self.deployment.doubtful, index))

    def move_track(self, before: Track, after: Track | None) -> None:
        """Put a track in place of another, or take it away."""
        kept = [after if track.index == before.index else track for track in self.deployment.tracks]
        self.change(tracks=tuple([track for track in kept if track is not None]))

    def put_sequence(self, state: SequenceState) -> None:
        """Keep the state of a sequence in place of the one before."""
        self.change(
            sequences=tuple(state if one.index == state.index else one for one in self.deployment.sequences)
        )
