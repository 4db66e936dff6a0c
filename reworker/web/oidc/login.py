"""A login through the provider: how it begins, and what has to fit together when the browser comes back."""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from urllib.parse import urlencode, urlsplit

import msgspec

from reworker.clock import Clock
from reworker.core.persons import Person
from reworker.core.tokens import new_secret
from reworker.errors import LoginFailed
from reworker.web.oidc.id_tokens import claims_of
from reworker.web.oidc.people import person_of
from reworker.web.oidc.provider import Provider
from reworker.web.oidc.settings import ATTEMPT_S, OidcSettings

#: characters of the page to go on to, of a code, and of the cookie.
WHERE_CHARACTERS, CODE_CHARACTERS, COOKIE_CHARACTERS = 1000, 4000, 3000
_COOKIE = re.compile(r"([0-9a-f]{64})\.([0-9]{1,12})\.([A-Za-z0-9_=-]*)")


class Attempt(msgspec.Struct, frozen=True):
    """One login of one browser, which alone has its secret; all that has to fit is made from that.

    Args:
        secret: of the cookie.
        begun_s: when, in seconds since 1970.
        where: page to go on to.
    """

    secret: str
    begun_s: int
    where: str

    def word(self, purpose: str) -> str:
        """Return the state, the nonce or the verifier: who knows one of them knows no other."""
        text = f"{purpose} {self.begun_s} {self.where}".encode()
        return hmac.new(self.secret.encode("ascii"), text, hashlib.sha256).hexdigest()

    @property
    def cookie(self) -> str:
        """What the browser keeps of it."""
        return f"{self.secret}.{self.begun_s}.{urlsafe_b64encode(self.where.encode()).decode('ascii')}"


def attempt_in(cookie: str) -> Attempt | None:
    """Return the login that a cookie is about; None when it is about none."""
    found = _COOKIE.fullmatch(cookie) if len(cookie) <= COOKIE_CHARACTERS else None
    if found is None:
        return None
    try:
        where = urlsafe_b64decode(found[3]).decode("utf-8")
    except ValueError:
        return None
    return Attempt(found[1], int(found[2]), where)


class OidcLogin:
    """Logins through one provider; any thread.

    Args:
        settings: of them.
        clock: of this machine.
    """

    def __init__(self, settings: OidcSettings, clock: Clock) -> None:
        self._settings, self._clock = settings, clock
        self._provider = Provider(settings, clock)

    @property
    def provider_name(self) -> str:
        """The host of the provider, for people."""
        return urlsplit(self._settings.issuer).netloc

    def begin(self, where: str) -> tuple[str, str]:
        """Return the address at the provider to send a browser to, and what the browser has to keep.

        Args:
            where: page of ours to go on to.

        Raises:
            ProviderAway: nobody can log in there now.
        """
        with self._provider.talking():
            description = self._provider.description()
        where = where if len(where) <= WHERE_CHARACTERS else "/"
        attempt = Attempt(new_secret(), self._now_s(), where)
        digest = hashlib.sha256(attempt.word("verifier").encode("ascii")).digest()
        asked = {
            "response_type": "code",
            "client_id": self._settings.client_id,
            "redirect_uri": self._settings.redirect_uri,
            "scope": " ".join(self._scopes(description.scopes_supported)),
            "state": attempt.word("state"),
            "nonce": attempt.word("nonce"),
            "code_challenge": urlsafe_b64encode(digest).decode("ascii").rstrip("="),
            "code_challenge_method": "S256",
        }
        url = description.authorization_endpoint
        return f"{url}{'&' if '?' in url else '?'}{urlencode(asked)}", attempt.cookie

    def _scopes(self, known: Sequence[str]) -> list[str]:
        """Return what we ask for; some providers name groups only when they are asked to."""
        wanted = ["openid", "profile", "email"]
        return [*wanted, self._settings.groups_claim] if self._settings.groups_claim in known else wanted

    def finish(self, said: Mapping[str, Sequence[str]], cookie: str) -> tuple[Person, str]:
        """Return who has logged in, and the page to go on to.

        Args:
            said: the query with which the browser came back; each name with its values.
            cookie: what the browser has kept.

        Raises:
            LoginFailed: something does not fit together, or the provider says no.
            ProviderAway: the provider cannot be asked.
        """
        attempt = self._attempt(said, cookie)
        if error := _one(said, "error"):
            raise LoginFailed(f"the provider let nobody in: {error[:100]!a}")
        code = _one(said, "code")
        if not code or len(code) > CODE_CHARACTERS:
            raise LoginFailed("the provider sent no code with the browser; log in again")
        with self._provider.talking():
            self._require_issuer(_one(said, "iss"))
            text = self._provider.redeem(code, attempt.word("verifier"))
            claims = claims_of(
                text,
                self._settings,
                attempt.word("nonce"),
                lambda is_fresh: self._provider.keys(is_fresh=is_fresh),
            )
        return person_of(claims, self._settings), attempt.where

    def _attempt(self, said: Mapping[str, Sequence[str]], cookie: str) -> Attempt:
        """Return the login that this browser has begun, and nobody else."""
        attempt, now_s = attempt_in(cookie), self._now_s()
        if attempt is None or not 0 <= now_s - attempt.begun_s <= ATTEMPT_S:
            reason = f"this browser began no login within the last {ATTEMPT_S // 60} minutes"
            raise LoginFailed(f"{reason}; begin it at {self._settings.public_url}")
        if not hmac.compare_digest(_one(said, "state").encode(), attempt.word("state").encode()):
            raise LoginFailed("this is the end of a login that another browser or page began; log in again")
        return attempt

    def _require_issuer(self, said: str) -> None:
        is_told = self._provider.description().authorization_response_iss_parameter_supported
        if (said or is_told) and said != self._settings.issuer:
            raise LoginFailed("another provider than ours has sent the browser back")

    def _now_s(self) -> int:
        return int(self._clock.now().timestamp())


def _one(said: Mapping[str, Sequence[str]], name: str) -> str:
    """Return the value of a name that is there once."""
    values = said.get(name, ())
    return values[0] if len(values) == 1 else ""
