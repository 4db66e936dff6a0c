"""Deployments: list, get and start."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from starlette.responses import Response

from reworker.core import submission
from reworker.core.places import SEEING
from reworker.core.principal import Scope
from reworker.core.waiting import as_now
from reworker.fsm.domains import domains_by_command
from reworker.fsm.states import DeploymentStatus
from reworker.storage.contract import DeploymentFilter
from reworker.web.api_v1.paging import PageQuery, page_from, place_of
from reworker.web.api_v1.serving import core_of, deployment_id, playbook_id
from reworker.web.api_v1.shapes import Deployment, deployment_of
from reworker.web.errors import HttpProblem
from reworker.web.operations import JSON_TYPE, Call, Operation

Reason = Annotated[
    str,
    Meta(
        max_length=1000, description="Why, in a person's words; kept in the history.", examples=["release 7"]
    ),
]
DomainsByCommand = Annotated[
    dict[str, str | list[str]],
    Meta(
        description="Domains by command, `*` for all; a list is tried in order, `NO_DOMAIN` is without one.",
        examples=[{"megafrobber": ["blue", "NO_DOMAIN"], "*": "green"}],
    ),
]
Values = Annotated[
    dict[str, Any],
    Meta(description="Values by name, for `params` and dynamic names.", examples=[{"color": "red"}]),
]
#: a text, with what it may look like.
PlaybookYaml = Annotated[
    str,
    Meta(examples=["group: web\nname: restart\nexecution:\n- hosts: [web1]\n  steps: [noop:Do]\n"]),
]
Time = Annotated[datetime, Meta(tz=True)]
_KIND = "deployments"


class Deployments(msgspec.Struct, frozen=True):
    """A page of deployments, newest first.

    Args:
        items: the deployments.
        next: cursor of the next page; null at the end.
    """

    items: list[Deployment]
    next: str | None


class DeploymentQuery(PageQuery, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which deployments; each filter that is given has to fit.

    Args:
        id: the beginning of the id.
        group: one of these; may be given several times.
        environment: one of these; may be given several times, and empty for nowhere in particular.
        status: one of these; may be given several times.
        name: is part of the playbook's name; capitals do not count.
        playbook: id of the stored playbook.
        actor: who started it.
        created_after: started at this time or later.
        created_before: started before this time.
        kind: ``task`` lists those of code packages, ``all`` both.
        include: ``state`` adds all that the machine knows.
    """

    id: Annotated[str, Meta(pattern="^[0-9a-f]{0,24}$")] = ""
    group: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    status: tuple[DeploymentStatus, ...] = ()
    name: str = ""
    playbook: str = ""
    actor: str = ""
    created_after: Time | None = None
    created_before: Time | None = None
    kind: Literal["deployment", "task", "all"] = "deployment"
    include: Literal["", "state"] = ""


class DeploymentParts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to show of a deployment.

    Args:
        include: ``state`` adds all that the machine knows.
    """

    include: Literal["", "state"] = ""


class NewDeployment(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What to start: a playbook's text, or a stored playbook.

    Args:
        text: YAML or JSON of the playbook.
        playbook_id: of a stored playbook, in place of the text.
        version: of the stored playbook; 0 is the newest.
        unattended: nobody can be asked; a doubt fails the deployment.
        domains: where the workers of commands stand; they hold before what the playbook says.
    """

    text: PlaybookYaml = ""
    playbook_id: str = ""
    version: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 0
    values: Values = {}
    unattended: bool = False
    reason: Reason = ""
    domains: DomainsByCommand = {}


