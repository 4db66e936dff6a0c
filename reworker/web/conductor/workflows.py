"""Workflows over HTTP: a playbook is started by its name, and its deployment looked at and steered."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool

from reworker.core.again import made_from
from reworker.core.batch import Applied, Result
from reworker.core.guarded import GuardedService
from reworker.core.principal import Principal
from reworker.core.service import AttemptView
from reworker.core.submission import Terms
from reworker.errors import KeyReused, PlaybookNotFound
from reworker.fsm.domains import domains_by_command
from reworker.storage.contract import PlaybookRow
from reworker.web.conductor.exchange import TEXT, Answer, Exchange
from reworker.web.conductor.metadata import with_address
from reworker.web.conductor.parts import Parts
from reworker.web.conductor.results import patient_json
from reworker.web.conductor.workflow_documents import definition_document, status_document, workflow_document
from reworker.web.errors import HttpProblem

#: attempts that are shown of a deployment.
ATTEMPT_COUNT = 10_000
_PAGE_COUNT = 1000
#: says that another request with the key of one before gets the deployment of that; else it is an error.
_RETURN_EXISTING = "RETURN_EXISTING"

Work = Callable[[GuardedService, str], Answer]


class Start(msgspec.Struct, frozen=True, rename="camel"):
    """What is to be started; what else a client sends is for features that nobody has here."""

    name: str
    version: int | None = None
    correlation_id: str | None = None
    input: dict[str, Any] | None = None
    task_to_domain: dict[str, str | list[str]] | None = None
    idempotency_key: str | None = None
    idempotency_strategy: str | None = None


async def start(parts: Parts, exchange: Exchange, who: Principal) -> Answer:
    """Start a playbook as an object says; the answer is the id of its deployment."""
    body = await exchange.body()
    try:
        wanted = msgspec.convert(patient_json(body), Start)
    except msgspec.ValidationError as error:
        raise HttpProblem(400, "invalid-value", f"this starts no workflow: {error}") from error
    return await _started(parts, exchange, who, wanted, body)


async def start_named(parts: Parts, exchange: Exchange, who: Principal) -> Answer:
    """Start the playbook of the address; the body are its values."""
    body = await exchange.body()
    values = patient_json(body) if body.strip() else {}
    if not isinstance(values, dict):
        raise HttpProblem(400, "invalid-value", "the body is an object: values by name")
    version = exchange.query("version")
    if version and not version.isdecimal():
        raise HttpProblem(400, "invalid-value", f"version is a number, found {version[:60]!a}")
    number = int(version[:9]) if version else None
    wanted = Start(exchange.path["name"], number, exchange.query("correlationId"), values)
    return await _started(parts, exchange, who, wanted, body)


async def _started(parts: Parts, exchange: Exchange, who: Principal, wanted: Start, body: bytes) -> Answer:
    core = core_of(parts, exchange, who)
    request = b"\0".join((exchange.scope["path"].encode("utf-8", "replace"), body))
    own_id = await run_in_threadpool(_start, parts, core, wanted, request)
    return Answer(body=own_id.encode("ascii"), media_type=TEXT)


def _start(parts: Parts, core: GuardedService, wanted: Start, request: bytes) -> str:
    row = playbook_named(core, wanted.name)
    if wanted.version and wanted.version != row.version:
        row = _version_of(core, row, wanted.version)
    terms = Terms(
        wanted.idempotency_key or "",
        request,
        reason=wanted.correlation_id or "",
        domains=domains_by_command(wanted.task_to_domain or {}, "taskToDomain"),
    )
    try:
        return core.submit(row.text, wanted.input or {}, terms=terms, playbook_id=row.id, source=row.name)
    except KeyReused as error:
        if wanted.idempotency_strategy != _RETURN_EXISTING:
            raise
        return error.deployment_id


def _version_of(core: GuardedService, row: PlaybookRow, version: int) -> PlaybookRow:
    try:
        return core.library.playbook(row.id, version)
    except PlaybookNotFound as error:
        reason = f"the playbook {row.name!a} has no version {version}; its newest is {row.version}"
        raise HttpProblem(404, "playbook-not-found", reason) from error


def playbook_named(core: GuardedService, name: str) -> PlaybookRow:
    """Return a stored playbook by its name, or by ``group/name``, or by its id.

    Raises:
        HttpProblem: 404 there is none; 409 there are several of this name.
    """
    rows = core.library.playbooks()
    found = [row for row in rows if name in (row.id, f"{row.group}/{row.name}")]
    found = found or [row for row in rows if row.name == name]
    if not found:
        reason = f"there is no stored playbook {name[:100]!a}; store one with `reworker playbook add`"
        raise HttpProblem(404, "playbook-not-found", reason)
    if len(found) > 1:
        names = ", ".join(sorted({f"{row.group}/{row.name}" for row in found})[:5])
        raise HttpProblem(409, "several-playbooks", f"several playbooks have this name, say which: {names}")
    return found[0]


async def playbooks(parts: Parts, exchange: Exchange, who: Principal) -> Answer:
    """Answer with the stored playbooks, as definitions of workflows."""
    rows = await run_in_threadpool(core_of(parts, exchange, who).library.playbooks)
    return Answer(body=msgspec.json.encode([definition_document(row) for row in rows]))


async def playbook(parts: Parts, exchange: Exchange, who: Principal) -> Answer:
    """Answer with a stored playbook, as a definition of a workflow."""
    row = await run_in_threadpool(playbook_named, core_of(parts, exchange, who), exchange.path["name"])
    return _json(definition_document(row))


def core_of(parts: Parts, exchange: Exchange, who: Principal) -> GuardedService:
    """Return what who asks may do."""
    return GuardedService(parts.site.service, parts.site.access, with_address(parts, exchange, who))


async def workflow(parts: Parts, exchange: Exchange, who: Principal) -> Answer:
    """Answer with a deployment and its attempts."""
    has_tasks = exchange.query("includeTasks", "true").lower() != "false"
    return await _with(parts, exchange, who, partial(_workflow, has_tasks=has_tasks))


def _workflow(core: GuardedService, own_id: str, *, has_tasks: bool) -> Answer:
    view, plan = core.deployment(own_id), core.plan(own_id)
    attempts = _attempts(core, own_id) if has_tasks else None
    return _json(workflow_document(view, _correlation_id(core, own_id), plan.dynamic, attempts))


def _attempts(core: GuardedService, own_id: str) -> list[AttemptView]:
    found: list[AttemptView] = []
    while len(found) < ATTEMPT_COUNT:
        after = found[-1].row.number if found else 0
        page = core.attempts(own_id, after_number=after, limit=_PAGE_COUNT)
        found += page
        if len(page) < _PAGE_COUNT:
            break
    return found


def _correlation_id(core: GuardedService, own_id: str) -> str:
    """Return what the client gave as correlation id, which is kept as the reason of the start."""
    first = core.events(own_id, limit=1)
    return str(first[0].data.get("reason", "")) if first else ""


async def status(parts: Parts, exchange: Exchange, who: Principal) -> Answer:
    """Answer with how a deployment stands."""
    return await _with(parts, exchange, who, _status)


def _status(core: GuardedService, own_id: str) -> Answer:
    return _json(status_document(core.deployment(own_id), _correlation_id(core, own_id)))


async def terminate(parts: Parts, exchange: Exchange, who: Principal) -> Answer:
    """End a deployment; one that is over stays as it is."""
    reason = exchange.query("reason")[:1000]
    return await _with(parts, exchange, who, lambda core, own_id: _told(core.cancel(own_id, reason=reason)))


async def pause(parts: Parts, exchange: Exchange, who: Principal) -> Answer:
    """Start no further step."""
    return await _with(parts, exchange, who, lambda core, own_id: _told(core.pause(own_id)))


async def resume(parts: Parts, exchange: Exchange, who: Principal) -> Answer:
    """Go on after a pause."""
    return await _with(parts, exchange, who, lambda core, own_id: _told(core.resume(own_id)))


async def retry(parts: Parts, exchange: Exchange, who: Principal) -> Answer:
    """Go on with a deployment that has ended, as a new one, whose id is answered."""
    return await _with(parts, exchange, who, lambda core, own_id: _id(core.retry(own_id)))


async def restart(parts: Parts, exchange: Exchange, who: Principal) -> Answer:
    """Start a new deployment of the same text and values, whose id is answered."""
    return await _with(parts, exchange, who, partial(_restarted, parts))


def _restarted(parts: Parts, core: GuardedService, own_id: str) -> Answer:
    row, plan = core.deployment(own_id).row, core.plan(own_id)
    making = made_from(parts.site.service.reader, row, plan)
    terms = Terms(domains=making.domains)
    new_id = core.submit(
        making.text, making.values, terms=terms, playbook_id=making.playbook_id, source=making.name
    )
    return _id(new_id)


async def _with(parts: Parts, exchange: Exchange, who: Principal, work: Work) -> Answer:
    return await run_in_threadpool(work, core_of(parts, exchange, who), exchange.path["workflow"])


def _told(result: Result) -> Answer:
    """Return the answer to what was asked of a deployment.

    Raises:
        HttpProblem: 409 it changed nothing.
    """
    if result.applied is not Applied.CHANGED:
        reason = result.reason or "it was said before"
        raise HttpProblem(409, "nothing-changed", f"the workflow is as it was: {reason}")
    return Answer()


def _id(own_id: str) -> Answer:
    return Answer(body=own_id.encode("ascii"), media_type=TEXT)


def _json(document: dict[str, Any]) -> Answer:
    return Answer(body=msgspec.json.encode(document))
