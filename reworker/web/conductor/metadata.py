"""Task definitions over HTTP, and tokens for an hour."""

from __future__ import annotations

from typing import NoReturn

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from reworker.core.guard import Guard
from reworker.core.principal import Principal
from reworker.web.auth import address_of
from reworker.web.conductor.authority import require_worker
from reworker.web.conductor.definitions import encoded, name_in, rules_in
from reworker.web.conductor.exchange import Answer, Exchange
from reworker.web.conductor.parts import Parts
from reworker.web.conductor.results import patient_json
from reworker.web.errors import HttpProblem

#: definitions that come at once.
BATCH_COUNT = 500


async def token(parts: Parts, exchange: Exchange, _who: Principal) -> Answer:
    """Give a token for an hour to who shows one of ours."""
    if not parts.site.settings.has_auth:
        # clients then go on without one
        raise HttpProblem(404, "no-such-address", "this server asks for no tokens: authentication is off")
    said = patient_json(await exchange.body())
    secret = said.get("keySecret") if isinstance(said, dict) else None
    if not isinstance(secret, str) or not secret:
        raise HttpProblem(400, "invalid-value", "send an object with keyId and keySecret, a token of ours")
    source_ip = address_of(parts.site, Request(exchange.scope))
    made = await run_in_threadpool(parts.authority.given_token, secret, source_ip)
    return Answer(body=msgspec.json.encode({"token": made, "userId": ""}))


async def put(parts: Parts, exchange: Exchange, who: Principal) -> Answer:
    """Store one definition, or several: clients send an object or a list, whatever the method."""
    require_worker(who)
    said = patient_json(await exchange.body())
    documents = said if isinstance(said, list) else [said]
    if len(documents) > BATCH_COUNT:
        raise HttpProblem(400, "invalid-value", f"{BATCH_COUNT} definitions at once are the limit")
    rows = []
    for one in documents:
        rows.append((name_in(one), encoded(one)))
        rules_in(one)
    await run_in_threadpool(_stored, parts, _guard(parts, exchange, who), rows)
    return Answer()


def _stored(parts: Parts, guard: Guard, rows: list[tuple[str, bytes]]) -> None:
    parts.definitions.put(rows, guard)
    parts.book.load()


async def all_definitions(parts: Parts, _exchange: Exchange, who: Principal) -> Answer:
    """Answer with all definitions."""
    require_worker(who)
    rows = await run_in_threadpool(parts.definitions.all)
    return Answer(body=msgspec.json.encode([msgspec.Raw(row.document) for row in rows]))


async def definition(parts: Parts, exchange: Exchange, who: Principal) -> Answer:
    """Answer with a definition."""
    require_worker(who)
    row = await run_in_threadpool(parts.definitions.named, exchange.path["type"])
    if row is None:
        _refuse(exchange.path["type"])
    return Answer(body=row.document)


async def drop(parts: Parts, exchange: Exchange, who: Principal) -> Answer:
    """Remove a definition: its tasks have the rules again that those have without one."""
    require_worker(who)
    name = exchange.path["type"]
    if not await run_in_threadpool(_dropped, parts, _guard(parts, exchange, who), name):
        _refuse(name)
    return Answer()


def _dropped(parts: Parts, guard: Guard, name: str) -> bool:
    was_there = parts.definitions.drop(name, guard)
    parts.book.load()
    return was_there


def _guard(parts: Parts, exchange: Exchange, who: Principal) -> Guard:
    return Guard(parts.site.access, with_address(parts, exchange, who))


def with_address(parts: Parts, exchange: Exchange, who: Principal) -> Principal:
    """Return who asks, with the address for the audit."""
    return msgspec.structs.replace(who, source_ip=address_of(parts.site, Request(exchange.scope)))


def _refuse(name: str) -> NoReturn:
    raise HttpProblem(404, "definition-not-found", f"there is no definition of the task type {name[:100]!a}")
