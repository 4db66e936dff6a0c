"""Looks at tasks, their logs and their queues; nothing that each task costs."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool

from reworker.core.guarded import GuardedService
from reworker.core.principal import Principal
from reworker.core.recorder import LogLine
from reworker.errors import DeploymentNotFound
from reworker.gateway.contract import TaskType
from reworker.ids import parse_attempt_id
from reworker.web.conductor.authority import require_worker
from reworker.web.conductor.definitions import require_queue
from reworker.web.conductor.documents import poll_document, task_document
from reworker.web.conductor.exchange import Answer, Exchange
from reworker.web.conductor.parts import Parts
from reworker.web.conductor.results import LINE_COUNT, log_lines
from reworker.web.conductor.workflow_documents import attempt_document
from reworker.web.errors import HttpProblem

#: types whose queues one request may ask for.
TYPE_COUNT = 100


async def task(parts: Parts, exchange: Exchange, who: Principal) -> Answer:
    """Answer with a task that somebody has now, or with an attempt of a deployment."""
    task_id = exchange.path["id"]
    offer = parts.gateway.find(task_id)
    if offer is not None:
        require_worker(who)
        return found(task_document(offer, parts.book.template(offer.type.name)))
    return found(await run_in_threadpool(_attempt, parts, who, task_id))


def _attempt(parts: Parts, who: Principal, task_id: str) -> dict[str, Any]:
    """Return an attempt of a deployment as a task.

    Raises:
        HttpProblem: 404 there is none of this id.
    """
    parsed = parse_attempt_id(task_id)
    core = GuardedService(parts.site.service, parts.site.access, who)
    if parsed:
        try:
            view = core.deployment(parsed[0])
            rows = core.attempts(parsed[0], after_number=parsed[1] - 1, limit=1)
        except DeploymentNotFound:
            rows = []
        if rows and rows[0].row.number == parsed[1]:
            return attempt_document(rows[0], view.row)
    reason = (
        f"no worker has a task {task_id[:100]!a} now; those that are over are attempts of their deployment"
    )
    raise HttpProblem(404, "task-not-found", reason)


async def acknowledge(_parts: Parts, _exchange: Exchange, who: Principal) -> Answer:
    """Say that a task is the worker's: it is since the poll."""
    require_worker(who)
    return found(True)


async def add_log(parts: Parts, exchange: Exchange, who: Principal) -> Answer:
    """Take lines of output; of a task that is over they are dropped, which is no error."""
    require_worker(who)
    parts.gateway.say(exchange.path["id"], log_lines(await exchange.body()))
    return Answer()


async def log(parts: Parts, exchange: Exchange, who: Principal) -> Answer:
    """Answer with the lines of output of a task, or 204."""
    require_worker(who)
    task_id = exchange.path["id"]
    offer = parts.gateway.find(task_id)
    parsed = parse_attempt_id(offer.attempt_id if offer else task_id)
    lines = await run_in_threadpool(_lines, parts, task_id, *parsed) if parsed else []
    return found(lines) if lines else Answer(204)


def _lines(parts: Parts, task_id: str, deployment_id: str, number: int) -> list[dict[str, Any]]:
    found: list[LogLine] = []
    after_no = 0
    while page := parts.site.service.log_lines(deployment_id, after_no=after_no, limit=LINE_COUNT):
        after_no = page[-1].no
        found += [line for line in page if line.attempt == number]
        if len(found) >= LINE_COUNT:
            break
    return [
        {"log": line.text, "taskId": task_id, "createdTime": int(line.at.timestamp() * 1000)}
        for line in found[:LINE_COUNT]
    ]


async def sizes(parts: Parts, exchange: Exchange, who: Principal) -> Answer:
    """Answer with how many tasks of each type wait."""
    require_worker(who)
    names = [_type_in(one) for one in exchange.queries("taskType") if one][:TYPE_COUNT]
    return found(await run_in_threadpool(parts.gateway.sizes, names))


async def size(parts: Parts, exchange: Exchange, who: Principal) -> Answer:
    """Answer with how many tasks of a type wait."""
    require_worker(who)
    name = _type_in(exchange.query("taskType"))
    return found((await run_in_threadpool(parts.gateway.sizes, [name])).get(name, 0) if name else 0)


async def all_sizes(parts: Parts, _exchange: Exchange, who: Principal) -> Answer:
    """Answer with how many tasks wait of each type that is polled."""
    require_worker(who)
    names = sorted({one.type.name for one in parts.gateway.polled()})
    return found(await run_in_threadpool(parts.gateway.sizes, names))


async def polled(parts: Parts, exchange: Exchange, who: Principal) -> Answer:
    """Answer with who has polled for a type."""
    require_worker(who)
    name = _type_in(exchange.query("taskType"))
    return found([poll_document(one) for one in parts.gateway.polled(name)])


def _type_in(name: str) -> str:
    """Return a task type that somebody asks about; empty is none.

    Raises:
        HttpProblem: 400 nobody can poll for it.
    """
    if name:
        require_queue(TaskType(name), "taskType in the address")
    return name


async def all_polled(parts: Parts, _exchange: Exchange, who: Principal) -> Answer:
    """Answer with who has polled."""
    require_worker(who)
    return found([poll_document(one) for one in parts.gateway.polled()])


async def health(_parts: Parts, _exchange: Exchange, _who: Principal) -> Answer:
    """Say that somebody answers; `/readyz` says more."""
    return found({"healthy": True, "healthResults": [], "suppressedHealthResults": []})


def found(value: Any) -> Answer:
    """Return an answer of JSON."""
    return Answer(body=msgspec.json.encode(value))
