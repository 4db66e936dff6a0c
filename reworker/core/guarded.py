"""The core's service as far as somebody with a token may use it; writes are in the audit, denied ones too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from reworker.core import submission
from reworker.core.access import Access
from reworker.core.audit import Outcome
from reworker.core.batch import Result
from reworker.core.guard import Deed, Guard
from reworker.core.guarded_library import GuardedLibrary
from reworker.core.guarded_tokens import GuardedTokens
from reworker.core.guarded_views import GuardedViews
from reworker.core.places import SEEING, may_any, narrowed, place_of, place_of_row
from reworker.core.principal import Place, Principal, Scope
from reworker.core.reads import PAGE_COUNT, AttemptView, DeploymentView, EventView
from reworker.core.recorder import LogLine
from reworker.core.resumption import Scope as Part
from reworker.core.service import Service
from reworker.core.submission import Terms
from reworker.errors import ConfigError, DeploymentNotFound, Forbidden
from reworker.fsm.events import Decision
from reworker.fsm.plan import Plan
from reworker.ids import is_id
from reworker.storage.contract import ALL_DEPLOYMENTS, DeploymentFilter, DeploymentRow

Act = Callable[[Service], Result]
_NO_TERMS = Terms()


class GuardedService:
    """What one person or program asks of the core; made for each request, any thread.

    Reads and writes are those of `Service`, in the name of the token. They raise `Forbidden` besides.

    Args:
        service: does it.
        access: keeps the audit.
        who: asks.
    """

    def __init__(self, service: Service, access: Access, who: Principal) -> None:
        self._service, self.who = service, who
        #: for what is done elsewhere than in the database, such as to dead letters.
        self.guard = Guard(access, who)
        #: stored playbooks.
        self.library = GuardedLibrary(service.library, self.guard)
        #: tokens and the audit.
        self.tokens = GuardedTokens(access, self.guard)
        #: what who asks looks for again and again.
        self.views = GuardedViews(service.views, self.guard)

    def deployment(self, deployment_id: str) -> DeploymentView:
        """Return a deployment; see `Service.deployment`."""
        _require_id(deployment_id)
        view = self._service.deployment(deployment_id)
        self._require_seen(view.row)
        return view

    def _require_seen(self, row: DeploymentRow) -> None:
        """Let a look pass; a refusal does not say where the deployment is, which may be nobody's business.

        Raises:
            Forbidden: it may not be seen.
        """
        self.guard.require(SEEING)
        if not may_any(self.who, SEEING, place_of_row(row)):
            raise Forbidden(f"the token of {self.who.name} is not for where deployment {row.id} is")

    def deployments(
        self,
        *,
        limit: int = 50,
        before_id: str = "",
        status: str = "",
        wanted: DeploymentFilter = ALL_DEPLOYMENTS,
    ) -> list[DeploymentView]:
        """Return deployments that are wanted and may be seen, newest first; see `Service.deployments`.

        Raises:
            ConfigError: `before_id` is no id.
        """
        if before_id and not is_id(before_id):
            raise ConfigError(f"is the id of a deployment, found {before_id[:60]!a}", key="before_id")
        if not any(one in self.who.scopes for one in (*SEEING, Scope.ADMIN)):
            self.who.require(Scope.READ)
        narrow = self._narrowed(wanted)
        if narrow is None:
            return []
        found: list[DeploymentView] = []
        count = min(max(limit, 1), PAGE_COUNT)
        for view in self._pages(narrow, status, before_id, count):
            if may_any(self.who, SEEING, place_of_row(view.row)):
                found.append(view)
            if len(found) == count:
                break
        return found

    def _narrowed(self, wanted: DeploymentFilter) -> DeploymentFilter | None:
        reader = self._service.reader
        return narrowed(wanted, self.who.limits, lambda: reader.counts_by_place(wanted))

    def _pages(
        self, wanted: DeploymentFilter, status: str, before_id: str, count: int
    ) -> Iterator[DeploymentView]:
        """Yield what is wanted, page by page: the first is mostly enough."""
        while True:
            page = self._service.deployments(limit=count, before_id=before_id, status=status, wanted=wanted)
            yield from page
            if len(page) < count:
                return
            before_id, count = page[-1].row.id, PAGE_COUNT

    def counts_by_status(self, wanted: DeploymentFilter = ALL_DEPLOYMENTS) -> dict[str, int]:
        """Return how many deployments of those that are wanted and may be seen have each status."""
        narrow = self._narrowed(wanted)
        counts: Counter[str] = Counter()
        for one in self._service.reader.counts_by_place(narrow) if narrow is not None else ():
            if may_any(self.who, SEEING, Place(one.group, one.environment)):
                counts[one.status] += one.count
        return dict(counts)

    def plan(self, deployment_id: str) -> Plan:
        """Return the plan that a deployment was started with; see `Service.plan`."""
        self.deployment(deployment_id)
        return self._service.plan(deployment_id)

    def events(self, deployment_id: str, *, after_seq: int = 0, limit: int = PAGE_COUNT) -> list[EventView]:
        """Return what happened, in order; see `Service.events`."""
        self.deployment(deployment_id)
        return self._service.events(deployment_id, after_seq=after_seq, limit=limit)

    def attempts(
        self, deployment_id: str, *, after_number: int = 0, limit: int = PAGE_COUNT
    ) -> list[AttemptView]:
        """Return attempts in order; see `Service.attempts`."""
        self.deployment(deployment_id)
        return self._service.attempts(deployment_id, after_number=after_number, limit=limit)

    def log_lines(
        self, deployment_id: str, *, after_no: int = 0, limit: int = PAGE_COUNT, is_tail: bool = False
    ) -> list[LogLine]:
        """Return lines of output; see `Service.log_lines`."""
        self.deployment(deployment_id)
        return self._service.log_lines(deployment_id, after_no=after_no, limit=limit, is_tail=is_tail)

    def submit(
        self,
        text: str,
        dynamic: Mapping[str, Any] | None = None,
        *,
        terms: Terms = _NO_TERMS,
        playbook_id: str = "",
        source: str = "playbook",
    ) -> str:
        """Start a deployment of a playbook's text; return its id, or that which the same request has started.

        What is allowed is the plan that is stored, with all its hosts.

        Args:
            text: YAML or JSON.
            dynamic: values for the names that steps list.
            terms: how it is asked for.
            playbook_id: of the stored playbook that the text is of; empty is none.
            source: name of the playbook for errors.

        Raises:
            PlaybookInvalid: nothing was started.
            KeyReused: the idempotency key has started another request.
            ConfigError: the idempotency key is too long.
        """
        with self.guard.doing("deployment.start", why=terms.reason) as deed:
            deed.require(Scope.RUN)
            origin = submission.asked_by(self.who, terms, playbook_id)
            before = self._started(origin)
            if before is not None:
                return before
            draft = self._service.library.draft(text, dynamic or {}, source, terms.domains)
            deed.require(Scope.RUN, place_of(draft.plan))
            return self._service.with_note(deed.note).start(draft, origin)

    def _started(self, origin: submission.Origin) -> str | None:
        """Return what this request has started before, though its playbook may be another or wrong by now."""
        if not origin.idempotency_key:
            return None
        row = self._service.reader.deployment_with_key(origin.idempotency_key)
        if row is None:
            return None
        submission.require_same(row, origin)
        self.guard.require((Scope.RUN,), place_of_row(row))
        return row.id

    def retry(
        self,
        deployment_id: str,
        scope: Part | None = None,
        *,
        text: str = "",
        dynamic: Mapping[str, Any] | None = None,
        reason: str = "",
        source: str = "playbook",
    ) -> str:
        """Start a deployment that continues one which has ended; see `Service.retry`.

        Who asks must be allowed what was done there as well as what is to be done.
        """
        with self.guard.doing("deployment.retry", deployment_id, reason) as deed:
            self._admit(deed, (Scope.RUN,))
            found = self._service.continuation(
                deployment_id, scope, text=text, dynamic=dynamic, source=source
            )
            deed.require(Scope.RUN, place_of(found.draft.plan))
            origin = msgspec.structs.replace(
                found.origin, actor=self.who.name, reason=reason, source_ip=self.who.source_ip
            )
            noted = self._service.with_note(deed.note)
            return noted.start(found.draft, origin, resumption=found.resumption)

    def cancel(self, deployment_id: str, *, reason: str = "") -> Result:
        """Ask for the end of a deployment; see `Service.cancel`."""
        return self._act(
            "deployment.cancel",
            deployment_id,
            (Scope.CANCEL,),
            reason,
            lambda core: core.cancel(deployment_id, actor=self.who.name, reason=reason),
        )

    def pause(self, deployment_id: str, *, reason: str = "") -> Result:
        """Dispatch nothing new until resumed; see `Service.pause`."""
        return self._act(
            "deployment.pause",
            deployment_id,
            (Scope.RUN, Scope.CANCEL),
            reason,
            lambda core: core.pause(deployment_id, actor=self.who.name, reason=reason),
        )

    def resume(self, deployment_id: str, *, reason: str = "") -> Result:
        """Go on after a pause; see `Service.resume`."""
        return self._act(
            "deployment.resume",
            deployment_id,
            (Scope.RUN,),
            reason,
            lambda core: core.resume(deployment_id, actor=self.who.name, reason=reason),
        )

    def decide(self, deployment_id: str, attempt: int, decision: Decision, *, reason: str = "") -> Result:
        """End the doubt about an attempt; see `Service.decide`."""
        return self._act(
            "deployment.decide",
            deployment_id,
            (Scope.APPROVE,),
            f"{decision}: {reason}" if reason else str(decision),
            lambda core: core.decide(deployment_id, attempt, decision, actor=self.who.name, reason=reason),
        )

    def approve(self, deployment_id: str, attempt: int = 0, *, reason: str = "") -> Result:
        """Consent to what waits for it; see `Service.approve`."""
        return self._act(
            "deployment.approve",
            deployment_id,
            (Scope.APPROVE,),
            reason,
            lambda core: core.approve(deployment_id, attempt, actor=self.who.name, reason=reason),
        )

    def refuse(self, deployment_id: str, attempt: int = 0, *, reason: str = "") -> Result:
        """Refuse what waits for consent; see `Service.refuse`."""
        return self._act(
            "deployment.refuse",
            deployment_id,
            (Scope.APPROVE,),
            reason,
            lambda core: core.refuse(deployment_id, attempt, actor=self.who.name, reason=reason),
        )

    def _act(self, action: str, deployment_id: str, scopes: tuple[Scope, ...], why: str, act: Act) -> Result:
        with self.guard.doing(action, deployment_id, why) as deed:
            self._admit(deed, scopes)
            result = act(self._service.with_note(deed.note))
            if not deed.is_noted:
                # there was nothing to put it to
                deed.keep(Outcome.FAILED, result.reason)
            return result

    def _admit(self, deed: Deed, scopes: tuple[Scope, ...]) -> None:
        """Let a deed pass if it may be done to its deployment, on all hosts of it.

        Raises:
            DeploymentNotFound: no such deployment.
            Forbidden: it may not.
        """
        _require_id(deed.target)
        row = self._service.reader.deployment(deed.target)
        deed.require(scopes)
        self._require_seen(row)
        deed.require(scopes, place_of_row(row))
        if self.who.limits.hosts:
            deed.require(scopes, place_of(self._service.plan(row.id)))


def _require_id(deployment_id: str) -> None:
    """Pass over what no deployment has as its id, whatever characters it is of."""
    if not is_id(deployment_id):
        raise DeploymentNotFound(deployment_id)
