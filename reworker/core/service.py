"""What people and programs ask of the core: works on the database, from the core's process or any other.

A core that runs notices what was written here; without one, it is done when a core starts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from reworker.clock import Clock
from reworker.core import codec, submission
from reworker.core.batch import Applied, Batch, Request, Result
from reworker.core.library import Library
from reworker.core.recorder import LogLine, lines_of
from reworker.errors import ConfigError
from reworker.fsm.deployment import Deployment
from reworker.fsm.events import (
    CancelRequested,
    Decided,
    Decision,
    Event,
    PauseRequested,
    ResumeRequested,
    Submitted,
)
from reworker.fsm.plan import Plan
from reworker.ids import new_id
from reworker.storage.contract import (
    AttemptRow,
    DeploymentRow,
    LogStore,
    OutboxRow,
    Storage,
    Unit,
)

#: characters of an idempotency key.
KEY_CHARACTERS = 255
#: rows that one call returns at most.
PAGE_COUNT = 1000


class DeploymentView(msgspec.Struct, frozen=True):
    """A deployment: its row, and its state as the machine knows it."""

    row: DeploymentRow
    state: Deployment

    @property
    def is_over(self) -> bool:
        """Tell whether nothing more will happen to it."""
        return self.state.status.is_terminal


class EventView(msgspec.Struct, frozen=True):
    """An event; `data` holds its fields, `ignored` says why it changed nothing."""

    seq: int
    kind: str
    at: datetime
    actor: str
    data: dict[str, Any]
    ignored: str | None


class AttemptView(msgspec.Struct, frozen=True):
    """An attempt: its row, and the data that its worker sent."""

    row: AttemptRow
    data: Any


def _nothing() -> None:
    return None


class Service:
    """Requests and reads; any thread, any process.

    Args:
        storage: the database.
        logs: the lines of output.
        wake: tells a core in this process that something was written.
    """

    def __init__(
        self,
        storage: Storage,
        logs: LogStore,
        clock: Clock,
        *,
        wake: Callable[[], None] = _nothing,
    ) -> None:
        self._storage, self._logs, self._clock = storage, logs, clock
        self._wake = wake
        #: stored playbooks, and the rules for all of them.
        self.library = Library(storage, clock)

    def submit(
        self,
        text: str,
        dynamic: Mapping[str, Any] | None = None,
        *,
        actor: str = "",
        unattended: bool = False,
        idempotency_key: str = "",
        source: str = "playbook",
    ) -> str:
        """Start a deployment of a playbook's text; return its id.

        Args:
            text: YAML or JSON.
            dynamic: values for the names that steps list.
            actor: who starts it.
            unattended: nobody can be asked; a doubt fails the deployment.
            idempotency_key: with the key of an earlier deployment, that one's id is returned.
            source: name of the playbook for errors.

        Raises:
            PlaybookInvalid: nothing was started.
            ConfigError: the idempotency key is too long.
        """
        if len(idempotency_key) > KEY_CHARACTERS:
            reason = f"has {len(idempotency_key)} characters, the limit is {KEY_CHARACTERS}"
            raise ConfigError(reason, key="idempotency_key")
        origin = submission.Origin(actor=actor, is_unattended=unattended, idempotency_key=idempotency_key)
        return self.start(self.library.plan(text, dynamic or {}, source), origin)

    def start(
        self,
        plan: Plan,
        origin: submission.Origin,
        *,
        answer: Callable[[str], OutboxRow | None] | None = None,
    ) -> str:
        """Start a deployment of a plan; return its id, or that of the one its origin has started before.

        Args:
            plan: what to do.
            origin: where it comes from.
            answer: makes the message that tells its id, stored with it.
        """
        now = self._clock.now()
        with self._storage.begin() as unit:
            batch = self._batch(unit)
            found = unit.find_deployment(
                idempotency_key=origin.idempotency_key,
                request_digest=origin.request_digest if origin.is_redelivered else "",
            )
            deployment_id = found or new_id(now)
            if found is None:
                event = Submitted(at=now, actor=origin.actor, unattended=origin.is_unattended)
                batch.create(submission.new_row(deployment_id, plan, origin, now), plan, event)
            row = answer(deployment_id) if answer else None
            if row is not None:
                batch.changes.outbox_added.append(row)
            batch.save()
        self._wake()
        return deployment_id

    def deployment(self, deployment_id: str) -> DeploymentView:
        """Return a deployment as it stands.

        Raises:
            DeploymentNotFound: no such deployment.
        """
        return _view(self._storage.reader.deployment(deployment_id))

    def deployments(self, *, limit: int = 50, before_id: str = "", status: str = "") -> list[DeploymentView]:
        """Return deployments, newest first; `before_id` is the last id of the page before."""
        count = min(max(limit, 1), PAGE_COUNT)
        rows = self._storage.reader.deployments(limit=count, before_id=before_id, status=status)
        return [_view(row) for row in rows]

    def plan(self, deployment_id: str) -> Plan:
        """Return the plan a deployment was started with.

        Raises:
            DeploymentNotFound: no such deployment.
        """
        return codec.decode_plan(self._storage.reader.plan(deployment_id))

    def events(self, deployment_id: str, *, after_seq: int = 0, limit: int = PAGE_COUNT) -> list[EventView]:
        """Return what happened, in order, after a sequence number."""
        rows = self._storage.reader.events(deployment_id, after_seq=after_seq, limit=limit)
        return [
            EventView(row.seq, row.kind, row.at, row.actor, msgspec.json.decode(row.data), row.ignored)
            for row in rows
        ]

    def attempts(
        self, deployment_id: str, *, after_number: int = 0, limit: int = PAGE_COUNT
    ) -> list[AttemptView]:
        """Return attempts in order, after a number."""
        rows = self._storage.reader.attempts(deployment_id, after_number=after_number, limit=limit)
        return [AttemptView(row, msgspec.json.decode(row.data)) for row in rows]

    def log_lines(self, deployment_id: str, *, after_no: int = 0, limit: int = PAGE_COUNT) -> list[LogLine]:
        """Return lines of output, after a line's number.

        They are as the worker sent them: escape control characters before showing them.
        """
        rows = self._logs.lines(deployment_id, after_no=after_no, limit=limit)
        return [line for row in rows for line in lines_of(row) if line.no > after_no][:limit]

    def cancel(self, deployment_id: str, *, actor: str = "", reason: str = "") -> Result:
        """Ask for the end of a deployment; an `IGNORED` result says why not.

        Raises:
            DeploymentNotFound: no such deployment.
        """
        return self._request(deployment_id, CancelRequested(at=self._clock.now(), actor=actor, reason=reason))

    def pause(self, deployment_id: str, *, actor: str = "", reason: str = "") -> Result:
        """Dispatch nothing new until resumed; see `cancel`."""
        return self._request(deployment_id, PauseRequested(at=self._clock.now(), actor=actor, reason=reason))

    def resume(self, deployment_id: str, *, actor: str = "") -> Result:
        """Go on after a pause; see `cancel`."""
        return self._request(deployment_id, ResumeRequested(at=self._clock.now(), actor=actor))

    def decide(
        self, deployment_id: str, attempt: int, decision: Decision, *, actor: str = "", reason: str = ""
    ) -> Result:
        """End the doubt about an attempt; see `cancel`."""
        now = self._clock.now()
        event = Decided(at=now, attempt=attempt, decision=decision, actor=actor, reason=reason)
        return self._request(deployment_id, event, actor)

    def _request(self, deployment_id: str, event: Event, actor: str = "") -> Result:
        request = Request(deployment_id, event, actor=actor or getattr(event, "actor", ""), is_kept=False)
        with self._storage.begin() as unit:
            batch = self._batch(unit)
            batch.load([request])
            result = batch.apply(request)
            batch.save()
        if result.applied is Applied.UNKNOWN:
            self._storage.reader.deployment(deployment_id)
            return Result(Applied.IGNORED, f"attempt {getattr(event, 'attempt', 0)} does not exist")
        self._wake()
        return result

    def _batch(self, unit: Unit) -> Batch:
        return Batch(unit, codec.PlanCache())


def _view(row: DeploymentRow) -> DeploymentView:
    return DeploymentView(row, codec.decode_snapshot(row.snapshot))
