"""What tokens are made of and what they are worth: their text, their digest, who may give what. Pure."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable
from datetime import datetime
from fnmatch import fnmatchcase

import msgspec

from reworker.core.principal import Limits, Principal, Scope
from reworker.errors import ConfigError, Forbidden
from reworker.storage.rows import TokenRow

#: bytes of chance in a secret: 256 bits.
SECRET_BYTES = 32
#: characters of a token's name and of a pattern, and how many patterns a part of its limits has.
NAME_CHARACTERS, PATTERN_CHARACTERS, PATTERN_COUNT = 100, 200, 100

_SECRET = re.compile(r"[0-9a-f]{64}")
_TOKEN = re.compile(r"rw_([0-9a-f]{24})_[0-9a-f]{64}")
_TOKEN_CHARACTERS = len("rw__") + 24 + 2 * SECRET_BYTES
_SPECIAL = re.compile(r"[*?\[]")
_scopes = msgspec.json.Decoder(tuple[Scope, ...])
_limits = msgspec.json.Decoder(Limits)


class TokenView(msgspec.Struct, frozen=True):
    """A token as it may be shown: see `TokenRow`; its secret and its digest are not here."""

    id: str
    name: str
    scopes: tuple[Scope, ...]
    limits: Limits
    actor: str
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    used_at: datetime | None = None

    def counts(self, now: datetime) -> bool:
        """Tell whether it may be used at this moment."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    def principal(self, source_ip: str = "") -> Principal:
        """Return who has shown it."""
        return Principal(self.id, self.name, frozenset(self.scopes), self.limits, source_ip)


def view_of(row: TokenRow) -> TokenView:
    """Return a stored token as it may be shown."""
    return TokenView(
        id=row.id,
        name=row.name,
        scopes=_scopes.decode(row.scopes),
        limits=_limits.decode(row.limits),
        actor=row.actor,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        used_at=row.used_at,
    )


def row_of(view: TokenView, text: str) -> TokenRow:
    """Return the row of a token that is made; of its text only the digest is kept."""
    return TokenRow(
        id=view.id,
        digest=digest_of(text),
        name=view.name,
        scopes=msgspec.json.encode(sorted(set(view.scopes))),
        limits=msgspec.json.encode(view.limits),
        actor=view.actor,
        created_at=view.created_at,
        expires_at=view.expires_at,
    )


def new_secret() -> str:
    """Return a fresh secret, of the operating system's chance."""
    return secrets.token_hex(SECRET_BYTES)


def token_text(token_id: str, secret: str) -> str:
    """Return the text of a token, which its owner keeps."""
    return f"rw_{token_id}_{secret}"


def digest_of(text: str) -> str:
    """Return what is stored of a token or secret; chance of 256 bits needs no salt."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def id_in(text: str) -> str:
    """Return the id in a token's text; empty when it is no token of ours, whatever its size."""
    found = _TOKEN.fullmatch(text) if len(text) == _TOKEN_CHARACTERS else None
    return found[1] if found else ""


def is_secret(text: str) -> bool:
    """Tell whether a text may be the secret of a session or link."""
    return len(text) == 2 * SECRET_BYTES and _SECRET.fullmatch(text) is not None


def checked_name(name: str) -> str:
    """Return a name for a token.

    Raises:
        ConfigError: it is empty, too long, or has characters that are not seen.
    """
    name = name.strip()
    if not 1 <= len(name) <= NAME_CHARACTERS or not name.isprintable():
        reason = f"takes 1 to {NAME_CHARACTERS} characters that can be seen, found {name[:60]!a}"
        raise ConfigError(reason, key="name")
    return name


def require_grantable(scopes: Iterable[Scope], limits: Limits, by: Principal | None) -> None:
    """Let a token be made that may do no more than who makes it.

    Args:
        scopes: of the new token.
        limits: of the new token.
        by: who makes it; None is the owner of the database.

    Raises:
        ConfigError: it has no scope, or a pattern is empty, too long or one too many.
        Forbidden: it would be worth more than that of its maker.
    """
    scopes = set(scopes)
    if not scopes:
        raise ConfigError(f"a token needs at least one of: {', '.join(Scope)}", key="scopes")
    for part in Limits.__struct_fields__:
        _require_patterns(part, getattr(limits, part))
    if by is None:
        return
    missing = sorted(scopes - by.scopes) if Scope.ADMIN not in by.scopes else []
    if missing:
        raise Forbidden(f"the token of {by.name} has not {', '.join(missing)}, so it cannot give that")
    for part in Limits.__struct_fields__:
        own, given = getattr(by.limits, part), getattr(limits, part)
        if own and not (given and all(_is_covered(one, own) for one in given)):
            allowed = ", ".join(own)
            raise Forbidden(f"the token of {by.name} is for the {part} {allowed} and cannot give others")


def _require_patterns(part: str, patterns: tuple[str, ...]) -> None:
    if len(patterns) > PATTERN_COUNT:
        raise ConfigError(f"has {len(patterns)} patterns, the limit is {PATTERN_COUNT}", key=part)
    for one in patterns:
        if not 1 <= len(one) <= PATTERN_CHARACTERS or not one.isprintable():
            reason = (
                f"patterns have 1 to {PATTERN_CHARACTERS} characters that can be seen, found {one[:60]!a}"
            )
            raise ConfigError(reason, key=part)


def _is_covered(pattern: str, allowed: Iterable[str]) -> bool:
    """Tell whether all that a pattern stands for is allowed; no, where that is not easily seen."""
    head = _SPECIAL.split(pattern)[0]
    for one in allowed:
        if one == pattern or (is_literal(pattern) and fnmatchcase(pattern, one)):
            return True
        if one.endswith("*") and is_literal(one[:-1]) and head.startswith(one[:-1]):
            return True
    return False


def is_literal(pattern: str) -> bool:
    """Tell whether a pattern stands for itself alone."""
    return _SPECIAL.search(pattern) is None
