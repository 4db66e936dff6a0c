"""People whom a provider of identities has let in: they have a session, and no token. Pure."""

from __future__ import annotations

from datetime import datetime

import msgspec

from reworker.core.principal import Limits, Principal, Scope
from reworker.core.tokens import TokenView
from reworker.storage.rows import SessionRow

#: how the name of such a person begins, so that nobody gets the name of a token by what a provider says.
PREFIX = "oidc:"


class _Rights(msgspec.Struct, frozen=True):
    scopes: tuple[Scope, ...]
    limits: Limits
    issuer: str
    subject: str


_rights = msgspec.json.Decoder(_Rights)


class Person(msgspec.Struct, frozen=True):
    """Somebody whom a provider has let in.

    Args:
        name: in which all is done; begins with `PREFIX`.
        scopes: what the person may do.
        limits: where.
        issuer: the provider.
        subject: how it calls the person.
    """

    name: str
    scopes: tuple[Scope, ...]
    limits: Limits
    issuer: str
    subject: str

    def principal(self, source_ip: str = "") -> Principal:
        """Return who asks."""
        return Principal("", self.name, frozenset(self.scopes), self.limits, source_ip)

    @property
    def origin(self) -> str:
        """Who says who this is, and what it calls the person; for the audit."""
        return f"{self.issuer} {self.subject}"


class PersonSession(msgspec.Struct, frozen=True):
    """A browser of a person, as it may be shown."""

    person: Person
    created_at: datetime
    expires_at: datetime


def row_of_person(row: SessionRow, person: Person) -> SessionRow:
    """Return the session of a person, which has its rights with it."""
    rights = _Rights(person.scopes, person.limits, person.issuer, person.subject)
    return msgspec.structs.replace(row, name=person.name, rights=msgspec.json.encode(rights))


def session_of(row: SessionRow) -> PersonSession:
    """Return the session of a person as it may be shown."""
    rights = _rights.decode(row.rights)
    person = Person(row.name, rights.scopes, rights.limits, rights.issuer, rights.subject)
    return PersonSession(person, row.created_at, row.expires_at)


def view_of_person(row: SessionRow) -> TokenView:
    """Return what counts for a person in the place of a token, for as long as the session does."""
    person = session_of(row).person
    return TokenView("", person.name, person.scopes, person.limits, "", row.created_at, row.expires_at)
