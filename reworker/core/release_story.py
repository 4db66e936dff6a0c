"""What happened to a deployment, told in log lines of 2014; pure.

Each event is one line. A line more stands before the first, and one when the deployment has ended: their
phases are `START_PHASE` and `END_PHASE`, so that counting the other lines tells how far a file has come.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from reworker.core.release_lines import Line
from reworker.fsm.plan import Plan, Role
from reworker.fsm.playbook import SequenceKind
from reworker.fsm.states import AttemptStatus, DeploymentStatus
from reworker.storage.contract import AttemptRow, DeploymentRow, EventRow

#: phases of the lines that are no events.
START_PHASE, END_PHASE = "insert-triggers", "cleanup"

_PHASES = {
    SequenceKind.CHECK: "pre-deploy-check",
    SequenceKind.EXECUTION: "execution",
    SequenceKind.ACTION: "post-deploy-check",
}
_VERBS = {
    "DispatchConfirmed": "Sent",
    "ReplyStarted": "Started",
    "ReplyCompleted": "Completed",
    "ReplyFailed": "Failed",
    "DispatchUnroutable": "Unroutable",
}
_WARNINGS = frozenset(
    {"ReplyUnknown", "DispatchUnknown", "HeartbeatLost", "CancelTimedOut", "ReplyCancelled"}
)
_ERRORS = frozenset(
    {"ReplyFailed", "DispatchUnroutable", "QueueTimedOut", "RunTimedOut", "DeploymentTimedOut"}
)
#: fields of events that are told by other means, or too long to tell.
_UNTOLD = ("attempt", "data", "extra", "actor", "done", "left_out", "facts", "source_ip")


class Story(msgspec.Struct, frozen=True):
    """What does not change while events of a deployment are told."""

    row: DeploymentRow
    plan: Plan
    source_ip: str = ""

    def lines(self, events: Sequence[EventRow], attempts: Mapping[int, AttemptRow]) -> list[Line]:
        """Return the lines of consecutive events.

        Args:
            events: in order.
            attempts: those that the events are about, by number.
        """
        found: list[Line] = []
        for event in events:
            if event.seq == 1:
                text = f"{self.plan.step_count} steps, with those of triggers, checks and actions"
                found.append(self._line(event.at, text, deploy_phase=START_PHASE))
            found.append(self._event_line(event, attempts))
        return found

    def end_lines(self) -> list[Line]:
        """Return the line that tells the end; none while the deployment goes on."""
        if self.row.ended_at is None:
            return []
        level = "INFO" if self.row.status == DeploymentStatus.COMPLETED else "ERROR"
        text = f"Release {self.row.id} {self.row.status}"
        return [self._line(self.row.ended_at, text, level=level, deploy_phase=END_PHASE)]

    def _event_line(self, event: EventRow, attempts: Mapping[int, AttemptRow]) -> Line:
        data = msgspec.json.decode(event.data)
        attempt = attempts.get(data.get("attempt", 0))
        where = f" {attempt.step}" if attempt else ""
        where += f" on {attempt.host}" if attempt and attempt.host else ""
        verb = _VERBS.get(event.kind) or re.sub(r"(?<=[a-z])(?=[A-Z])", " ", event.kind).capitalize()
        details = [f"{name} {value}" for name, value in data.items() if value and name not in _UNTOLD]
        if event.kind == "ReplyCompleted" and attempt and attempt.status == AttemptStatus.FAILED:
            details.append("not as expected")
        if event.ignored is not None:
            details.append(f"ignored: {event.ignored}")
        return self._line(
            event.at,
            f"{verb}{where}{': ' if details else ''}{', '.join(details)}",
            level=_level(event),
            active_step=attempt.step if attempt else "",
            deploy_phase=self._phase(event, attempt),
        )

    def _phase(self, event: EventRow, attempt: AttemptRow | None) -> str:
        if attempt is None:
            return "initialization" if event.kind in ("Submitted", "LocksGranted", "LocksAwaited") else ""
        if attempt.role == Role.ROLLBACK:
            return "error-state-cleanup"
        return _PHASES[self.plan.sequences[self.plan.place(attempt.step_index)[0]].kind]

    def _line(self, at: datetime, message: str, level: str = "INFO", **fields: Any) -> Line:
        return Line(
            at=at,
            level=level,
            message=message,
            source_ip=self.source_ip,
            playbook_id=self.row.playbook_id or "",
            deployment_id=self.row.id,
            user_id=self.row.actor,
            **fields,
        )


def _level(event: EventRow) -> str:
    if event.ignored is not None or event.kind in _WARNINGS:
        return "WARNING"
    return "ERROR" if event.kind in _ERRORS else "INFO"