class PlaybookRun(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How to run a stored playbook.

    Args:
        version: 0 is the newest.
        unattended: nobody can be asked; a doubt fails the deployment.
        domains: where the workers of commands stand; they hold before what the playbook says.
    """

    version: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 0
    values: Values = {}
    unattended: bool = False
    reason: Reason = ""
    domains: DomainsByCommand = {}


def _get(call: Call) -> Deployment:
    view = core_of(call).deployment(deployment_id(call))
    (now,) = as_now(call.site.service.reader, [view])
    return deployment_of(now, has_state=call.query.include == "state")


def _list(call: Call) -> Deployments:
    query: DeploymentQuery = call.query
    before_id = place_of(query, _KIND) or _behind(query.id)
    wanted = DeploymentFilter(
        statuses=query.status,
        groups=query.group,
        environments=query.environment,
        playbook_id=query.playbook,
        actor=query.actor,
        name=query.name,
        created_after=query.created_after,
        created_before=query.created_before,
        is_task=None if query.kind == "all" else query.kind == "task",
    )
    views = core_of(call).deployments(limit=query.limit + 1, before_id=before_id, wanted=wanted)
    shown = [one for one in as_now(call.site.service.reader, views) if one.row.id.startswith(query.id)]
    show = partial(deployment_of, has_state=query.include == "state")
    items, after = page_from(query, _KIND, shown, key=lambda one: one.row.id, show=show)
    return Deployments(items, after)


def _behind(beginning: str) -> str:
    """Return the first id behind those that begin like this; empty for the end of all ids."""
    number = int(f"{beginning:f<24}", 16) + 1
    return f"{number:024x}" if beginning and number < 16**24 else ""


def _start(call: Call) -> Response:
    body: NewDeployment = call.body
    if bool(body.text) is bool(body.playbook_id):
        reason = "give either `text`, a playbook, or `playbook_id`, of a stored one"
        raise HttpProblem(422, "invalid-body", reason, {"path": "text"})
    if not body.playbook_id:
        return _started(call, body.text, "")
    stored = core_of(call).library.playbook(body.playbook_id, body.version)
    return _started(call, stored.text, stored.id)


def _run(call: Call) -> Response:
    stored = core_of(call).library.playbook(playbook_id(call), call.body.version)
    return _started(call, stored.text, stored.id)


def _started(call: Call, text: str, of_playbook: str) -> Response:
    body: NewDeployment | PlaybookRun = call.body
    terms = submission.Terms(
        idempotency_key=call.request.headers.get("idempotency-key", ""),
        request=b"\0".join((call.request.url.path.encode(), call.raw)),
        is_unattended=body.unattended,
        reason=body.reason,
        domains=domains_by_command(body.domains, "domains"),
    )
    core = core_of(call)
    own_id = core.submit(text, body.values, terms=terms, playbook_id=of_playbook)
    return made(deployment_of(core.deployment(own_id)))


def made(deployment: Deployment) -> Response:
    """Return the answer to a request that has started a deployment."""
    headers = {"Location": f"/api/v1/deployments/{deployment.id}"}
    return Response(msgspec.json.encode(deployment), 201, headers, JSON_TYPE)


OPERATIONS = (
    Operation(
        method="GET",
        path="/deployments",
        do=_list,
        scope=Scope.READ,
        also=SEEING,
        summary="List deployments, newest first",
        tag="deployment",
        query=DeploymentQuery,
        answer=Deployments,
    ),
    Operation(
        method="POST",
        path="/deployments",
        do=_start,
        scope=Scope.RUN,
        summary="Start a deployment",
        description="The same `Idempotency-Key` and body again give the deployment that was started first.",
        tag="deployment",
        body=NewDeployment,
        answer=Deployment,
        status=201,
        errors=(404, 409),
        has_key=True,
    ),
    Operation(
        method="POST",
        path="/playbooks/{playbook_id}/deployments",
        do=_run,
        scope=Scope.RUN,
        summary="Start a deployment of a stored playbook",
        description="The same `Idempotency-Key` and body again give the deployment that was started first.",
        tag="deployment",
        body=PlaybookRun,
        answer=Deployment,
        status=201,
        errors=(404, 409),
        has_key=True,
    ),
    Operation(
        method="GET",
        path="/deployments/{deployment_id}",
        do=_get,
        scope=Scope.READ,
        also=SEEING,
        summary="Get a deployment",
        tag="deployment",
        query=DeploymentParts,
        answer=Deployment,
        errors=(404,),
    ),
)
