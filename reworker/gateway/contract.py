"""What a gateway does for workers that ask over HTTP, whatever the dialect: offers steps, takes results.

Words: a *poll* asks for steps of one task type; an *offer* is one step handed to a worker; its *lease* lasts
until the worker has reported a final result, or has been silent for too long. Callbacks come on the bus's I/O
thread, on one of the gateway's, or on the caller's before the call returns; they must return at once. All
methods but `Gateway.sizes` may be called from any thread and return at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Protocol

import msgspec

from reworker.gateway.tally import PollTally


class TaskType(msgspec.Struct, frozen=True):
    """What is polled for: a command, in a domain or in none; its queue is ``worker.[<domain>.]<name>``."""

    name: str
    domain: str = ""


class LateResult(StrEnum):
    """What becomes of a result whose lease is over, while nobody else has begun the step."""

    DROP = "drop"
    ACCEPT = "accept"


class RetryLogic(StrEnum):
    """How the pause before another try grows. Source: Conductor's task definitions."""

    FIXED = "FIXED"
    LINEAR_BACKOFF = "LINEAR_BACKOFF"
    EXPONENTIAL_BACKOFF = "EXPONENTIAL_BACKOFF"


class TaskRules(msgspec.Struct, frozen=True):
    """What a task definition says of the steps of a type; the defaults are for types without one.

    Args:
        retry_count: further tries of a step that failed; none unless somebody has asked for it: release steps
            may not be run twice by accident.
        retry_logic: how the pause before them grows.
        retry_delay_s: first pause, seconds.
        backoff_scale: factor of `LINEAR_BACKOFF`.
        max_retry_delay_s: longest pause; 0 is none.
        response_timeout_s: silence after which a lease is over; None is the gateway's own.
        timeout_s: from the first offer on, in which a step has to end; 0 is without limit.
        concurrent_count: steps of the type that may be leased at once; 0 is without limit.
        rate_count, rate_s: so many offers in so many seconds; 0 is without limit.
        input_template: values for parameters that the step does not name.
    """

    retry_count: int = 0
    retry_logic: RetryLogic = RetryLogic.FIXED
    retry_delay_s: float = 60.0
    backoff_scale: float = 1.0
    max_retry_delay_s: float = 0.0
    response_timeout_s: float | None = None
    timeout_s: float = 0.0
    concurrent_count: int = 0
    rate_count: int = 0
    rate_s: float = 1.0
    input_template: Mapping[str, Any] = msgspec.field(default_factory=dict)


class Offer(msgspec.Struct, frozen=True):
    """One step in the hands of a worker.

    Args:
        task_id: ``<message id>.<lease>``; another lease of the same step has another one.
        type: what was polled.
        attempt_id: correlation id of the step, which begins with the deployment's id; empty when it has none.
        group: of the playbook.
        parameters: of the step: `command`, `subcommand`, `hosts` and its own.
        dynamic: values of earlier steps.
        message: the step's body as it came.
        poll_count: how often it was offered, this time included; more than 1 after `CallLater`.
        retry_count: tries of it that have failed.
        worker_id: who has it.
        queued_s, offered_s, updated_s: seconds since 1970: when the step was sent (0 is not known), first
            offered, and last heard of.
        response_timeout_s: silence after which the lease is over.
        output: what the worker reported with its last `CallLater`.
        retried_task_id: id of the try before; empty for the first.
    """

    task_id: str
    type: TaskType
    attempt_id: str
    group: str
    parameters: Mapping[str, Any]
    dynamic: Mapping[str, Any]
    message: Mapping[str, Any]
    poll_count: int
    retry_count: int
    worker_id: str
    queued_s: float
    offered_s: float
    updated_s: float
    response_timeout_s: float
    output: Mapping[str, Any] = msgspec.field(default_factory=dict)
    retried_task_id: str = ""


class Completed(msgspec.Struct, frozen=True):
    """The step is done."""

    output: Mapping[str, Any]


class Failed(msgspec.Struct, frozen=True):
    """The step failed; `is_final` is without another try."""

    reason: str
    output: Mapping[str, Any]
    is_final: bool = False


