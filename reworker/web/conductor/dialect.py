"""Conductor's HTTP API before all other addresses: finds out what is asked for and by whom, and answers.

It is ASGI without a framework, as a worker asks for each task, and 1,000 workers may wait for one.
"""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as AsgiScope

from reworker.core.places import may_any
from reworker.core.principal import ANYWHERE, Principal
from reworker.web.auth import LOCAL
from reworker.web.conductor.addresses import Address, AddressBook, Found
from reworker.web.conductor.errors import told
from reworker.web.conductor.exchange import Answer, Exchange
from reworker.web.conductor.parts import Parts
from reworker.web.errors import HttpProblem

#: seconds after which the same denial is kept in the audit again, and denials that are remembered for that.
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
        self._denied_mono_s: dict[tuple[str, str], float] = {}

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
        if self._is_news(who, path):
            access = self._parts.site.access
            await run_in_threadpool(access.note_denial, who, action, path, who.refusal(scopes[0]))
        who.require(scopes[0])

    def _is_news(self, who: Principal, path: str) -> bool:
        """Tell whether a denial is to be kept: a worker that may not poll tries it ten times a second."""
        now_mono_s, key = self._parts.site.clock.mono_s(), (who.token_id, path)
        if now_mono_s - self._denied_mono_s.get(key, now_mono_s - DENIED_S) < DENIED_S:
            return False
        if len(self._denied_mono_s) >= DENIED_COUNT:
            self._denied_mono_s.clear()
        self._denied_mono_s[key] = now_mono_s
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
