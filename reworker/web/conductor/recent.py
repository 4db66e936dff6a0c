"""Tasks by their names within a workflow, for clients that know no ids."""

from __future__ import annotations

from collections import OrderedDict

from reworker.gateway.contract import Offer
from reworker.web.conductor.documents import reference_name, workflow_id

#: tasks that are remembered.
RECENT_COUNT = 10_000


class RecentOffers:
    """What was offered lately; the event loop's thread."""

    def __init__(self) -> None:
        self._ids: OrderedDict[tuple[str, str], str] = OrderedDict()

    def note(self, offer: Offer) -> None:
        """Remember an offer: of several with one name, the last counts."""
        for workflow in {workflow_id(offer), offer.attempt_id}:
            self._ids[workflow, reference_name(offer)] = offer.task_id
        while len(self._ids) > RECENT_COUNT:
            self._ids.popitem(last=False)

    def find(self, workflow: str, name: str) -> str:
        """Return the id of a task; empty when there is none."""
        return self._ids.get((workflow, name), "")
