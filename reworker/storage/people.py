"""Tokens, sessions, the audit and saved views, on both engines; see `people_contract`."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Connection, Engine, Select, Table, delete, insert, or_, select, update

from reworker.ids import first_id
from reworker.storage import schema
from reworker.storage.rows import AuditRow, SavedViewRow, SessionRow, TokenRow
from reworker.storage.translating import translated
from reworker.storage.upserts import insert_into

_T, _S, _A, _V = schema.token, schema.session, schema.audit, schema.saved_view

Row = TypeVar("Row", bound=msgspec.Struct)


def _select(table: Table, kind: type[msgspec.Struct]) -> Select[Any]:
    return select(*(table.c[name] for name in kind.__struct_fields__))


_TOKEN, _SESSION = _select(_T, TokenRow), _select(_S, SessionRow)
_AUDIT, _VIEW = _select(_A, AuditRow), _select(_V, SavedViewRow)


@cache
def _put_view(dialect: str) -> Any:
    """Return the statement that puts a view, again when its owner changes it."""
    statement = insert_into(_V, dialect)
    return statement.on_conflict_do_update(
        index_elements=[_V.c.owner, _V.c.name],
        set_={"query": statement.excluded.query, "created_at": statement.excluded.created_at},
    )


class PeopleTables:
    """The part of a writing transaction that is about people; see `people_contract.PeopleUnit`."""

    _connection: Connection

    def add_token(self, row: TokenRow) -> None:
        """Store a token; see `PeopleUnit.add_token`."""
        self._connection.execute(insert(_T), [msgspec.structs.asdict(row)])

    def revoke_token(self, token_id: str, at: datetime) -> bool:
        """Make a token count no more; see `PeopleUnit.revoke_token`."""
        query = update(_T).where(_T.c.id == token_id, _T.c.revoked_at.is_(None)).values(revoked_at=at)
        return self._connection.execute(query).rowcount > 0

    def touch_token(self, token_id: str, used_at: datetime) -> None:
        """Note when a token was used last; see `PeopleUnit.touch_token`."""
        is_older = or_(_T.c.used_at.is_(None), _T.c.used_at < used_at)
        self._connection.execute(update(_T).where(_T.c.id == token_id, is_older).values(used_at=used_at))

    def add_session(self, row: SessionRow) -> None:
        """Store a session or a link; see `PeopleUnit.add_session`."""
        self._connection.execute(insert(_S), [msgspec.structs.asdict(row)])

    def take_session(self, digest: str) -> SessionRow | None:
        """Delete a session or link and return it; see `PeopleUnit.take_session`."""
        columns = (_S.c[name] for name in SessionRow.__struct_fields__)
        found = self._connection.execute(delete(_S).where(_S.c.digest == digest).returning(*columns)).first()
        return SessionRow(*found) if found else None

    def drop_sessions(
        self, *, token_id: str = "", kind: str = "", name: str = "", expired_at: datetime | None = None
    ) -> int:
        """Delete sessions; see `PeopleUnit.drop_sessions`."""
        wanted = [_S.c.token_id == token_id] if token_id else []
        wanted += [_S.c.kind == kind] if kind else []
        wanted += [_S.c.name == name] if name else []
        wanted += [_S.c.expires_at <= expired_at] if expired_at is not None else []
        if not wanted:
            raise ValueError("say which sessions")
        return self._connection.execute(delete(_S).where(*wanted)).rowcount

    def add_audit(self, row: AuditRow) -> None:
        """Store what somebody did; see `PeopleUnit.add_audit`."""
        self._connection.execute(insert(_A), [msgspec.structs.asdict(row)])

    def drop_audit(self, before: datetime, limit: int) -> int:
        """Delete old entries; see `PeopleUnit.drop_audit`."""
        oldest = select(_A.c.id).where(_A.c.id < first_id(before)).order_by(_A.c.id).limit(limit)
        return self._connection.execute(delete(_A).where(_A.c.id.in_(oldest))).rowcount

    def put_saved_view(self, row: SavedViewRow) -> None:
        """Store a view; see `PeopleUnit.put_saved_view`."""
        statement = _put_view(self._connection.dialect.name)
        self._connection.execute(statement, [msgspec.structs.asdict(row)])

    def drop_saved_view(self, owner: str, name: str) -> bool:
        """Delete a view; see `PeopleUnit.drop_saved_view`."""
        query = delete(_V).where(_V.c.owner == owner, _V.c.name == name)
        return self._connection.execute(query).rowcount > 0


class PeopleReads:
    """The reads that are about people; see `people_contract.PeopleReader`."""

    _engine: Engine

    def token_by_digest(self, digest: str) -> TokenRow | None:
        """Return the token of a digest; see `PeopleReader.token_by_digest`."""
        return self._first(_TOKEN.where(_T.c.digest == digest), TokenRow)

    def token(self, token_id: str) -> TokenRow | None:
        """Return a token by its id; see `PeopleReader.token`."""
        return self._first(_TOKEN.where(_T.c.id == token_id), TokenRow)

    def tokens(self, *, limit: int, before_id: str = "", name: str = "") -> list[TokenRow]:
        """Return tokens, newest first; see `PeopleReader.tokens`."""
        query = _TOKEN.where(_T.c.name == name) if name else _TOKEN
        query = query.where(_T.c.id < before_id) if before_id else query
        return self._found(query.order_by(_T.c.id.desc()).limit(limit), TokenRow)

    def session(self, digest: str) -> SessionRow | None:
        """Return a session or link; see `PeopleReader.session`."""
        return self._first(_SESSION.where(_S.c.digest == digest), SessionRow)

    def person_sessions(self, *, limit: int) -> list[SessionRow]:
        """Return the sessions of people without a token, newest first; see `PeopleReader.person_sessions`."""
        query = _SESSION.where(_S.c.name != "").order_by(_S.c.created_at.desc(), _S.c.digest)
        return self._found(query.limit(limit), SessionRow)

    def audit(
        self,
        *,
        limit: int,
        before_id: str = "",
        actor: str = "",
        action: str = "",
        target: str = "",
        outcome: str = "",
    ) -> list[AuditRow]:
        """Return what was done, newest first; see `PeopleReader.audit`."""
        words = {"actor": actor, "action": action, "target": target, "outcome": outcome}
        query = _AUDIT.where(*(_A.c[name] == word for name, word in words.items() if word))
        if before_id:
            query = query.where(_A.c.id < before_id)
        return self._found(query.order_by(_A.c.id.desc()).limit(limit), AuditRow)

    def saved_views(self, owner: str) -> list[SavedViewRow]:
        """Return the views of a person, by name; see `PeopleReader.saved_views`."""
        return self._found(_VIEW.where(_V.c.owner == owner).order_by(_V.c.name), SavedViewRow)

    def _first(self, query: Select[Any], kind: type[Row]) -> Row | None:
        found = self._found(query.limit(1), kind)
        return found[0] if found else None

    def _found(self, query: Select[Any], kind: type[Row]) -> list[Row]:
        with translated(f"reading {kind.__name__}"), self._engine.begin() as connection:
            return [kind(*row) for row in connection.execute(query)]
