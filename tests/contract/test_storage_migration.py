"""A database of version 1, with deployments in flight, opened by this version."""

from __future__ import annotations

import sqlite3
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, inspect, text

from reworker.errors import StorageError
from reworker.storage.contract import Changes, SourceRow, Storage
from reworker.storage.log import SqlLog
from reworker.storage.opening import open_storage
from reworker.storage.sql import SqlStorage
from tests.contract.storage_kit import NOW, OWN, attempt, deployment
from tests.contract.task_kit import REVISION, definition_row, schedule_row, task_row

DATA = Path(__file__).parent / "data"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Make the files as the released version 1 left them."""
    path = tmp_path / "core.db"
    for name, target in (("version-1.sql", path), ("version-1.log.sql", tmp_path / "core.log.db")):
        connection = sqlite3.connect(target)
        connection.executescript((DATA / name).read_text())
        connection.close()
    return path


def shape(place: Path | str) -> dict[str, Any]:
    """Return every table with its columns and indexes, in no order."""
    engine = create_engine(f"sqlite:///{place}" if isinstance(place, Path) else place)
    found = inspect(engine)
    tables = {
        name: (
            {(one["name"], one["nullable"]) for one in found.get_columns(name)},
            tuple(found.get_pk_constraint(name)["constrained_columns"]),
            {(one["name"], tuple(one["column_names"]), one["unique"]) for one in found.get_indexes(name)},
            {
                (tuple(one["constrained_columns"]), one["referred_table"])
                for one in found.get_foreign_keys(name)
            },
        )
        for name in found.get_table_names()
    }
    engine.dispose()
    return tables


def test_old_database_has_the_shape_of_a_new_one_when_opened(old: Path, tmp_path: Path) -> None:
    assert shape(old) != shape(tmp_path / "none.db")
    SqlStorage(old).close()
    new = tmp_path / "new.db"
    SqlStorage(new).close()
    assert shape(old) == shape(new)


def test_rows_are_all_there_when_an_old_database_is_opened(old: Path) -> None:
    storage = SqlStorage(old)
    reader = storage.reader
    rows = reader.deployments(limit=100)
    assert Counter(row.status for row in rows) == {
        **{"completed": 1, "failed": 1, "running": 3, "waiting": 1, "paused": 1}
    }
    assert {row.resumes for row in rows} == {None}
    attempts = [one for row in rows for one in reader.attempts(row.id)]
    assert {one.status for one in attempts} == {"ready", "sent", "started", "completed", "failed", "unknown"}
    assert {one.role for one in attempts} == {"step"}
    assert all(len(reader.events(row.id)) == row.last_seq for row in rows)
    assert all(reader.plan(row.id).startswith(b"{") for row in rows)
    assert {reader.source(row.id) for row in rows} == {None}
    assert (reader.instances(), reader.outbox_count()) == ([], 1)
    with storage.begin() as unit:
        (due,) = unit.due_timers(NOW + timedelta(hours=1), 10)
        assert (due.kind, unit.waiting_outbox(NOW, 10)[0].kind) == ("queue", "step")
    storage.close()


def test_old_database_takes_what_is_new(old: Path) -> None:
    storage = SqlStorage(old)
    checked = attempt()
    with storage.begin() as unit:
        row = deployment(resumes=OWN)
        source = SourceRow(OWN, "text", b"{}")
        unit.save(Changes(created=[(row, b"{}")], sources=[source], attempts=[checked]))
        assert unit.take_locks(OWN, ["x"], NOW).fence == 1
    assert storage.reader.deployment(OWN) == row
    assert storage.reader.source(OWN) == source
    assert storage.reader.attempts(OWN) == [checked]
    storage.close()


def test_old_lines_are_there_when_their_file_is_opened(old: Path) -> None:
    storage, logs = SqlStorage(old), SqlLog(old.with_name("core.log.db"))
    (own,) = (row.id for row in storage.reader.deployments(limit=10, status="completed"))
    (chunk,) = logs.lines(own)
    assert (chunk.line_count, b"second line" in chunk.lines) == (1, True)
    storage.close()
    logs.close()


def test_old_database_is_as_it_was_when_bringing_it_up_fails(old: Path) -> None:
    connection = sqlite3.connect(old)
    connection.execute("CREATE TABLE lock (mine TEXT)")
    before = "\n".join(connection.iterdump())
    with pytest.raises(StorageError, match="lock"):
        SqlStorage(old)
    assert "\n".join(connection.iterdump()) == before
    connection.close()


#: what version 5 added; the version before is made by taking it away.
_BACK_TO_4 = (
    "DROP TABLE task_definition",
    "ALTER TABLE attempt DROP COLUMN domain",
    "UPDATE meta SET value = '4' WHERE name = 'schema_version'",
)
#: what version 4 added.
_BACK_TO_3 = (
    *_BACK_TO_4,
    *(
        f"DROP TABLE IF EXISTS {name}"
        for name in ("project", "code", "code_revision", "task", "task_payload", "schedule", "package_piece")
    ),
    "ALTER TABLE deployment DROP COLUMN playbook_version",
    "DROP INDEX deployment_by_kind",
    "DROP INDEX deployment_by_place",
    "ALTER TABLE deployment DROP COLUMN is_task",
    'CREATE INDEX deployment_by_place ON deployment ("group", environment, status)',
    "UPDATE meta SET value = '3' WHERE name = 'schema_version'",
)
#: what version 3 added.
_BACK_TO_2 = (
    *_BACK_TO_3,
    *(f"DROP TABLE {name}" for name in ("token", "session", "audit", "saved_view")),
    "DROP INDEX deployment_by_group",
    "DROP INDEX deployment_by_playbook",
    "DROP INDEX deployment_by_actor",
    "DROP INDEX deployment_by_place",
    "ALTER TABLE deployment DROP COLUMN environment",
    "UPDATE meta SET value = '2' WHERE name = 'schema_version'",
)


@pytest.mark.parametrize("statements", [_BACK_TO_2, _BACK_TO_3, _BACK_TO_4], ids=["2", "3", "4"])
def test_older_version_on_any_engine_has_the_shape_of_a_new_one_when_opened(
    any_database_url: str, statements: tuple[str, ...]
) -> None:
    open_storage(any_database_url).close()
    server = any_database_url.replace("postgresql://", "postgresql+psycopg://")
    new = shape(server)
    engine = create_engine(server)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()
    assert shape(server) != new
    storage = open_storage(any_database_url)
    assert shape(server) == new
    _use(storage)
    storage.close()


def _use(storage: Storage) -> None:
    """Write to tables that versions 3 to 5 have changed or added, and read it again."""
    task, schedule, definition = task_row(), schedule_row(), definition_row()
    with storage.begin() as unit:
        made = deployment(OWN, environment="production", playbook_version=3)
        unit.save(Changes(created=[(made, b"{}")]))
        unit.add_tasks([task], ["{}"])
        unit.add_schedules([schedule])
        unit.put_definition(definition)
    storage.packages.add(REVISION, 0, b"PK")
    assert storage.reader.deployment(OWN) == made
    assert (storage.reader.task(task.id), storage.reader.payload(task.id)) == (task, "{}")
    assert storage.reader.schedule(schedule.id) == schedule
    assert list(storage.packages.pieces(REVISION)) == [b"PK"]
    assert storage.reader.definitions() == [definition]
