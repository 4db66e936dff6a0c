"""One look at a deployment: what every page about it shows at its head, read once."""

from __future__ import annotations

from typing import Any

import msgspec

from reworker.core import submission
from reworker.core.service import DeploymentView
from reworker.core.waiting import as_now
from reworker.errors import DeploymentNotFound, Forbidden
from reworker.fsm.plan import Plan
from reworker.fsm.ranges import Ranges
from reworker.ids import is_id
from reworker.storage.contract import Reader
from reworker.web.pages.deployment_head import (
    Expectation,
    Progress,
    Wait,
    domains_words,
    headline,
    progress,
    values_words,
    waits,
)
from reworker.web.pages.deployment_previews import ACTIONS, Offer, offers, refusal
from reworker.web.pages.expecting import expectations
from reworker.web.pages.visits import Visit
from reworker.web.pages.words import TONES

#: name in the address and words of each page about a deployment.
TABS = (
    ("", "Overview"),
    ("log", "Log"),
    ("events", "Events"),
    ("messages", "Messages"),
    ("plan", "Plan"),
)
#: steps above which a page asks now and then, and not at each change: it takes a while to make.
STREAMED_COUNT = 2000


class Look(msgspec.Struct, frozen=True):
    """A deployment as it was a moment ago, and what is said about it on each of its pages.

    Args:
        view: its row and state.
        plan: its plan.
        reason: why it was started, in a person's words.
        source_ip: of who started it.
        done_before: steps that the deployment which it continues has done.
        continued_by: id of the deployment that continues it, or empty.
        version: of the stored playbook that it was made from; 0 when that is not known.
        expected: when it should end.
        waits: what it waits for.
        more_waits: how many more there are.
        offers: what can be done with it.
        refusals: why this person may not answer what waits, by the action's name; empty when they may.
    """

    view: DeploymentView
    plan: Plan
    reason: str
    source_ip: str
    done_before: Ranges
    continued_by: str
    version: int
    expected: Expectation | None
    waits: list[Wait]
    more_waits: int
    offers: list[Offer]
    refusals: dict[str, str]

    @property
    def url(self) -> str:
        """Address of its first page."""
        return f"/deployments/{self.view.row.id}"

    @property
    def title(self) -> str:
        """What people call it."""
        return f"{self.view.row.group} / {self.view.row.name}"

    @property
    def words(self) -> str:
        """Its status in words."""
        return headline(self.view.state.status)[0]

    @property
    def sign(self) -> str:
        """A sign of its status, for the title of the tab."""
        return headline(self.view.state.status)[1]

    @property
    def tone(self) -> str:
        """How its status is drawn."""
        return TONES.get(str(self.view.state.status), "plain")

    @property
    def progress(self) -> Progress:
        """How far it is."""
        return progress(self.view)

    @property
    def values(self) -> str:
        """What it was started with, in a line."""
        return values_words(self.plan.dynamic)

    @property
    def domains(self) -> str:
        """Where its workers stand, as it was said for it alone; empty when nothing was."""
        return domains_words(self.plan.domains)

    @property
    def duration_s(self) -> float | None:
        """How long it took, once it has ended."""
        state = self.view.state
        begun_at = state.started_at or state.created_at
        return (state.ended_at - begun_at).total_seconds() if state.ended_at and begun_at else None

    @property
    def is_streamed(self) -> bool:
        """Tell whether its pages follow each change at once."""
        return self.view.row.step_count <= STREAMED_COUNT


def look_at(visit: Visit) -> Look:
    """Return the deployment in the address.

    Raises:
        DeploymentNotFound: there is none, or it is none of theirs.
        Forbidden: they may not see it.
    """
    own_id = deployment_id(visit)
    reader: Reader = visit.site.service.reader
    (view,) = as_now(reader, [visit.service.deployment(own_id)])
    plan = visit.site.service.plan(own_id)
    begun = _begun(visit, own_id)
    found, more = waits(view, plan, visit.site.clock.now())
    found = [_linked(visit, one) for one in found]
    return Look(
        view=view,
        plan=plan,
        reason=str(begun.get("reason") or ""),
        source_ip=str(begun.get("source_ip") or ""),
        done_before=msgspec.convert(begun.get("done") or (), Ranges),
        continued_by=_continued_by(reader, view),
        version=_version(reader, view),
        expected=expectations(visit.service, [view]).get(own_id),
        waits=found,
        more_waits=more,
        offers=offers(view, plan, visit.who),
        refusals={name: refusal(one, plan, visit.who) for name, one in ACTIONS.items()},
    )


def deployment_id(visit: Visit) -> str:
    """Return the id in the address.

    Raises:
        DeploymentNotFound: it is no id.
    """
    own_id = visit.path("deployment_id")
    if not is_id(own_id):
        raise DeploymentNotFound(own_id[:100])
    return own_id


def _begun(visit: Visit, own_id: str) -> dict[str, Any]:
    """Return what the first event says."""
    first = visit.site.service.events(own_id, limit=1)
    return first[0].data if first and first[0].kind == "Submitted" else {}


def _linked(visit: Visit, wait: Wait) -> Wait:
    """Return a wait without a link to a deployment of others, which they may not open."""
    if wait.link:
        try:
            visit.service.deployment(wait.link.rpartition("/")[2])
        except (DeploymentNotFound, Forbidden):
            return msgspec.structs.replace(wait, link="")
    return wait


def _continued_by(reader: Reader, view: DeploymentView) -> str:
    row = reader.deployment_with_key(f"{submission.RESUMED}{view.row.id}") if view.is_over else None
    return row.id if row is not None else ""


def _version(reader: Reader, view: DeploymentView) -> int:
    if view.row.playbook_version is not None:
        return view.row.playbook_version
    playbook_id = view.row.playbook_id
    source = reader.source(view.row.id) if playbook_id else None
    if playbook_id is None or source is None or source.text is None:
        return 0
    return reader.playbook_version(playbook_id, submission.digest_of(source.text))
