"""What a database knows of the work that workers have; see `contract`."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Protocol

import msgspec


class WorkRow(msgspec.Struct, frozen=True):
    """Attempts of one step, in one status, with one worker instance.

    Args:
        step: ``command:subcommand``.
        status: see `fsm.states.AttemptStatus`.
        worker: who answered last; empty when nobody has.
        attempt_count: how many they are.
        oldest_sent_at: when the first of them was sent.
        oldest_started_at: when the first of them was started.
        newest_at: when the last of them was started or ended.
        sent_count: how many were sent since the moment that was asked for.
        started_count: how many were started since then.
        domain: where they were sent; empty is without one.
    """

    step: str
    status: str
    worker: str
    attempt_count: int
    oldest_sent_at: datetime | None
    oldest_started_at: datetime | None
    newest_at: datetime | None
    sent_count: int
    started_count: int
    domain: str = ""

    @property
    def command(self) -> str:
        """What the queues of its workers are called by: the command, behind its domain."""
        command = self.step.partition(":")[0]
        return f"{self.domain}.{command}" if self.domain else command


class WorkReader(Protocol):
    """The part of a reader that is about the work of workers."""

    def work(self, deployment_ids: Collection[str], since: datetime) -> list[WorkRow]:
        """Return the attempts of these deployments, summed up; approvals are the work of no worker.

        Args:
            deployment_ids: at most a thousand.
            since: what `WorkRow.sent_count` and `started_count` count from.
        """
        ...
