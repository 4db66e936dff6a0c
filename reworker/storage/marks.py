"""Reads for the picture of one deployment: what is worth a mark, and attempts of a stretch of its plan."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Engine, Text, func, or_, select, type_coerce

from reworker.storage import schema
from reworker.storage.rows import AttemptRow, EventRow, MarkRow
from reworker.storage.translating import translated

_A, _E, _P = schema.attempt, schema.event, schema.playbook
_MARK = select(*(_A.c[name] for name in MarkRow.__struct_fields__))
_ATTEMPT = select(*(_A.c[name] for name in AttemptRow.__struct_fields__))
_EVENT = select(*(_E.c[name] for name in EventRow.__struct_fields__))


class MarkReads:
    """The part of a reader that a picture of a deployment needs; see `marks_contract.MarkReader`."""

    _engine: Engine

    def marks(self, deployment_id: str) -> list[MarkRow]:
        """Return what is worth a mark; see `MarkReader.marks`."""
        is_mark = or_(_A.c.status != "completed", _A.c.role == "rollback")
        query = _MARK.where(_A.c.deployment_id == deployment_id, is_mark).order_by(_A.c.number)
        with translated("reading marks"), self._engine.begin() as connection:
            return [MarkRow(*row) for row in connection.execute(query)]

    def attempts_numbered(self, deployment_id: str, numbers: Collection[int]) -> list[AttemptRow]:
        """Return attempts by number; see `MarkReader.attempts_numbered`."""
        is_meant = _A.c.number.in_(list(numbers))
        query = _ATTEMPT.where(_A.c.deployment_id == deployment_id, is_meant).order_by(_A.c.number)
        with translated("reading attempts"), self._engine.begin() as connection:
            return [AttemptRow(*row) for row in connection.execute(query)]

    def attempts_between(
        self, deployment_id: str, first_index: int, end_index: int, *, limit: int
    ) -> list[AttemptRow]:
        """Return attempts of a stretch of the plan; see `MarkReader.attempts_between`."""
        is_there = (_A.c.step_index >= first_index) & (_A.c.step_index < end_index)
        query = _ATTEMPT.where(_A.c.deployment_id == deployment_id, is_there)
        query = query.order_by(_A.c.number.desc()).limit(limit)
        with translated("reading attempts"), self._engine.begin() as connection:
            return [AttemptRow(*row) for row in connection.execute(query)][::-1]

    def events_about(self, deployment_id: str, attempt: int, *, limit: int) -> list[EventRow]:
        """Return events about an attempt; see `MarkReader.events_about`."""
        data = type_coerce(_E.c.data, Text)
        is_about = or_(data.like(f'%"attempt":{attempt:d},%'), data.like(f'%"attempt":{attempt:d}}}%'))
        query = _EVENT.where(_E.c.deployment_id == deployment_id, is_about).order_by(_E.c.seq).limit(limit)
        with translated("reading events"), self._engine.begin() as connection:
            return [EventRow(*row) for row in connection.execute(query)]

    def playbook_version(self, playbook_id: str, digest: str) -> int:
        """Return the version of a text; see `MarkReader.playbook_version`."""
        query = select(func.max(_P.c.version)).where(_P.c.id == playbook_id, _P.c.digest == digest)
        with translated("looking up a playbook"), self._engine.begin() as connection:
            return int(connection.execute(query).scalar() or 0)
