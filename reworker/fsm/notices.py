"""The notifications of a turn: what steps, sequences and the operator's rules ask for at each phase."""

from __future__ import annotations

from reworker.fsm.commands import SendNotification
from reworker.fsm.draft import Draft
from reworker.fsm.plan import PlannedStep
from reworker.fsm.playbook import Notify

#: characters of a notification's slug; the protocol's limit.
SLUG_CHARACTERS = 80


class Notices(Draft):
    """A draft that can tell people."""

    def notify_step(self, step: PlannedStep, phase: str, detail: str = "") -> None:
        """Send what the step asks for at this phase."""
        if phase not in step.notify:
            return
        where = f" on {step.host}" if step.host else ""
        self._notify(step.notify, phase, f"step: {step.key}{where}", detail)

    def notify_sequence(self, index: int, phase: str, detail: str = "") -> None:
        """Send what a sequence asks for at this phase."""
        sequence = self.plan.sequences[index]
        what = sequence.description or f"number {index + 1}"
        self._notify(sequence.notify, phase, f"sequence: {what}", detail)

    def _notify(self, notify: Notify, phase: str, what: str, detail: str) -> None:
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

    def give_notice(self, phase: str) -> None:
        """Tell of the start or end of the deployment, if the plan says whom."""
        notice = self.plan.notice
        if notice is None:
            return
        title = f"Release {self.deployment.id} {phase}"
        url = notice.url.replace("%s", self.deployment.id)
        self.do(
            SendNotification(
                transport="",
                targets=notice.targets,
                phase=phase,
                slug=title[:SLUG_CHARACTERS],
                message=f"{title}. See {url}" if url else title,
                topic=notice.topic,
            )
        )
