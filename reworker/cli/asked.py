"""What commands ask: the core's service on a database, or the same on a server, behind one contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from reworker.core import history, submission
from reworker.core.again import made_from
from reworker.core.service import DeploymentView, Service
from reworker.core.waiting import as_now
from reworker.fsm.rules_json import rules_from_json
from reworker.storage.rows import ALL_DEPLOYMENTS, DeploymentFilter

if TYPE_CHECKING:
    from reworker.core.batch import Result
    from reworker.core.recorder import LogLine
    from reworker.core.resumption import Scope
    from reworker.core.service import AttemptView, EventView
    from reworker.core.submission import Terms
    from reworker.fsm.events import Decision
    from reworker.fsm.plan import Plan
    from reworker.fsm.rules import Rules
    from reworker.storage.contract import PlaybookRow

#: seconds between two looks while following a deployment: at a database, and at a server.
LOCAL_LOOK_S, SERVER_LOOK_S = 0.05, 0.5
#: what comes after every id that has the same beginning.
_BEHIND = "g"


class AskedLibrary(Protocol):
    """Stored playbooks; see `core.library.Library`."""

    def store(self, text: str, *, actor: str = "", playbook_id: str = "") -> PlaybookRow:
        """Store a playbook or a new version."""
        ...

    def remove(self, playbook_id: str, *, actor: str = "") -> None:
        """Remove a playbook."""
        ...

    def playbook(self, playbook_id: str, version: int = 0) -> PlaybookRow:
        """Return a version; 0 is the newest."""
        ...

    def playbooks(self, *, group: str = "") -> list[PlaybookRow]:
        """Return the newest version of each; the text may be left out."""
        ...


class AskedReads(Protocol):
    """Reading deployments; what is not explained here is as in `core.service.Service`."""

    def deployment(self, deployment_id: str) -> DeploymentView:
        """Return a deployment."""
        ...

    def deployments(
        self,
        *,
        limit: int = 50,
        before_id: str = "",
        status: str = "",
        wanted: DeploymentFilter = ALL_DEPLOYMENTS,
    ) -> list[DeploymentView]:
        """Return deployments, newest first."""
        ...

    def ids_beginning(self, text: str, limit: int) -> list[str]:
        """Return ids of deployments that begin with this, at most so many."""
        ...

    def now(self, views: Sequence[DeploymentView]) -> list[DeploymentView]:
        """Return deployments with what they wait for at this moment."""
        ...

    def plan(self, deployment_id: str) -> Plan:
        """Return the plan of a deployment."""
        ...

    def rules_of(self, deployment_id: str) -> Rules | None:
        """Return the rules that a deployment was made with, as far as they can be known."""
        ...

    def events(self, deployment_id: str, *, after_seq: int = 0) -> list[EventView]:
        """Return events after a number, a page of them."""
        ...

    def attempts(self, deployment_id: str, *, after_number: int = 0) -> list[AttemptView]:
        """Return attempts after a number, a page of them."""
        ...

    def log_lines(self, deployment_id: str, *, after_no: int = 0) -> list[LogLine]:
        """Return lines of output after a number, a page of them."""
        ...

    def problems(self, deployment_id: str) -> list[str]:
        """Return what is wrong with the history of a deployment."""
        ...


class Asked(AskedReads, Protocol):
    """All that commands ask about deployments and stored playbooks."""

    #: seconds between two looks while following.
    look_s: float

    @property
    def library(self) -> AskedLibrary:
        """Stored playbooks."""
        ...

    def begin(
        self,
        text: str,
        dynamic: Mapping[str, Any],
        *,
        actor: str,
        terms: Terms,
        playbook_id: str = "",
        source: str = "playbook",
    ) -> str:
        """Start a deployment of a text, or of the stored playbook that it is of; return its id."""
        ...

    def cancel(self, deployment_id: str, *, actor: str = "", reason: str = "") -> Result:
        """Ask for its end."""
        ...

    def pause(self, deployment_id: str, *, actor: str = "", reason: str = "") -> Result:
        """Dispatch nothing new."""
        ...

    def resume(self, deployment_id: str, *, actor: str = "", reason: str = "") -> Result:
        """Go on after a pause."""
        ...

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
        """Continue one that has ended, as a new one; return its id."""
        ...

    def again(self, deployment_id: str, *, actor: str = "", reason: str = "") -> str:
        """Start a new one of the same text with the same values; return its id."""
        ...

    def decide(
        self, deployment_id: str, attempt: int, decision: Decision, *, actor: str = "", reason: str = ""
    ) -> Result:
        """End a doubt."""
        ...

    def approve(self, deployment_id: str, attempt: int = 0, *, actor: str = "", reason: str = "") -> Result:
        """Consent."""
        ...

    def refuse(self, deployment_id: str, attempt: int = 0, *, actor: str = "", reason: str = "") -> Result:
        """Do not consent."""
        ...


class LocalCore(Service):
    """The service on a database, with what only commands ask."""

    look_s = LOCAL_LOOK_S

    def begin(
        self,
        text: str,
        dynamic: Mapping[str, Any],
        *,
        actor: str,
        terms: Terms,
        playbook_id: str = "",
        source: str = "playbook",
    ) -> str:
        """Start a deployment; see `Asked` and `Service.submit`."""
        asked = submission.asked_for(actor, terms.idempotency_key, is_unattended=terms.is_unattended)
        origin = msgspec.structs.replace(asked, playbook_id=playbook_id or None, reason=terms.reason)
        return self.start(self.library.draft(text, dynamic, source, terms.domains), origin)

    def again(self, deployment_id: str, *, actor: str = "", reason: str = "") -> str:
        """Start a deployment anew; see `Asked`."""
        found = made_from(self.reader, self.deployment(deployment_id).row, self.plan(deployment_id))
        terms, of = submission.Terms(reason=reason, domains=found.domains), found.playbook_id
        return self.begin(
            found.text, found.values, actor=actor, terms=terms, playbook_id=of, source=found.name
        )

    def ids_beginning(self, text: str, limit: int) -> list[str]:
        """Return ids that begin with a text; see `Asked`."""
        rows = self.deployments(limit=limit, before_id=text + _BEHIND)
        return [one.row.id for one in rows if one.row.id.startswith(text)]

    def now(self, views: Sequence[DeploymentView]) -> list[DeploymentView]:
        """Read the locks; see `Asked`."""
        return as_now(self.reader, views)

    def rules_of(self, deployment_id: str) -> Rules | None:
        """Return the rules as far as they were kept; see `Asked`."""
        source = self.reader.source(deployment_id)
        return rules_from_json(msgspec.json.decode(source.rules)) if source and source.rules else None

    def problems(self, deployment_id: str) -> list[str]:
        """Prove the history here; see `Asked`."""
        return history.problems(self.reader, deployment_id)
