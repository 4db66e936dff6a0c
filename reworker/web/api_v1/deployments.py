"""Deployments: list and get."""

from __future__ import annotations

import msgspec

from reworker.core.principal import Scope
from reworker.core.service import DeploymentView
from reworker.web.operations import Call, Operation


class Deployment(msgspec.Struct, frozen=True):
    """A deployment as the API shows it."""

    id: str
    group: str
    name: str
    status: str


def _get(call: Call) -> Deployment:
    return _shown(call.site.service.deployment(call.path["deployment_id"]))


def _shown(view: DeploymentView) -> Deployment:
    return Deployment(view.row.id, view.row.group, view.row.name, str(view.state.status))


OPERATIONS = (
    Operation(
        method="GET",
        path="/deployments/{deployment_id}",
        do=_get,
        scope=Scope.READ,
        summary="Get a deployment",
        tag="deployment",
        answer=Deployment,
        errors=(404,),
    ),
)
