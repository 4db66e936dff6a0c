"""Projects and code packages, on both engines; see `task_contract`."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, Select, bindparam, exists, insert, or_, select, update

from reworker.ids import is_id
from reworker.storage import task_schema as schema
from reworker.storage.selecting import Row, found_rows, select_of
from reworker.storage.task_rows import CodeRow, ProjectRow, RevisionRow
from reworker.storage.translating import translated

_P, _C, _R, _T = schema.project, schema.code, schema.code_revision, schema.task
_PROJECT, _CODE, _REVISION = (
    select_of(_P, ProjectRow),
    select_of(_C, CodeRow),
    select_of(_R, RevisionRow),
)
_LOCK = _CODE.where(_C.c.id.in_(bindparam("ids", expanding=True))).order_by(_C.c.id).with_for_update()
_IS_KEPT = _C.c.archived_at.is_(None)


class CodeTables:
    """The part of a writing transaction that is about codes; see `task_contract.CodeUnit`."""

    _connection: Connection

    def _serialise(self, what: str) -> None:
        raise NotImplementedError

    def add_project(self, row: ProjectRow) -> None:
        """Store a project; see `CodeUnit.add_project`."""
        self._connection.execute(insert(_P), [msgspec.structs.asdict(row)])

    def lock_code(self, project_id: str, name: str) -> CodeRow | None:
        """Return the code of a name; see `CodeUnit.lock_code`."""
        self._serialise(f"code {project_id} {name}")
        query = _CODE.where(_C.c.project_id == project_id, _C.c.name == name, _IS_KEPT)
        found = self._connection.execute(query.with_for_update()).first()
        return CodeRow(*found) if found else None

    def lock_codes(self, ids: Collection[str]) -> dict[str, CodeRow]:
        """Return codes, locked; see `CodeUnit.lock_codes`."""
        found = self._connection.execute(_LOCK, {"ids": list(ids)}) if ids else ()
        return {row[0]: CodeRow(*row) for row in found}

    def put_code(self, row: CodeRow) -> None:
        """Store a code, or what has changed of it; see `CodeUnit.put_code`."""
        values = msgspec.structs.asdict(row)
        changed = self._connection.execute(update(_C).where(_C.c.id == row.id).values(values))
        if not changed.rowcount:
            self._connection.execute(insert(_C), [values])

    def add_revision(self, row: RevisionRow) -> None:
        """Store a revision; see `CodeUnit.add_revision`."""
        self._connection.execute(insert(_R), [msgspec.structs.asdict(row)])


class CodeReads:
    """The reads that are about projects and codes; see `task_contract.CodeReader`."""

    _engine: Engine

    def project(self, key: str) -> ProjectRow | None:
        """Return the project of an id, else of a name; see `CodeReader.project`."""
        # a name may hold what PostgreSQL does not compare with an id
        own_id = key if is_id(key) else ""
        query = _PROJECT.where((_P.c.id == own_id) | (_P.c.name == key)).order_by(_P.c.id != own_id)
        return self._one(query, ProjectRow)

    def projects(self, *, limit: int, offset: int = 0) -> list[ProjectRow]:
        """Return projects, by name; see `CodeReader.projects`."""
        query = _PROJECT.order_by(_P.c.name).limit(limit).offset(offset)
        return found_rows(self._engine, query, ProjectRow)

    def code(self, code_id: str) -> CodeRow | None:
        """Return a code; see `CodeReader.code`."""
        return self._one(_CODE.where(_C.c.id == code_id), CodeRow)

    def code_named(self, project_id: str, name: str) -> CodeRow | None:
        """Return the code of a name; see `CodeReader.code_named`."""
        return self._one(_CODE.where(_C.c.project_id == project_id, _C.c.name == name, _IS_KEPT), CodeRow)

    def codes(self, project_id: str, *, limit: int, offset: int = 0) -> list[CodeRow]:
        """Return codes, newest first; see `CodeReader.codes`."""
        query = _CODE.where(_IS_KEPT, *([_C.c.project_id == project_id] if project_id else []))
        query = query.order_by(_C.c.id.desc()).limit(limit).offset(offset)
        return found_rows(self._engine, query, CodeRow)

    def deleted_codes(self, *, limit: int) -> list[str]:
        """Return deleted codes without active tasks; see `CodeReader.deleted_codes`."""
        task = schema.task
        is_busy = exists().where(task.c.code_id == _C.c.id, task.c.phase == "active")
        query = select(_C.c.id).where(_C.c.archived_at.is_not(None), ~is_busy)
        query = query.order_by(_C.c.archived_at.desc()).limit(limit)
        with translated("reading deleted codes"), self._engine.begin() as connection:
            return [row[0] for row in connection.execute(query)]

    def revision(self, revision_id: str) -> RevisionRow | None:
        """Return a revision; see `CodeReader.revision`."""
        return self._one(_REVISION.where(_R.c.id == revision_id), RevisionRow)

    def revision_of(self, code_id: str, rev: int) -> RevisionRow | None:
        """Return a revision by its number; see `CodeReader.revision_of`."""
        return self._one(_REVISION.where(_R.c.code_id == code_id, _R.c.rev == rev), RevisionRow)

    def revisions(self, code_id: str, *, limit: int, offset: int = 0) -> list[RevisionRow]:
        """Return revisions, newest first; see `CodeReader.revisions`."""
        query = _REVISION.where(_R.c.code_id == code_id).order_by(_R.c.rev.desc())
        return found_rows(self._engine, query.limit(limit).offset(offset), RevisionRow)

    def needed_packages(self, ids: Collection[str]) -> set[str]:
        """Return packages that are in use; see `CodeReader.needed_packages`."""
        is_open = exists().where(_T.c.code_id == _C.c.id, _T.c.phase != "over")
        query = select(_R.c.id).join(_C, _C.c.id == _R.c.code_id)
        query = query.where(_R.c.id.in_(list(ids)), or_(_IS_KEPT, is_open))
        with translated("looking for packages"), self._engine.begin() as connection:
            return {row[0] for row in connection.execute(query)}

    def _one(self, query: Select[Any], kind: type[Row]) -> Row | None:
        found = found_rows(self._engine, query.limit(1), kind)
        return found[0] if found else None
