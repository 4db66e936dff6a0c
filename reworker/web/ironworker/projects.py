"""Projects, and what is little or nothing here of IronWorker's: stacks, clusters, credentials."""

from __future__ import annotations

from reworker.core.principal import Scope
from reworker.core.tasks.rights import SEEING
from reworker.task_errors import ThingNotFound
from reworker.web.errors import HttpProblem
from reworker.web.ironworker.asking import Ask, Call, Document, route
from reworker.web.ironworker.documents import project_document
from reworker.web.ironworker.values import missing, page_of, text_of

#: what a code may be for; each is run by the program of this name on the worker's machine.
STACKS = ("sh", "python", "node", "ruby", "php", "perl", "binary")


def _projects(ask: Ask) -> Document:
    limit, offset = page_of(ask.query)
    rows = ask.core.projects.all(limit=limit, offset=offset)
    return {"projects": [project_document(row) for row in rows]}


def _add(ask: Ask) -> Document:
    name = text_of(ask.body, "name")
    if not name:
        raise missing("name", "give the project's name")
    row = ask.core.projects.add(name)
    return {"msg": "Created", "status_code": 200, **project_document(row)}


def _project(ask: Ask) -> Document:
    return project_document(ask.project)


def _credentials(ask: Ask) -> Document:
    ask.core.rights.require_seen(ask.project)
    raise HttpProblem(400, "no-images", "docker images are not run here; the credentials were not kept")


def _stacks(_ask: Ask) -> list[str]:
    return list(STACKS)


def _clusters(_ask: Ask) -> Document:
    """A cluster is a word on a task here, and no machines that could be listed."""
    return {"clusters": []}


def _cluster(ask: Ask) -> Document:
    raise ThingNotFound("cluster", ask.path["own_id"])


_WRITE = Scope.PLAYBOOK_WRITE

ROUTES = [
    route(
        "/projects",
        {"GET": Call(Scope.READ, _projects, also=SEEING), "POST": Call(_WRITE, _add, needs_json=True)},
    ),
    route("/projects/{pid}", {"GET": Call(Scope.READ, _project, also=SEEING)}),
    route("/projects/{pid}/credentials", {"POST": Call(_WRITE, _credentials)}),
    route("/stacks", {"GET": Call(Scope.READ, _stacks, also=SEEING)}),
    route("/clusters", {"GET": Call(Scope.READ, _clusters, also=SEEING)}),
    route("/clusters/{own_id}", {"GET": Call(Scope.READ, _cluster, also=SEEING)}),
]
