"""What people and programs did, or were not allowed to do, as it is kept. Pure."""

from __future__ import annotations

import re
from datetime import datetime
from enum import StrEnum

import msgspec

from reworker.core.principal import Principal
from reworker.ids import new_id
from reworker.storage.rows import AuditRow

#: characters that are kept of each part; what is longer comes from somebody who tries things.
ACTION_CHARACTERS, NAME_CHARACTERS, DETAIL_CHARACTERS, ADDRESS_CHARACTERS = 60, 300, 1000, 60
_NO_WORD = re.compile(r"[^\x20-\x7e]")


class Outcome(StrEnum):
    """How it went."""

    DONE = "done"
    DENIED = "denied"
    FAILED = "failed"


class AuditEntry(msgspec.Struct, frozen=True):
    """Something that was asked for; see `AuditRow`, which also has when."""

    action: str
    target: str = ""
    outcome: Outcome = Outcome.DONE
    detail: str = ""
    actor: str = ""
    token_id: str = ""
    source_ip: str = ""


def entry_by(
    who: Principal, action: str, target: str = "", outcome: Outcome = Outcome.DONE, detail: str = ""
) -> AuditEntry:
    """Return the entry about what this person or program asked for."""
    return AuditEntry(action, target, outcome, detail, who.name, who.token_id, who.source_ip)


def audit_row(entry: AuditEntry, at: datetime) -> AuditRow:
    """Return an entry as it is stored: cut to size, and in characters that any database takes."""
    return AuditRow(
        id=new_id(at),
        at=at,
        actor=_text(entry.actor, NAME_CHARACTERS),
        token_id=_word(entry.token_id, ADDRESS_CHARACTERS)[:24],
        action=_word(entry.action, ACTION_CHARACTERS),
        target=_text(entry.target, NAME_CHARACTERS),
        outcome=entry.outcome,
        detail=_text(entry.detail, DETAIL_CHARACTERS),
        source_ip=_word(entry.source_ip, ADDRESS_CHARACTERS),
    )


def _text(value: str, limit: int) -> str:
    short = value if len(value) <= limit else f"{value[: limit - 3]}..."
    return short.encode("utf-8", "replace").decode("utf-8")


def _word(value: str, limit: int) -> str:
    return _NO_WORD.sub("?", value[:limit])
