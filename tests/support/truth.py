"""The checker of the drill, on a system of processes: the end of it all is waited for, then judged."""

from __future__ import annotations

from collections import Counter, defaultdict
from contextlib import suppress

from reworker.drill.truth import attempts_of, evidence_of, leftovers, messages_left, problems_of
from reworker.drill.worker import Mark
from reworker.fsm.events import Decision
from reworker.fsm.states import AttemptStatus, DeploymentStatus
from tests.support.system import READY_S, System
from tests.support.waiting import wait_until


def settle_doubts(system: System) -> None:
    """Decide, as a person would, to try again what is in doubt."""
    while waiting := [one for one in system.wait_for_rest() if one.state.status is DeploymentStatus.WAITING]:
        for view in waiting:
            assert view.state.reason, f"{view.row.id} does not say why it waits"
            rows = attempts_of(system.service, view.row.id)
            (doubtful,) = [row for row in rows if row.status == AttemptStatus.UNKNOWN][-1:]
            system.service.decide(view.row.id, doubtful.number, Decision.RETRY, actor="test")


def check_all(system: System) -> Counter[str]:
    """Wait for the end of every deployment, stop everything, and check all of it; count the outcomes."""
    settle_doubts(system)
    views = system.wait_for_rest()
    # A cancel may be on its way yet; should it stay where it is, the check that follows finds it.
    with suppress(TimeoutError):
        wait_until(lambda: not system.storage.reader.outbox_count(), READY_S)
    found = messages_left(system.stop()) + leftovers(system.storage)
    marks: dict[str, list[Mark]] = defaultdict(list)
    for mark in system.marks():
        marks[mark.deployment_id].append(mark)
    for own_id, order in system.orders.items():
        found += problems_of(
            evidence_of(system.storage, system.service, own_id, order, marks.pop(own_id, []))
        )
    assert not found, "\n".join([*(one.text for one in found), system.words()])
    assert not marks, f"effects of deployments that do not exist: {marks}"
    return Counter(str(view.state.status) for view in views)
