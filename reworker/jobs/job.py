"""What a step sees of its job."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from logging import Logger
from typing import Any, TypeVar

from reworker.errors import JobCancelled
from reworker.jobs.attempt import Attempt
from reworker.messages import Reply, Step, StepHeaders
from reworker.notify import notifications
from reworker.output import Output

T = TypeVar("T")

#: seconds between two `running` replies with a percentage.
PROGRESS_S = 1.0


class Job:
    """One run of a step. Any thread of the job may use it; it is of no use after the step has returned.

    Args:
        attempt: the delivery's record.
        output: where lines of output go.
    """

    def __init__(self, attempt: Attempt, step: Step, output: Output) -> None:
        self._attempt, self._step = attempt, step
        self.output = output
        self._reported_mono_s = attempt.station.clock.mono_s()

    @property
    def id(self) -> str:
        """Correlation id: deployment and attempt; empty when the sender gave none."""
        return self._attempt.correlation_id or ""

    @property
    def group(self) -> str:
        """Group of the playbook."""
        return self._step.group

    @property
    def hosts(self) -> list[str]:
        """Hosts to work on; the core sends one at a time."""
        return list(self.parameters.get("hosts") or [])

    @property
    def subcommand(self) -> str:
        """What the playbook wrote after the colon."""
        return str(self.parameters.get("subcommand") or "")

    @property
    def parameters(self) -> dict[str, Any]:
        """All parameters as they came, ``command``, ``subcommand`` and ``hosts`` among them."""
        return self._step.parameters

    @property
    def dynamic(self) -> dict[str, Any]:
        """Values given at the start of the deployment."""
        return self._step.dynamic

    @property
    def headers(self) -> StepHeaders:
        """Attempt number, idempotency key, fence and limits; defaults when the core is of 2014."""
        return self._attempt.headers or StepHeaders()

    @property
    def log(self) -> Logger:
        """The worker's logger; for its operator, while `output` is for the people of the release."""
        return self._attempt.station.logger

    @property
    def cancelled(self) -> bool:
        """Whether the job has been told to stop."""
        return self._attempt.is_cancelled

    def check_cancelled(self) -> None:
        """Leave the step when it has been told to stop.

        Raises:
            JobCancelled: it has; the reply says `cancelled`.
        """
        if self.cancelled:
            raise JobCancelled("stopped on request")

    def sleep(self, seconds: float) -> None:
        """Sleep, but not past a cancellation.

        Raises:
            JobCancelled: the job has been told to stop.
        """
        if not self._attempt.wait(seconds):
            self.check_cancelled()

    def report(self, percent: float | None = None, message: str | None = None) -> None:
        """Tell the core how far the step is; a core of 2014 is not told."""
        if self._attempt.headers is not None:
            self._attempt.reply(Reply("running", percent=percent, message=message))

    def progress(self, items: Iterable[T], total: int | None = None) -> Iterator[T]:
        """Yield the items, reporting a percentage at most once a second; stop when cancelled.

        Args:
            items: what to go through.
            total: how many there are, when they do not know it themselves.

        Raises:
            JobCancelled: the job has been told to stop; raised before the next item.
        """
        count = total if total is not None else len(items) if isinstance(items, Sized) else 0
        for done, item in enumerate(items):
            self.check_cancelled()
            self._report_now_and_then(done, count)
            yield item

    def notify(self, slug: str, message: str, phase: str, target: list[str] | None = None) -> None:
        """Send a notification to the transports that the playbook names for this phase."""
        exchange = self._attempt.station.settings.exchange
        for key, body in notifications(self._step.notify, phase, slug, message, target):
            self._attempt.send(key, self._attempt.correlation_id, body, exchange, None)

    def _report_now_and_then(self, done_count: int, count: int) -> None:
        now = self._attempt.station.clock.mono_s()
        if count and now - self._reported_mono_s >= PROGRESS_S:
            self._reported_mono_s = now
            self.report(percent=100.0 * done_count / count)
