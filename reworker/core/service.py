"""What people and programs ask of the core: works on the database, from the core's process or any other.

A core that runs notices what was written here; without one, it is done when a core starts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from copy import copy
from dataclasses import replace
from typing import Any, TypeVar

import msgspec

from reworker.clock import Clock
from reworker.core import codec, submission
from reworker.core.batch import Applied, Batch, Request, Result
from reworker.core.database_clock import DatabaseClock
from reworker.core.library import Library
from reworker.core.memory import Memory
from reworker.core.past import past_of
from reworker.core.reads import PAGE_COUNT, AttemptView, DeploymentView, EventView, Reads
from reworker.core.resumption import Resumption, Scope, resumption
from reworker.core.saved_views import SavedViews
from reworker.core.tasks.codes import Codes
from reworker.core.tasks.projects import Projects
from reworker.core.tasks.queueing import Tasks
from reworker.core.tasks.schedules import Schedules
from reworker.errors import NotResumable, StaleVersion
from reworker.fsm.deployment import Attempt
from reworker.fsm.events import (
    Approved,
    CancelRequested,
    Decided,
    Decision,
    Event,
    PauseRequested,
    Refused,
    ResumeRequested,
    Submitted,
)
from reworker.fsm.plan import Plan, Role
from reworker.fsm.states import AttemptStatus
from reworker.ids import new_id
from reworker.storage.contract import (
    DeploymentRow,
    LogStore,
    OutboxRow,
    SourceRow,
    Storage,
    Unit,
)

__all__ = ["PAGE_COUNT", "AttemptView", "Continuation", "DeploymentView", "EventView", "Note", "Service"]

#: times that a request is tried again at once when another transaction was faster.
RACE_COUNT = 20

T = TypeVar("T")


#: done in the transaction that starts a deployment, given its id, or that puts something to one, given what
#: became of it.
Note = Callable[[Unit, str | Result], None]


class Continuation(msgspec.Struct, frozen=True):
    """What continues a deployment that has ended: see `Service.start`."""

    draft: submission.Draft
    origin: submission.Origin
    resumption: Resumption


def _nothing() -> None:
    return None


class Service(Reads):
    """Requests and reads; any thread, any process.

    Args:
        storage: the database.
        logs: the lines of output.
        wake: tells a core in this process that something was written.
        wake_tasks: tells its desk for tasks that something is to be started.
    """

    def __init__(
        self,
        storage: Storage,
        logs: LogStore,
        clock: Clock,
        *,
        wake: Callable[[], None] = _nothing,
        wake_tasks: Callable[[], None] = _nothing,
    ) -> None:
        super().__init__(storage, logs)
        self._clock = DatabaseClock(storage, clock)
        self._wake = wake
        self._note: Note | None = None
        #: stored playbooks, and the rules for all of them.
        self.library = Library(storage, self._clock)
        #: what people look for again and again.
        self.views = SavedViews(storage, self._clock)
        #: code packages, what belongs to them, and when they run.
        self.projects = Projects(storage, self._clock)
        self.codes = Codes(storage, self._clock, wake=wake_tasks)
        self.tasks = Tasks(storage, logs, self._clock, self.codes, wake=wake_tasks, cancel=self.cancel)
        self.schedules = Schedules(storage, self._clock, self.codes, self.tasks, wake=wake_tasks)

    def with_note(self, note: Note) -> Service:
        """Return this service with a note: what it does in each transaction that changes something, too."""
        other = copy(self)
        other._note = note
        return other

    def submit(
        self,
        text: str,
        dynamic: Mapping[str, Any] | None = None,
        *,
        actor: str = "",
        unattended: bool = False,
        idempotency_key: str = "",
        playbook_id: str = "",
        source: str = "playbook",
    ) -> str:
        """Start a deployment of a playbook's text; return its id.

        Args:
            text: YAML or JSON.
            dynamic: values for the names that steps list.
            actor: who starts it.
            unattended: nobody can be asked; a doubt fails the deployment.
            idempotency_key: with the key of an earlier deployment, that one's id is returned.
            playbook_id: of the stored playbook that the text is of; empty is none.
            source: name of the playbook for errors.

        Raises:
            PlaybookInvalid: nothing was started.
            ConfigError: the idempotency key is too long.
        """
        origin = submission.asked_for(actor, idempotency_key, is_unattended=unattended)
        origin = msgspec.structs.replace(origin, playbook_id=playbook_id or None)
        return self.start(self.library.draft(text, dynamic or {}, source), origin)

    def start(
        self,
        draft: submission.Draft,
        origin: submission.Origin,
        *,
        answer: Callable[[str], OutboxRow | None] | None = None,
        resumption: Resumption | None = None,
    ) -> str:
        """Start a deployment; return its id, or that of the one its origin has started before.

        Args:
            draft: what to do.
            origin: where it comes from.
            answer: makes the message that tells its id, stored with it.
            resumption: what it passes over, of the deployment that it continues.

        Raises:
            NotResumable: the other deployment is continued already.
            KeyReused: its key has started another request.
        """
        origin = self._with_version(origin, draft.text)

        def begun(unit: Unit) -> str:
            # locked, so that two people who continue it at the same time take turns
            unit.deployments({resumption.resumes} if resumption else set())
            found = self._found(unit, origin)
            if found and resumption is not None:
                raise NotResumable(f"it goes on as deployment {found} already; watch, or resume, that one")
            batch = self._batch(unit)
            deployment_id = found or self._create(batch, draft, origin, resumption or Resumption())
            told = answer(deployment_id) if answer else None
            if told is not None:
                batch.changes.outbox_added.append(told)
            batch.save()
            if self._note and not found:
                self._note(unit, deployment_id)
            return deployment_id

        own_id = self._transact(begun)
        self._wake()
        return own_id

    def _with_version(self, origin: submission.Origin, text: str | None) -> submission.Origin:
        """Return an origin with the version of its stored playbook: the newest one of this text."""
        if origin.playbook_id is None or text is None:
            return origin
        found = self.reader.playbook_version(origin.playbook_id, submission.digest_of(text))
        return msgspec.structs.replace(origin, playbook_version=found or None)

    def _found(self, unit: Unit, origin: submission.Origin) -> str | None:
        """Return the deployment that this origin has started before."""
        found = unit.find_deployment(
            idempotency_key=origin.idempotency_key,
            request_digest=origin.request_digest if origin.is_redelivered else "",
        ) or unit.find_deployment(idempotency_key=origin.older_key)
        if found and origin.given_key:
            submission.require_same(self.reader.deployment(found), origin)
        return found

    def _create(
        self, batch: Batch, draft: submission.Draft, origin: submission.Origin, begun: Resumption
    ) -> str:
        now = self._clock.now()
        own_id = new_id(now)
        row = submission.new_row(own_id, draft.plan, origin, now, begun.resumes)
        event = Submitted(
            at=now,
            actor=origin.actor,
            unattended=origin.is_unattended,
            source_ip=origin.source_ip,
            reason=origin.reason,
            **msgspec.structs.asdict(begun),
        )
        batch.create(row, draft.plan, event)
        batch.changes.sources.append(SourceRow(own_id, draft.text, draft.rules))
        return own_id

    def cancel(self, deployment_id: str, *, actor: str = "", reason: str = "") -> Result:
        """Ask for the end of a deployment; an `IGNORED` result says why not.

        Raises:
            DeploymentNotFound: no such deployment.
        """
        return self._request(deployment_id, CancelRequested(at=self._clock.now(), actor=actor, reason=reason))

    def pause(self, deployment_id: str, *, actor: str = "", reason: str = "") -> Result:
        """Dispatch nothing new until resumed; see `cancel`."""
        return self._request(deployment_id, PauseRequested(at=self._clock.now(), actor=actor, reason=reason))

    def resume(self, deployment_id: str, *, actor: str = "", reason: str = "") -> Result:
        """Go on after a pause; see `cancel`. One that has ended is continued by `retry`."""
        return self._request(deployment_id, ResumeRequested(at=self._clock.now(), actor=actor, reason=reason))

    def retry(
        self,
        deployment_id: str,
        scope: Scope | None = None,
        *,
        text: str = "",
        dynamic: Mapping[str, Any] | None = None,
        actor: str = "",
        reason: str = "",
        source: str = "playbook",
    ) -> str:
        """Start a deployment that continues one which has ended, without what was done; return its id.

        Args:
            deployment_id: of the one that has ended.
            scope: what is to be done; None is everything that was not.
            text: the playbook, edited; empty takes it as it was.
            dynamic: values that differ from those it had.
            actor: who starts it.
            reason: why, in a person's words.
            source: name of the playbook for errors.

        Raises:
            DeploymentNotFound: no such deployment.
            NotResumable: it cannot be continued, or not like this.
            PlaybookInvalid: the edited playbook is wrong.
        """
        found = self.continuation(deployment_id, scope, text=text, dynamic=dynamic, source=source)
        origin = msgspec.structs.replace(found.origin, actor=actor, reason=reason)
        return self.start(found.draft, origin, resumption=found.resumption)

    def continuation(
        self,
        deployment_id: str,
        scope: Scope | None = None,
        *,
        text: str = "",
        dynamic: Mapping[str, Any] | None = None,
        source: str = "playbook",
    ) -> Continuation:
        """Return what `retry` would start, for `start`; starts nothing."""
        row, scope = self.reader.deployment(deployment_id), scope or Scope()
        if row.is_task:
            raise NotResumable(
                f"{row.id} is a task of a code package; try it again with `reworker task retry`"
            )
        past = past_of(self.reader, row, has_start=bool(scope.start))
        draft = self._edited(row, past.plan, text, dynamic or {}, source)
        origin = submission.Origin(
            playbook_id=None if text else row.playbook_id,
            is_unattended=codec.decode_snapshot(row.snapshot).is_unattended,
            idempotency_key=f"{submission.RESUMED}{row.id}",
        )
        return Continuation(draft, origin, resumption(past, draft.plan, scope, row.id))

    def _edited(
        self, row: DeploymentRow, plan: Plan, text: str, dynamic: Mapping[str, Any], source: str
    ) -> submission.Draft:
        """Return what the continuing deployment does: with nothing edited, the plan as it was."""
        made_from = self.reader.source(row.id)
        rules = made_from.rules if made_from else None
        before = made_from.text if made_from else None
        if not text and not dynamic:
            return submission.Draft(plan, before, rules)
        if not text and before is None:
            raise NotResumable(f"the text of deployment {row.id} was not kept; give its playbook as well")
        return self.library.draft_again(text or before or "", dynamic, source, rules, plan)

    def decide(
        self, deployment_id: str, attempt: int, decision: Decision, *, actor: str = "", reason: str = ""
    ) -> Result:
        """End the doubt about an attempt; 0 is the only one in doubt. See `cancel`."""
        now = self._clock.now()
        event = Decided(at=now, attempt=attempt, decision=decision, actor=actor, reason=reason)
        return self._answer(deployment_id, event, _is_in_doubt)

    def approve(self, deployment_id: str, attempt: int = 0, *, actor: str = "", reason: str = "") -> Result:
        """Consent to what waits for it; attempt 0 is all of it. See `cancel`."""
        event = Approved(at=self._clock.now(), attempt=attempt, actor=actor, reason=reason)
        return self._answer(deployment_id, event, _is_to_be_approved)

    def refuse(self, deployment_id: str, attempt: int = 0, *, actor: str = "", reason: str = "") -> Result:
        """Refuse what waits for consent, which fails its step; see `approve`."""
        event = Refused(at=self._clock.now(), attempt=attempt, actor=actor, reason=reason)
        return self._answer(deployment_id, event, _is_to_be_approved)

    def _answer(
        self, deployment_id: str, event: Decided | Approved | Refused, is_waiting: Callable[[Attempt], bool]
    ) -> Result:
        """Tell a person's answer to the attempt it is about, or to those that wait for one."""
        if event.attempt:
            return self._request(deployment_id, event)
        state = self.deployment(deployment_id).state
        numbers = sorted(one.number for one in state.attempts if is_waiting(one))
        what = "decision" if isinstance(event, Decided) else "approval"
        if not numbers:
            return Result(Applied.IGNORED, f"it is {state.status} and waits for no {what}")
        if len(numbers) > 1 and isinstance(event, Decided):
            listed = ", ".join(map(str, numbers))
            return Result(Applied.IGNORED, f"these attempts wait for a {what}, say which: {listed}")
        results = [self._request(deployment_id, replace(event, attempt=one)) for one in numbers]
        return next((one for one in results if one.applied is Applied.CHANGED), results[0])

    def _request(self, deployment_id: str, event: Event) -> Result:
        request = Request(deployment_id, event, actor=getattr(event, "actor", ""), is_kept=False)

        def applied(unit: Unit) -> Result:
            batch = self._batch(unit)
            batch.load([request])
            found = batch.apply(request)
            batch.save()
            if self._note and found.applied is not Applied.UNKNOWN:
                self._note(unit, found)
            return found

        result = self._transact(applied)
        if result.applied is Applied.UNKNOWN:
            self._storage.reader.deployment(deployment_id)
            return Result(Applied.IGNORED, f"attempt {getattr(event, 'attempt', 0)} does not exist")
        self._wake()
        return result

    def _transact(self, work: Callable[[Unit], T]) -> T:
        """Work in a transaction, and again from its beginning when another transaction was faster."""
        for _ in range(RACE_COUNT):
            with suppress(StaleVersion), self._storage.begin() as unit:
                return work(unit)
        with self._storage.begin() as unit:
            return work(unit)

    def _batch(self, unit: Unit) -> Batch:
        return Batch(unit, Memory())


def _is_in_doubt(attempt: Attempt) -> bool:
    return attempt.status is AttemptStatus.UNKNOWN


def _is_to_be_approved(attempt: Attempt) -> bool:
    return attempt.role is Role.APPROVAL and attempt.status is AttemptStatus.WAITING
