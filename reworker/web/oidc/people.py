"""Who somebody is and what he may do, by the claims of the provider."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reworker.core.persons import PREFIX, Person
from reworker.core.tokens import checked_name
from reworker.errors import ConfigError, LoginFailed
from reworker.web.oidc.settings import Grant, OidcSettings

#: characters of what the provider calls a person.
SUBJECT_CHARACTERS = 255
_NOTHING = Grant(scopes=())


def person_of(claims: Mapping[str, Any], settings: OidcSettings) -> Person:
    """Return who has logged in; whoever has no group that we know may do nothing.

    Raises:
        LoginFailed: the claims give no name.
    """
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 1 <= len(subject) <= SUBJECT_CHARACTERS:
        raise LoginFailed("the provider does not say who this is: the claim sub is missing or too long")
    grant = _grant(claims.get(settings.groups_claim), settings.grants)
    name = _name(claims, settings.name_claim)
    return Person(name, tuple(sorted(set(grant.scopes))), grant.limits, settings.issuer, subject)


def _grant(said: Any, grants: Mapping[str, Grant]) -> Grant:
    """Return what the first group of the file gives that the person is in; rights are never added up."""
    said = [said] if isinstance(said, str) else said
    groups = {one for one in said if isinstance(one, str)} if isinstance(said, list) else set()
    return next((grant for name, grant in grants.items() if name in groups), _NOTHING)


def _name(claims: Mapping[str, Any], wanted: str) -> str:
    """Return the name, which begins as no token's name does by chance."""
    said = claims.get(wanted) if wanted else _usual_name(claims)
    if wanted == "email" and claims.get("email_verified") is not True:
        raise LoginFailed("the provider has not verified the mail address, which is the name here")
    try:
        if not isinstance(said, str) or said != said.strip() or not said:
            raise ConfigError("is missing, or no text without spaces around it", key="name")
        return checked_name(f"{PREFIX}{said}")
    except ConfigError as error:
        claim = wanted or "preferred_username"
        raise LoginFailed(f"the claim {claim[:60]!a} gives no name that we can use: {error}") from error


def _usual_name(claims: Mapping[str, Any]) -> Any:
    is_verified = claims.get("email_verified") is True
    return (
        claims.get("preferred_username")
        or (claims.get("email") if is_verified else None)
        or claims.get("sub")
    )
