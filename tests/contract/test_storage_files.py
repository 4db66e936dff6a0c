"""Opening database files: fresh, older, newer, foreign, damaged, out of reach."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.event import listen

from reworker.errors import StorageError
from reworker.storage import migrations, schema, sqlite
from reworker.storage.log import SqlLog, log_path
from reworker.storage.opening import open_storage
from reworker.storage.sql import SqlStorage, path_of

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "some where.db"


def change(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(statement)
    connection.close()


def test_file_is_private_and_durable_when_made(path: Path) -> None:
    storage = open_storage(f"sqlite:///{path}")
    with storage.begin() as unit:
        pragma = unit._connection.exec_driver_sql
        assert pragma("PRAGMA synchronous").scalar() == 2
        assert pragma("PRAGMA journal_mode").scalar() == "wal"
        assert pragma("PRAGMA foreign_keys").scalar() == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    storage.close()
    storage.close()


def test_readers_cannot_write(path: Path) -> None:
    storage = SqlStorage(path)
    with pytest.raises(Exception, match="readonly"), storage.reader._engine.begin() as connection:
        connection.execute(text("DELETE FROM event"))
    storage.close()


def test_database_is_refused_when_a_newer_version_made_it(path: Path) -> None:
    SqlStorage(path).close()
    change(path, "UPDATE meta SET value = '99' WHERE name = 'schema_version'")
    with pytest.raises(StorageError, match=f"schema version 99, this program knows {schema.SCHEMA_VERSION}"):
        SqlStorage(path)


def test_database_is_refused_when_it_is_another_program_s(path: Path) -> None:
    change(path, "CREATE TABLE customer (id)")
    with pytest.raises(StorageError, match="not one of reworker's"):
        SqlStorage(path)
    with pytest.raises(StorageError, match="not one of reworker's"):
        SqlLog(path)


def test_file_is_refused_when_it_is_no_database(path: Path) -> None:
    path.write_text("this is a letter to my aunt" * 100)
    with pytest.raises(StorageError, match="not a database"):
        SqlStorage(path)
    assert path.read_text().startswith("this is a letter"), "nothing was written over it"


def test_file_is_refused_when_its_folder_is_missing(path: Path) -> None:
    with pytest.raises(StorageError, match="No such file"):
        SqlStorage(path / "deeper" / "x.db")


def test_kind_of_database_is_refused_when_unknown() -> None:
    with pytest.raises(StorageError, match="'mysql' are not supported"):
        open_storage("mysql://localhost/re")
    assert path_of("sqlite:////var/x.db") == Path("/var/x.db")
    assert path_of("x.db") == Path("x.db")


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("/srv/share/core.db", "nfs4"),
        ("/srv/shared.db", "ext4"),
        ("/srv/with space/x.db", "cifs"),
        ("/mnt/ann/x.db", "fuse.sshfs"),
        ("/x.db", "ext4"),
    ],
)
def test_file_system_is_that_of_the_longest_mount_point(place: str, kind: str) -> None:
    mounts = (
        "/dev/sda / ext4 rw 0 0\n"
        "host:/x /srv/share nfs4 rw 0 0\n"
        "//host/y /srv/with\\040space cifs rw 0 0\n"
        "ann@host: /mnt/ann fuse.sshfs rw 0 0\n"
        "broken\n"
    )
    assert sqlite.file_system_of(place, mounts) == kind
    if kind == "ext4":
        sqlite.require_local(Path(place), mounts)
    else:
        with pytest.raises(StorageError, match=f"network file system \\({kind}\\)"):
            sqlite.require_local(Path(place), mounts)


def test_older_database_is_brought_up_step_by_step(path: Path) -> None:
    SqlStorage(path).close()
    done: list[str] = []

    def step(name: str) -> migrations.Migration:
        def change_it(connection: Connection) -> None:
            connection.execute(text(f"CREATE TABLE {name} (id INTEGER)"))
            done.append(name)

        return change_it

    storage = SqlStorage(path)
    for _ in range(2):
        with storage.begin() as unit:
            steps = (*migrations.MIGRATIONS, step("one_more"), step("another"))
            migrations.migrate(unit._connection, schema.metadata, len(steps) + 1, steps, "x")
    storage.close()
    assert done == ["one_more", "another"], "each once"
    with pytest.raises(StorageError, match=f"schema version {schema.SCHEMA_VERSION + 2}"):
        SqlStorage(path)


def test_older_database_stays_as_it_was_when_a_step_fails(path: Path) -> None:
    def fail(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE half (id INTEGER)"))
        raise ZeroDivisionError

    storage = SqlStorage(path)
    steps = (*migrations.MIGRATIONS, fail)
    with pytest.raises(ZeroDivisionError), storage.begin() as unit:
        migrations.migrate(unit._connection, schema.metadata, len(steps) + 1, steps, "x")
    storage.close()
    SqlStorage(path).close()


def test_versions_have_a_step_each() -> None:
    assert len(migrations.MIGRATIONS) == schema.SCHEMA_VERSION - 1
    assert len(migrations.LOG_MIGRATIONS) == schema.LOG_SCHEMA_VERSION - 1


_OPEN_AND_CLOSE = """
import sys
from pathlib import Path
from reworker.storage.log import SqlLog
from reworker.storage.sql import SqlStorage
SqlStorage(Path(sys.argv[1])).close()
SqlLog(Path(sys.argv[2])).close()
"""


def test_file_stays_in_use_when_it_is_opened_twice_and_another_process_closes_it(path: Path) -> None:
    """Who closes it last takes the write-ahead log away, under a process whose locks were lost."""
    first, first_log = SqlStorage(path), SqlLog(log_path(path))
    second, second_log = SqlStorage(path), SqlLog(log_path(path))
    parts = [Path(f"{one}-wal") for one in (path, log_path(path))]
    for one in (first, second):
        one.has_foreign_writes()
    before = [one.stat().st_ino for one in parts]
    command = [sys.executable, "-c", _OPEN_AND_CLOSE, str(path), str(log_path(path))]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[2])
    assert [one.stat().st_ino for one in parts] == before
    for each in (first, second, first_log, second_log):
        each.close()


def test_log_is_a_file_beside_the_database() -> None:
    assert log_path("/srv/core.db") == Path("/srv/core.log.db")
    assert log_path("core") == Path("core.log.db")


def test_path_is_not_opened_when_it_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=os.strerror(21)):
        SqlLog(tmp_path)


def test_every_query_of_the_hot_path_uses_an_index(path: Path) -> None:
    storage = SqlStorage(path)
    seen: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        seen.append((statement, parameters))

    listen(storage._writer, "before_cursor_execute", note)
    with storage.begin() as unit:
        unit.known_keys({("a", "b"), ("c", "d")})
        unit.deployments(["a", "b"])
        unit.attempts({"a"})
        unit.waiting_outbox(NOW, 5)
        unit.claim_outbox({"a"}, "core", NOW, NOW)
        unit.due_timers(NOW, 5)
        unit.next_timer_at()
        unit.find_deployment(request_digest="a")
        unit.find_deployment(idempotency_key="a")
        unit.events("a")
        unit.take_locks("a", ["x", "y"], NOW)
        unit.drop_locks("a")
        explain = unit._connection.exec_driver_sql
        plans = [
            list(explain(f"EXPLAIN QUERY PLAN {one[0]}", one[1]))
            for one in list(seen)
            if one[0].split()[0] in {"SELECT", "UPDATE", "DELETE"}
        ]
    storage.close()
    assert len(plans) >= 19
    steps = [row[3] for plan in plans for row in plan]
    # A subquery's own few rows have no index.
    scans = [step for step in steps if step.startswith("SCAN") and "anon_" not in step]
    assert scans == []


def test_driver_is_asked_for_by_its_package_when_it_is_missing() -> None:
    program = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from reworker.storage.opening import open_storage\n"
        "from reworker.errors import ConfigError\n"
        "try: open_storage('postgresql://db/re')\n"
        "except ConfigError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "install reworker[server]" in done.stdout
