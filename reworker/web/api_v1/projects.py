"""Projects: list, make, get. Codes, tasks and schedules belong to one."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.responses import Response

from reworker.core.principal import Scope
from reworker.core.tasks.projects import DEFAULT_NAME, NAME_CHARACTERS
from reworker.core.tasks.rights import SEEING
from reworker.core.tasks.views import Project, project_of
from reworker.web.api_v1.paging import PageQuery, offset_of, page_at
from reworker.web.api_v1.serving import tasks_of
from reworker.web.operations import JSON_TYPE, Call, Operation

_KIND = "projects"


class Projects(msgspec.Struct, frozen=True):
    """A page of projects, by name.

    Args:
        items: the projects.
        next: cursor of the next page; null at the end.
    """

    items: list[Project]
    next: str | None


class NewProject(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A project to make.

    Args:
        name: of it, and the group of the deployments of its tasks.
    """

    name: Annotated[str, Meta(min_length=1, max_length=NAME_CHARACTERS)]


def _list(call: Call) -> Projects:
    query: PageQuery = call.query
    offset = offset_of(query, _KIND)
    rows = tasks_of(call).projects.all(limit=query.limit + 1, offset=offset)
    items, after = page_at(query, _KIND, rows, offset, project_of)
    return Projects(items, after)


def _add(call: Call) -> Response:
    found = project_of(tasks_of(call).projects.add(call.body.name))
    headers = {"Location": f"/api/v1/projects/{found.id}"}
    return Response(msgspec.json.encode(found), 201, headers, JSON_TYPE)


def _get(call: Call) -> Project:
    return project_of(tasks_of(call).projects.find(call.path["project"]))


OPERATIONS = (
    Operation(
        method="GET",
        path="/projects",
        do=_list,
        scope=Scope.READ,
        also=SEEING,
        summary="List projects, by name",
        tag="project",
        query=PageQuery,
        answer=Projects,
    ),
    Operation(
        method="POST",
        path="/projects",
        do=_add,
        scope=Scope.PLAYBOOK_WRITE,
        summary="Make a project",
        description=f"One of this name that is there already is answered. `{DEFAULT_NAME}` is always there.",
        tag="project",
        body=NewProject,
        answer=Project,
        status=201,
    ),
    Operation(
        method="GET",
        path="/projects/{project}",
        do=_get,
        scope=Scope.READ,
        also=SEEING,
        summary="Get a project by its id or name",
        tag="project",
        answer=Project,
        errors=(404,),
    ),
)
