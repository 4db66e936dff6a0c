"""Who asks: by a token of ours, or by one that a worker was given for an hour. The event loop's thread."""

from __future__ import annotations

import asyncio
import base64
import binascii

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from reworker.core.principal import Limits, Principal, Scope
from reworker.core.worker_tokens import PREFIX, WorkerTokens
from reworker.errors import Forbidden, NotAuthenticated
from reworker.web.auth import LOCAL, refuse_pages_of_others, require_known_host, require_same_site
from reworker.web.conductor.errors import EXPIRED, INVALID, WRONG_SECRET, TokenRefused
from reworker.web.conductor.exchange import Exchange
from reworker.web.context import Site

#: seconds that a token is believed without another look: how long one that was revoked goes on here.
KNOWN_S = 3.0
#: tokens that are remembered.
KNOWN_COUNT = 2000
_HOW = "ask for a token at /token, with a token of ours as keySecret, and send it as X-Authorization"


class Authority:
    """Knows who asks; tokens are looked up now and then, for all that ask with them together.

    Args:
        site: whose tokens count.
        tokens: those for an hour.
    """

    def __init__(self, site: Site, tokens: WorkerTokens) -> None:
        self._site, self._tokens = site, tokens
        self._known: dict[str, tuple[float, Principal]] = {}
        self._asked: dict[str, asyncio.Task[Principal]] = {}

    async def who(self, exchange: Exchange) -> Principal:
        """Return who asks.

        Raises:
            NotAuthenticated: nobody we know.
            HttpProblem: the request comes from another site than ours, or is meant for another server.
        """
        self._require_ours(exchange)
        if not self._site.settings.has_auth:
            return LOCAL
        text = token_in(exchange)
        if not text:
            raise TokenRefused(INVALID, f"there is no token in the request; {_HOW}")
        until_mono_s, found = self._known.get(text, (0.0, None))
        if found is not None and self._site.clock.mono_s() < until_mono_s:
            return found
        return await self._looked_up(text)

    def _require_ours(self, exchange: Exchange) -> None:
        settings = self._site.settings
        if settings.allowed_hosts or not settings.has_auth:
            require_known_host(self._site, Request(exchange.scope))
        if b"origin" in exchange.headers or b"sec-fetch-site" in exchange.headers:
            refuse_pages_of_others(Request(exchange.scope))  # also polls: they take a task
        elif b"cookie" in exchange.headers:
            require_same_site(Request(exchange.scope))

    async def _looked_up(self, text: str) -> Principal:
        task = self._asked.get(text)
        if task is None:
            task = self._asked[text] = asyncio.ensure_future(self._look_up(text))
            task.add_done_callback(lambda _: self._asked.pop(text, None))
        return await asyncio.shield(task)

    async def _look_up(self, text: str) -> Principal:
        until_mono_s = self._site.clock.mono_s() + KNOWN_S
        found = await run_in_threadpool(self._principal_of, text)
        if len(self._known) >= KNOWN_COUNT:
            self._known.clear()
        self._known[text] = (until_mono_s, found)
        return found

    def _principal_of(self, text: str) -> Principal:
        if not text.startswith(PREFIX):
            return self._site.access.principal_of(text)
        try:
            return self._tokens.principal_of(text)
        except NotAuthenticated as error:
            code = EXPIRED if self._tokens.is_over(text) else INVALID
            raise TokenRefused(code, str(error)) from error

    def given_token(self, secret: str, source_ip: str) -> str:
        """Return a token for an hour to who shows one of ours; waits for the database.

        Raises:
            TokenRefused: it is none of ours, or counts no more.
        """
        if not secret.startswith("rw_"):
            reason = "the keySecret is no token of ours; make one with `reworker token create`"
            raise TokenRefused(WRONG_SECRET, reason)
        try:
            who = self._site.access.principal_of(secret, source_ip)
        except NotAuthenticated as error:
            raise TokenRefused(WRONG_SECRET, str(error)) from error
        return self._tokens.token_of(who)


def token_in(exchange: Exchange) -> str:
    """Return the token of a request; empty without one.

    It is in ``X-Authorization``; or, for clients that know none, the password of HTTP Basic.
    """
    found = exchange.header(b"x-authorization")
    scheme, _, rest = (found or exchange.header(b"authorization")).partition(" ")
    if found and not rest:
        return found
    if scheme.lower() == "bearer":
        return rest.strip()
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(rest.strip(), validate=True).decode("utf-8").partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""


def require_worker(who: Principal) -> None:
    """Let a worker pass.

    Steps of all groups are in one queue, from which nobody can take those of some: so whose token is only for
    some may take none.

    Raises:
        Forbidden: the token is not for workers, or not for all groups, environments and hosts.
    """
    who.require(Scope.WORKER)
    if who.limits != Limits():
        reason = f"the token of {who.name} is only for some groups, environments or hosts"
        raise Forbidden(
            f"{reason}, and tasks of all of them are in one queue; workers need one without limits"
        )