class CallLater(msgspec.Struct, frozen=True):
    """The step goes on elsewhere: offer it again, to anybody, after so many seconds."""

    after_s: float
    output: Mapping[str, Any]


Result = Completed | Failed | CallLater


class Update(msgspec.Struct, frozen=True):
    """What a worker says of a task.

    Args:
        task_id: as offered.
        result: how it stands.
        worker_id: who says so; empty is not said.
        lines: of output, in order.
        take_next: offer another step of the type with the answer, if one is ready and this ended a lease.
    """

    task_id: str
    result: Result
    worker_id: str = ""
    lines: Sequence[str] = ()
    take_next: bool = False


class Standing(StrEnum):
    """How an update was taken."""

    #: it ended the lease, and the broker has the reply.
    DONE = "done"
    #: the lease goes on.
    KEPT = "kept"
    #: unknown, late or said twice: dropped, and counted.
    DROPPED = "dropped"
    #: the broker could not be told in time; the worker should say it again.
    UNSENT = "unsent"


class Updated(msgspec.Struct, frozen=True):
    """Answer to an update; `next_poll` holds another offer when one was asked for and is ready."""

    standing: Standing
    next_poll: Poll | None = None


class Poll(Protocol):
    """One poll, answered or waiting."""

    @property
    def offers(self) -> Sequence[Offer]:
        """What was found; empty while it waits, and when the hold was over without any."""
        ...

    def cancel(self) -> None:
        """Nobody waits for the answer: what was found, or still comes, goes back to its queue. Safe twice."""
        ...

    def written(self) -> None:
        """The answer has been written to the worker: its steps have started, and the core hears it."""
        ...


class PollData(msgspec.Struct, frozen=True):
    """Who has polled for a type last, and when, in seconds since 1970."""

    type: TaskType
    worker_id: str
    at_s: float


class Gateway(Protocol):
    """Steps for workers that ask."""

    def poll(
        self,
        kind: TaskType,
        worker_id: str,
        on_done: Callable[[Poll], None],
        *,
        count: int,
        hold_s: float,
        owner: str = "",
    ) -> Poll:
        """Ask for steps; `on_done` is called once, with at least one offer, or with none after the hold.

        Nothing is taken from the queue for which no poll waits, and no more than `count`.

        Args:
            kind: what for; its queue is declared when it is polled for the first time.
            worker_id: who asks.
            on_done: told the end, also when it comes at once.
            count: offers at most.
            hold_s: seconds to wait for the first one.
            owner: token with which it is asked for; empty is without one.

        Raises:
            ConfigError: the type or domain cannot be the name of a queue.
            TooManyTypes: the owner polls for as many types as one may.
            NoRoomForType: so do all together.
            BusError: the queue could not be declared just now. The first poll of a type does not wait for
                that: it is answered with nothing when it cannot be.
        """
        ...

    def update(self, update: Update, on_done: Callable[[Updated], None]) -> None:
        """Take a result; `on_done` is called once, when the broker has the reply and the step is settled."""
        ...

    def extend(self, task_id: str) -> bool:
        """Let a lease last anew, from now; return whether there is one."""
        ...

    def say(self, task_id: str, lines: Sequence[str]) -> bool:
        """Send lines of output of a step under lease; return whether there is one."""
        ...

    def find(self, task_id: str) -> Offer | None:
        """Return what is offered under an id now."""
        ...

    def rule(self, name: str, rules: TaskRules | None) -> None:
        """Let these rules count for a task type, whatever its domain; None are the defaults."""
        ...

    def sizes(self, names: Sequence[str]) -> Mapping[str, int]:
        """Count messages that wait for each type, over all domains polled here; waits for the broker."""
        ...

    def polled(self, name: str | None = None) -> Sequence[PollData]:
        """Return who has polled for a type, or for any."""
        ...

    def pollers(self) -> Sequence[PollData]:
        """Return the workers that have polled here within the hour, by type and domain, the last first."""
        ...

    @property
    def tally(self) -> PollTally:
        """Polls by task type."""
        ...

    @property
    def counts(self) -> Mapping[str, int]:
        """What has happened, for metrics: polls, offers, late updates, expired leases, ..."""
        ...
