"""What a step sees of its job."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from logging import Logger
from typing import Any, TypeVar

from reworker.errors import JobCancelled, JobFailed
from reworker.jobs.attempt import Attempt
from reworker.jobs.commands import Command, CommandResult, run_command, texts_of
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
        self._reported_mono_s = attempt.started_mono_s

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

    def run(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        check: bool = True,
    ) -> CommandResult:
        """Run a command, without a shell; its lines go to `output`, and it ends with the job at the latest.

        It is the leader of a process group, and whatever is left of that is killed when it ends, when the job
        is cancelled or runs too long, and when the worker dies. A daemon that has left the group lives on.
        It waits; in an ``async def`` step say ``await asyncio.to_thread(job.run, argv)``.

        Args:
            argv: program and arguments.
            cwd: working folder; None is the worker's.
            env: all of its environment; None is the worker's.
            timeout_s: seconds after which it is killed and the job has failed; None is the job's own limit.
            check: False returns whatever the exit code is.

        Raises:
            JobFailed: it cannot be started, ran too long, or ended with another exit code than 0; with
                ``{"exit_code": int, "last_lines": [str]}`` as `data`.
            JobCancelled, JobTimeout: the job has been told to stop, or its time is up.
        """
        command = Command(texts_of(argv), cwd, env, timeout_s)
        clock = self._attempt.station.clock
        result = run_command(command, lambda line: self.output.info("%s", line), self._check_ended, clock)
        if check and result.exit_code != 0:
            data = {"exit_code": result.exit_code, "last_lines": result.last_lines}
            raise JobFailed(f"{command.name} ended with {result.end}", data)
        return result

    def _check_ended(self) -> None:
        """Leave a wait: the thread of a step may be told to end in ways that another one does not notice."""
        self.check_cancelled()
        if self._attempt.interrupt.fired is not None:
            raise self._attempt.interrupt.fired

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
