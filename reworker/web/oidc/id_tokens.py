"""ID tokens: whose they are, when they can be believed."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from typing import Any

import jwt

from reworker.errors import LoginFailed
from reworker.web.oidc.settings import OidcSettings

#: how a provider may sign; never `none`, and never with a secret that is ours, too.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
#: seconds by which the clock of the provider may be wrong.
SKEW_S = 60
_REQUIRED = ["iss", "sub", "aud", "exp", "iat", "nonce"]

#: returns the provider's keys; asks it again when told so.
Keys = Callable[[bool], Sequence[dict[str, Any]]]


def claims_of(text: str, settings: OidcSettings, nonce: str, keys: Keys) -> dict[str, Any]:
    """Return what an ID token says, once all of it is proven.

    Args:
        text: of the token.
        settings: who must have made it, and for whom.
        nonce: of the login that it has to be for.
        keys: of the provider.

    Raises:
        LoginFailed: it cannot be believed; says why.
    """
    try:
        header = jwt.get_unverified_header(text)
        algorithm = str(header.get("alg", ""))
        if algorithm not in ALGORITHMS:
            raise LoginFailed(f"the ID token is signed by {algorithm[:40]!a}, which proves nothing")
        claims = jwt.decode(
            text,
            _key(header, algorithm, keys),
            algorithms=[algorithm],
            audience=settings.client_id,
            issuer=settings.issuer,
            leeway=SKEW_S,
            options={"require": _REQUIRED},
        )
    except jwt.PyJWTError as error:
        raise LoginFailed(f"the ID token of the provider cannot be believed: {error}") from error
    _require_ours(claims, settings, nonce)
    return claims


def _require_ours(claims: dict[str, Any], settings: OidcSettings, nonce: str) -> None:
    """Refuse a token of another login, or one that another application was given."""
    said, party = claims["nonce"], claims.get("azp")
    if not isinstance(said, str) or not hmac.compare_digest(said.encode(), nonce.encode()):
        raise LoginFailed("the ID token belongs to another login; log in again")
    is_shared = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
    if (is_shared or party is not None) and party != settings.client_id:
        raise LoginFailed("the ID token was given to another application")


def _key(header: dict[str, Any], algorithm: str, keys: Keys) -> Any:
    """Return the key that signed; the provider is asked again when it is new to us."""
    for is_fresh in (False, True):
        found = [one for one in keys(is_fresh) if _fits(one, header, algorithm)]
        if len(found) == 1:
            return jwt.PyJWK.from_dict(found[0], algorithm).key
    kid = str(header.get("kid", ""))[:100]
    raise LoginFailed(f"the provider has no key, or several, for the ID token that names the key {kid!a}")


def _fits(key: dict[str, Any], header: dict[str, Any], algorithm: str) -> bool:
    is_named = "kid" not in header or key.get("kid") == header["kid"]
    is_for_this = key.get("use", "sig") == "sig" and key.get("alg", algorithm) == algorithm
    return is_named and is_for_this and key.get("kty") == _kind_of(algorithm)


def _kind_of(algorithm: str) -> str:
    return {"R": "RSA", "P": "RSA"}.get(algorithm[0]) or ("OKP" if algorithm == "EdDSA" else "EC")
