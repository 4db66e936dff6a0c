"""The provider as it describes itself: its addresses and keys; and what it gives for a code."""

from __future__ import annotations

import threading
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from reworker.clock import Clock
from reworker.errors import JobError, LoginFailed, ProviderAway
from reworker.jobs.http_call import HttpAnswer, checked_url, http_call
from reworker.web.oidc.settings import OidcSettings

#: seconds for one request to the provider, all of it; bytes of its answer.
CALL_S, ANSWER_BYTES = 5.0, 1 << 20
#: seconds for which its description and its keys are believed.
FRESH_S = 3600.0
#: logins that talk to it at once: while it is slow, others must find a free thread.
TALK_COUNT = 8
DISCOVERY_PATH = "/.well-known/openid-configuration"
_OK, _BAD_REQUEST, _UNAUTHORIZED = 200, 400, 401

Kind = TypeVar("Kind")


class Description(msgspec.Struct, frozen=True):
    """What we use of a provider's discovery document."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    scopes_supported: tuple[str, ...] = ()
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False


class KeySet(msgspec.Struct, frozen=True):
    """The keys with which a provider signs."""

    keys: tuple[dict[str, Any], ...]


class _Tokens(msgspec.Struct, frozen=True):
    id_token: str


class _Refusal(msgspec.Struct, frozen=True):
    error: str


class Provider:
    """Talks to the provider of the settings; any thread.

    Args:
        settings: whom to ask.
        clock: for how long an answer is believed.
    """

    def __init__(self, settings: OidcSettings, clock: Clock) -> None:
        self._settings, self._clock = settings, clock
        self._free = threading.BoundedSemaphore(TALK_COUNT)
        self._description: tuple[float, Description] | None = None
        self._keys: tuple[float, KeySet] | None = None

    @contextmanager
    def talking(self) -> Iterator[None]:
        """Take one of the few places for logins that talk to the provider.

        Raises:
            ProviderAway: there is none left.
        """
        if not self._free.acquire(blocking=False):
            raise ProviderAway(f"{TALK_COUNT} logins wait for the provider already; try again in a moment")
        try:
            yield
        finally:
            self._free.release()

    def description(self) -> Description:
        """Return where the provider answers.

        Raises:
            ProviderAway: it gives no description, or one of somebody else.
        """
        found, now_s = self._description, self._clock.mono_s()
        if found is None or now_s - found[0] >= FRESH_S:
            found = self._description = (now_s, self._discovered())
        return found[1]

    def _discovered(self) -> Description:
        made = self._get(self._settings.issuer.rstrip("/") + DISCOVERY_PATH, Description)
        if made.issuer != self._settings.issuer:
            raise ProviderAway(
                f"it calls itself {made.issuer[:200]!a}, we know it as {self._settings.issuer!a}"
            )
        for url in (made.authorization_endpoint, made.token_endpoint, made.jwks_uri):
            self._require_safe(url)
        return made

    def _require_safe(self, url: str) -> None:
        """Refuse an address that is less safe than that of the provider."""
        try:
            scheme = urlsplit(checked_url(url)).scheme
        except ValueError as error:
            raise ProviderAway(f"its description has no usable address: {error}") from error
        if scheme != "https" and self._settings.issuer.startswith("https:"):
            raise ProviderAway(f"its description leads to {url[:200]!a}, which is not https")

    def keys(self, *, is_fresh: bool = False) -> tuple[dict[str, Any], ...]:
        """Return the keys with which the provider signs.

        Args:
            is_fresh: ask again, as a key is unknown.

        Raises:
            ProviderAway: it gives none.
        """
        found, now_s = self._keys, self._clock.mono_s()
        if is_fresh or found is None or now_s - found[0] >= FRESH_S:
            found = self._keys = (now_s, self._get(self.description().jwks_uri, KeySet))
        return found[1].keys

    def redeem(self, code: str, verifier: str) -> str:
        """Return the ID token that the provider gives for a code.

        Raises:
            LoginFailed: it does not take the code, or not us.
            ProviderAway: it gives no answer that can be read.
        """
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._settings.redirect_uri,
            "code_verifier": verifier,
        }
        headers = self._sign(form)
        answer = self._call(
            "POST", self.description().token_endpoint, headers, urlencode(form).encode("ascii")
        )
        if answer.status in (_BAD_REQUEST, _UNAUTHORIZED):
            word = _read(answer, _Refusal).error[:100]
            raise LoginFailed(f"the provider did not take the code of this login: {word!a}; log in again")
        return _read(answer, _Tokens).id_token

    def _sign(self, form: dict[str, str]) -> dict[str, str]:
        """Say who we are, as the provider wants it: in a header, or in the form."""
        settings, headers = self._settings, {"Content-Type": "application/x-www-form-urlencoded"}
        if not settings.client_secret:
            form["client_id"] = settings.client_id
        elif "client_secret_basic" in self.description().token_endpoint_auth_methods_supported:
            pair = f"{quote(settings.client_id, safe='')}:{quote(settings.client_secret, safe='')}"
            headers["Authorization"] = f"Basic {b64encode(pair.encode('ascii')).decode('ascii')}"
        else:
            form |= {"client_id": settings.client_id, "client_secret": str(settings.client_secret)}
        return headers

    def _get(self, url: str, kind: type[Kind]) -> Kind:
        return _read(self._call("GET", url, {}), kind)

    def _call(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> HttpAnswer:
        """Make a request; no redirect is followed: it could lead to another host."""
        said = {"Accept": "application/json", **headers}
        try:
            return http_call(
                method, checked_url(url), headers=said, body=body, timeout_s=CALL_S, limit_bytes=ANSWER_BYTES
            )
        except (JobError, ValueError) as error:
            raise ProviderAway(str(error)) from error


def _read(answer: HttpAnswer, kind: type[Kind]) -> Kind:
    """Return an answer as the type wants it."""
    is_refusal = kind is _Refusal
    if answer.is_cut or (answer.status != _OK and not is_refusal):
        raise ProviderAway(f"it answers {answer.status}, with {len(answer.body)} bytes; 200 is an answer")
    try:
        return msgspec.json.decode(answer.body, type=kind)
    except msgspec.MsgspecError as error:
        raise ProviderAway(f"its answer cannot be read: {error}") from error
