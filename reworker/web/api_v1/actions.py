"""What people say to do with a deployment: each answer tells that it was done, or why nothing changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.responses import Response

from reworker.core import resumption
from reworker.core.again import made_from
from reworker.core.batch import Applied, Result
from reworker.core.principal import Scope
from reworker.core.submission import Terms
from reworker.fsm.events import Decision
from reworker.fsm.states import DeploymentStatus
from reworker.web.api_v1.deployments import Reason, Values, made
from reworker.web.api_v1.serving import core_of, deployment_id
from reworker.web.api_v1.shapes import Deployment, deployment_of
from reworker.web.errors import HttpProblem
from reworker.web.operations import Call, Operation

#: the largest number that an attempt can have.
ATTEMPT_COUNT = 999_999_999
AttemptNumber = Annotated[int, Meta(ge=0, le=ATTEMPT_COUNT)]


class Why(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why something is done."""

    reason: Reason = ""


class Consent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is approved or refused, and why.

    Args:
        attempt: its number; 0 is all that waits for an approval.
    """

    attempt: AttemptNumber = 0
    reason: Reason = ""


class Verdict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What became of an attempt, and how that is known.

    Args:
        attempt: its number; 0 is the only one that waits for a decision.
        decision: retry does it again, skip passes over it, fail and complete say how it ended.
    """

    attempt: AttemptNumber = 0
    decision: Decision
    reason: Annotated[str, Meta(min_length=1, max_length=1000)]


class Continuation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How to go on with a deployment that has ended.

    Args:
        text: the playbook, edited; empty takes it as it was.
        start: a step's number, id or key, perhaps with ``@<host>``: begin there, whatever was done.
        hosts: only these; the one name ``failed`` is those on which a step failed.
    """

    text: str = ""
    values: Values = {}
    start: Annotated[str, Meta(max_length=1000)] = ""
    hosts: Annotated[tuple[str, ...], Meta(max_length=10_000)] = ()
    reason: Reason = ""


class Done(msgspec.Struct, frozen=True):
    """What a request has changed.

    Args:
        id: of the deployment.
        changed: true; when nothing changed the answer is a problem that says why.
        status: of the deployment by now.
    """

    id: str
    changed: bool
    status: DeploymentStatus


def _cancel(call: Call) -> Done:
    return _done(call, lambda own_id: core_of(call).cancel(own_id, reason=call.body.reason))


def _pause(call: Call) -> Done:
    return _done(call, lambda own_id: core_of(call).pause(own_id, reason=call.body.reason))


def _resume(call: Call) -> Done:
    return _done(call, lambda own_id: core_of(call).resume(own_id, reason=call.body.reason))


def _approve(call: Call) -> Done:
    return _done(
        call, lambda own_id: core_of(call).approve(own_id, call.body.attempt, reason=call.body.reason)
    )


def _refuse(call: Call) -> Done:
    return _done(
        call, lambda own_id: core_of(call).refuse(own_id, call.body.attempt, reason=call.body.reason)
    )


def _decide(call: Call) -> Done:
    said: Verdict = call.body
    return _done(
        call,
        lambda own_id: core_of(call).decide(own_id, said.attempt, said.decision, reason=call.body.reason),
    )


def _retry(call: Call) -> Response:
    body: Continuation = call.body
    core = core_of(call)
    own_id = core.retry(
        deployment_id(call),
        resumption.Scope(body.start, body.hosts),
        text=body.text,
        dynamic=body.values,
        reason=call.body.reason,
    )
    return made(deployment_of(core.deployment(own_id)))


def _again(call: Call) -> Response:
    own_id, core = deployment_id(call), core_of(call)
    plan, row = core.plan(own_id), core.deployment(own_id).row
    making = made_from(call.site.service.reader, row, plan)
    key = call.request.headers.get("idempotency-key", "")
    request = b"\0".join((call.request.url.path.encode(), call.raw))
    terms = Terms(key, request, reason=call.body.reason, domains=making.domains)
    text, values = making.text, making.values
    made_id = core.submit(text, values, terms=terms, playbook_id=making.playbook_id, source=making.name)
    return made(deployment_of(core.deployment(made_id)))


def _done(call: Call, work: Callable[[str], Result]) -> Done:
    own_id = deployment_id(call)
    require_changed(own_id, work(own_id))
    return Done(own_id, True, core_of(call).deployment(own_id).state.status)


def require_changed(own_id: str, result: Result) -> None:
    """Let a result pass that has changed something.

    Raises:
        HttpProblem: 409 it has not.
    """
    if result.applied is not Applied.CHANGED:
        reason = result.reason or "it was said before"
        raise HttpProblem(409, "nothing-changed", f"deployment {own_id} is as it was: {reason}")


def _action(
    name: str, do: Callable[[Call], Any], scope: Scope, summary: str, body: type[msgspec.Struct] = Why
) -> Operation:
    return Operation(
        method="POST",
        path=f"/deployments/{{deployment_id}}/{name}",
        do=do,
        scope=scope,
        summary=summary,
        tag="action",
        body=body,
        answer=Done,
        errors=(404, 409),
    )


OPERATIONS = (
    _action("cancel", _cancel, Scope.CANCEL, "End a deployment: running steps are told to stop"),
    _action("pause", _pause, Scope.RUN, "Start no further step until it is resumed"),
    _action("resume", _resume, Scope.RUN, "Go on after a pause"),
    _action("decide", _decide, Scope.APPROVE, "Say what became of an attempt", Verdict),
    _action("approve", _approve, Scope.APPROVE, "Consent to what waits for it", Consent),
    _action("refuse", _refuse, Scope.APPROVE, "Refuse what waits for consent", Consent),
    Operation(
        method="POST",
        path="/deployments/{deployment_id}/retry",
        do=_retry,
        scope=Scope.RUN,
        summary="Go on with a deployment that has ended, as a new one",
        description="The new deployment passes over the steps that were done.",
        tag="action",
        body=Continuation,
        answer=Deployment,
        status=201,
        errors=(404, 409),
    ),
    Operation(
        method="POST",
        path="/deployments/{deployment_id}/again",
        do=_again,
        scope=Scope.RUN,
        summary="Start a new deployment of the same text with the same values, from the beginning",
        description="What the operator adds is that of today.",
        tag="action",
        body=Why,
        answer=Deployment,
        status=201,
        errors=(404, 409),
        has_key=True,
    ),
)
