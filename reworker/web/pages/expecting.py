"""When deployments that run should end: by the median of earlier ones of the same playbook."""

from __future__ import annotations

from collections.abc import Iterable

from reworker.core.guarded import GuardedService
from reworker.core.reads import DeploymentView
from reworker.fsm.states import DeploymentStatus
from reworker.storage.contract import DeploymentFilter
from reworker.web.pages.deployment_head import Expectation, expectation, usual_runs

#: earlier runs that are looked at, and different playbooks that one page asks about.
RUN_COUNT, ASK_COUNT = 20, 20


def expectations(service: GuardedService, views: Iterable[DeploymentView]) -> dict[str, Expectation]:
    """Return when those should end that run and of which earlier runs are known, by id.

    Args:
        service: as the person may use it.
        views: deployments, running or not.
    """
    earlier: dict[tuple[str, str], list[DeploymentView]] = {}
    found: dict[str, Expectation] = {}
    for view in views:
        if view.is_over or view.state.started_at is None:
            continue
        key = (view.row.group, view.row.name)
        if key not in earlier and len(earlier) < ASK_COUNT:
            earlier[key] = _runs(service, *key)
        usual = expectation(view.state, usual_runs(earlier.get(key, []), view.row.id))
        if usual is not None:
            found[view.row.id] = usual
    return found


def _runs(service: GuardedService, group: str, name: str) -> list[DeploymentView]:
    wanted = DeploymentFilter(statuses=(DeploymentStatus.COMPLETED,), groups=(group,), name=name)
    found = service.deployments(limit=RUN_COUNT, wanted=wanted)
    return [one for one in found if one.row.name == name]
