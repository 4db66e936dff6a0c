"""The checks in their order, and one run through all of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec

from reworker.conformance import endings, level_1, level_2
from reworker.conformance.report import Finding, Support
from reworker.conformance.stand import Answer, Stand, untried

#: seconds for replies that nobody should send.
GRACE_S = 0.5
#: steps in a row without any reply after which no more are sent.
SILENT_COUNT = 3


class Check(msgspec.Struct, frozen=True):
    """One thing that a worker may support.

    Args:
        name: of it.
        level: of the contract.
        run: tries it.
        is_required: a worker without it is no worker.
        asks: sends something to the worker; else it looks at what was heard.
        needs_good: shows nothing without a step that ends well.
    """

    name: str
    level: int
    run: Callable[[Stand], Answer]
    is_required: bool = False
    asks: bool = True
    needs_good: bool = False


def checks_of(*, kill_pid: int | None = None, stop_pid: int | None = None) -> tuple[Check, ...]:
    """Return all checks; those that end the worker come last but for those that look back."""
    return (
        Check("consumer", 1, level_1.consumer, is_required=True),
        Check("binding", 1, level_1.binding, is_required=True),
        Check("completed", 1, level_1.completed, is_required=True),
        Check("failed", 1, level_1.failed, is_required=True),
        Check("bad parameters", 1, level_1.bad_parameters, is_required=True),
        Check("unknown subcommand", 1, level_1.unknown_subcommand, is_required=True),
        Check("not JSON", 1, level_1.not_json, is_required=True, needs_good=True),
        Check("no reply_to", 1, level_1.no_reply_to, is_required=True, needs_good=True),
        Check("1 MiB step", 1, level_1.large_step, is_required=True, needs_good=True),
        Check("redelivery", 1, level_1.redelivery, is_required=True),
        Check("level 2 step", 2, level_2.completed, is_required=True, needs_good=True),
        Check("heartbeats", 2, level_2.heartbeats),
        Check("deadline", 2, level_2.deadline),
        Check("cancel", 2, level_2.cancel),
        Check("too late", 2, level_2.too_late),
        Check("redelivery, idempotent", 2, level_2.redelivery_of_idempotent, needs_good=True),
        Check("redelivery, not idempotent", 2, level_2.redelivery_of_other),
        Check("same message twice", 2, level_2.same_twice, needs_good=True),
        Check("empty queue", 1, level_1.empty_queue, is_required=True, asks=False),
        Check("killed in a step", 2, partial(endings.killed, pid=kill_pid)),
        Check("stopped in a step", 2, partial(endings.stopped, pid=stop_pid)),
        Check("acknowledged", 1, endings.acknowledged, is_required=True, asks=False),
        Check("correlation id", 1, level_1.correlation_id, is_required=True, asks=False),
        Check("order", 1, level_1.order, is_required=True, asks=False),
        Check("one started, one final", 1, level_1.one_of_each, is_required=True, asks=False),
        Check("output lines", 1, level_1.output, asks=False),
        Check("app_id", 1, level_1.app_id, asks=False),
        Check("message_id", 2, level_2.message_id, asks=False),
        Check("x-worker", 2, level_2.worker_header, asks=False),
        Check("x-seq", 2, level_2.seq_header, asks=False),
    )


class Kit:
    """One run through all checks.

    Threads: for one.

    Args:
        stand: where the worker is tried.
        checks: see `checks_of`.
        on_finding: is told of each at once.
    """

    def __init__(
        self, stand: Stand, checks: tuple[Check, ...], on_finding: Callable[[Finding], None]
    ) -> None:
        self._stand, self._checks, self._on_finding = stand, checks, on_finding
        #: why no more steps are sent; empty while they are.
        self._why_over = ""
        self._silent_count = 0

    def run(self) -> list[Finding]:
        """Try everything, and return what was found.

        Raises:
            BusError: the broker went away.
            ConfigError: a process that is to be ended is not ours.
        """
        found = []
        has_looked_back = False
        for check in self._checks:
            if not check.asks and not has_looked_back:
                has_looked_back = True
                self._stand.desk.wait(lambda: False, GRACE_S)
            why_not = self._why_not(check)
            answer = untried(why_not) if why_not else self._try(check)
            found.append(Finding(check.name, check.level, check.is_required, *answer))
            self._on_finding(found[-1])
        return found

    def _why_not(self, check: Check) -> str:
        """Return why a check cannot be tried; empty when it can."""
        if check.asks and self._why_over:
            return self._why_over
        if check.needs_good and self._stand.is_good_refused:
            return "the step that should end well did not; give --parameters"
        return ""

    def _try(self, check: Check) -> Answer:
        before = sum(len(talk.heard) for talk in self._stand.desk.talks.values())
        answer = check.run(self._stand)
        if answer.support is not Support.MISSING or not check.asks:
            return answer
        after = sum(len(talk.heard) for talk in self._stand.desk.talks.values())
        self._silent_count = self._silent_count + 1 if before == after else 0
        if not self._is_there():
            self._why_over = f"no worker reads {self._stand.orders.queue} any more"
            return answer._replace(seen=f"{answer.seen}; {self._why_over}")
        if self._silent_count == SILENT_COUNT:
            self._why_over = f"nothing came for {SILENT_COUNT} checks in a row"
        return answer

    def _is_there(self) -> bool:
        """Tell whether somebody reads the queue, at once or after a restart."""
        return bool(self._stand.wait_for_counts(consumers=True).consumer_count)
