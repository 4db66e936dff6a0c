"""Conductor's HTTP API before all other addresses: finds out what is asked for and by whom, and answers.

It is ASGI without a framework, as a worker asks for each task, and 1,000 workers may wait for one.
"""

from __future__ import annotations

import logging

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as AsgiScope

from reworker.clock import Clock
from reworker.core.places import may_any
from reworker.core.principal import ANYWHERE, Principal
from reworker.errors import AccessError
from reworker.web.auth import LOCAL, address_of
from reworker.web.conductor.addresses import Address, AddressBook, Found
from reworker.web.conductor.errors import told
from reworker.web.conductor.exchange import Answer, Exchange
from reworker.web.conductor.parts import Parts
from reworker.web.errors import HttpProblem

logger = logging.getLogger(__name__)

#: seconds after which the same refusal is kept or logged again, and refusals that are remembered for that.
DENIED_S, DENIED_COUNT = 60.0, 1000


class ConductorDialect:
    """Answers what is in the table of addresses, and passes the rest on.

    Args:
        app: what comes behind it.
        parts: what it works with.
    """

    def __init__(self, app: ASGIApp, parts: Parts) -> None:
        self._app, self._parts = app, parts
        self._book = AddressBook(parts.settings.prefixes)
        self._denied = Seldom(parts.site.clock)
        self._complained = Seldom(parts.site.clock)

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Answer; see ASGI."""
        found = None
        if scope["type"] == "http":
            found = self._book.find(scope["method"], scope["raw_path"].decode("latin-1"))
        if found is None:
            await self._app(scope, receive, send)
            return
        exchange = Exchange(scope, receive, send, found.path)
        try:
            answer = await self._answered(exchange, found)
        except Exception as error:  # noqa: BLE001  # the place where this dialect maps errors to answers
            answer = told(Request(scope), error)
            if isinstance(error, AccessError):
                self._complain(Request(scope), error)
        await _write(exchange, answer)

    async def _answered(self, exchange: Exchange, found: Found) -> Answer:
        address = found.address
        if address is None:
            reason = "there is no such address here; docs/conductor.md has those that there are"
            raise HttpProblem(404, "no-such-address", reason)
        who = LOCAL
        if address.scopes is not None:
            who = await self._parts.authority.who(exchange)
            await self._admit(who, address, exchange)
        return await address.act(self._parts, exchange, who)

    async def _admit(self, who: Principal, address: Address, exchange: Exchange) -> None:
        """Let a request pass that its token allows somewhere; a denial is in the audit.

        Raises:
            Forbidden: it does not.
        """
        scopes = address.scopes or ()
        if may_any(who, scopes, ANYWHERE):
            return
        action, path = f"conductor.{address.method.lower()}", exchange.scope["path"]
        if self._denied.is_news((who.token_id, path)):
            access = self._parts.site.access
            await run_in_threadpool(access.note_denial, who, action, path, who.refusal(scopes[0]))
        who.require(scopes[0])

    def _complain(self, request: Request, error: AccessError) -> None:
        """Log who is turned away: some clients say nothing of it, and poll on."""
        words = f"{request.method} {request.url.path} from {address_of(self._parts.site, request)}"
        if self._complained.is_news((words, str(error))):
            logger.warning("%s is refused: %s", words, error)


class Seldom:
    """Lets the same thing through once in a while: a worker that may not poll tries it ten times a second."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen_mono_s: dict[tuple[str, str], float] = {}

    def is_news(self, key: tuple[str, str]) -> bool:
        """Tell whether this was not let through lately."""
        now_mono_s = self._clock.mono_s()
        if now_mono_s - self._seen_mono_s.get(key, now_mono_s - DENIED_S) < DENIED_S:
            return False
        if len(self._seen_mono_s) >= DENIED_COUNT:
            self._seen_mono_s.clear()
        self._seen_mono_s[key] = now_mono_s
        return True


async def _write(exchange: Exchange, answer: Answer) -> None:
    """Write an answer; tasks in it have started once it is written, and go back when nobody reads it."""
    poll = answer.poll
    if poll is None:
        await exchange.answer(answer)
        return
    try:
        if exchange.is_open():
            await exchange.answer(answer)
            # Who has gone by now may have read it: to offer it to others, too, would run the step twice.
            poll.written()
    finally:
        # does nothing once it was written
        poll.cancel()
