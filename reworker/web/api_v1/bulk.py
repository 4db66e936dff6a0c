"""One action on many deployments: each has its own result, and one that fails leaves the others alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import msgspec
from msgspec import Meta

from reworker.core.principal import Scope
from reworker.errors import DeploymentNotFound, ReworkerError
from reworker.ids import is_id
from reworker.web.api_v1.actions import require_changed
from reworker.web.api_v1.deployments import Reason
from reworker.web.api_v1.serving import core_of
from reworker.web.errors import HttpProblem, problem_of
from reworker.web.operations import Call, Operation

#: deployments that one request is about at most.
MOST_COUNT = 100


class Many(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Deployments, and why.

    Args:
        ids: of the deployments, each once.
    """

    ids: Annotated[tuple[str, ...], Meta(min_length=1, max_length=MOST_COUNT)]
    reason: Reason = ""


class OneResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the request for one deployment.

    Args:
        id: of the deployment.
        changed: it was done.
        status: that the request alone would have been answered with.
        deployment: the one that goes on with it, after a retry.
        problem: the short name of the problem; empty when it was done.
        detail: why it was not done.
    """

    id: str
    changed: bool
    status: int
    deployment: str | None = None
    problem: str = ""
    detail: str = ""


class ManyResults(msgspec.Struct, frozen=True):
    """What became of each.

    Args:
        items: in the order of the request.
        changed: how many were done.
    """

    items: list[OneResult]
    changed: int


def _cancel(call: Call) -> ManyResults:
    core = core_of(call)

    def cancel(own_id: str) -> OneResult:
        require_changed(own_id, core.cancel(own_id, reason=call.body.reason))
        return OneResult(id=own_id, changed=True, status=200)

    return _each(call, cancel)


def _retry(call: Call) -> ManyResults:
    core = core_of(call)

    def retry(own_id: str) -> OneResult:
        made = core.retry(own_id, reason=call.body.reason)
        return OneResult(id=own_id, changed=True, status=201, deployment=made)

    return _each(call, retry)


def _each(call: Call, work: Callable[[str], OneResult]) -> ManyResults:
    ids = dict.fromkeys(call.body.ids)
    items = [_result(own_id, work) for own_id in ids]
    return ManyResults(items, sum(one.changed for one in items))


def _result(own_id: str, work: Callable[[str], OneResult]) -> OneResult:
    try:
        if not is_id(own_id):
            raise DeploymentNotFound(own_id[:100])
        return work(own_id)
    except (ReworkerError, HttpProblem) as error:
        problem = problem_of(error)
        return OneResult(
            id=own_id, changed=False, status=problem.status, problem=problem.name, detail=problem.detail
        )


OPERATIONS = (
    Operation(
        method="POST",
        path="/deployments/actions/cancel",
        do=_cancel,
        scope=Scope.CANCEL,
        summary=f"Cancel up to {MOST_COUNT} deployments",
        tag="action",
        body=Many,
        answer=ManyResults,
    ),
    Operation(
        method="POST",
        path="/deployments/actions/retry",
        do=_retry,
        scope=Scope.RUN,
        summary=f"Go on with up to {MOST_COUNT} deployments that have ended",
        tag="action",
        body=Many,
        answer=ManyResults,
    ),
)
