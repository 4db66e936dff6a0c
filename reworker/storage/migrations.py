"""Bringing a database to the schema of this version: fresh ones are made whole, older ones step by step."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import Connection, MetaData, Table, insert, inspect, select, text, update

from reworker.errors import StorageError

#: changes a database of version n (the place in the list, from 1) to version n + 1.
Migration = Callable[[Connection], None]
LOG_MIGRATIONS: tuple[Migration, ...] = ()

VERSION_NAME = "schema_version"


#: what version 2 added. The text is that of its day: it does not follow the schema of today.
_TO_2 = (
    "ALTER TABLE attempt ADD COLUMN role VARCHAR(20) NOT NULL DEFAULT 'step'",
    "ALTER TABLE deployment ADD COLUMN resumes VARCHAR(24)",
    "CREATE INDEX deployment_by_end ON deployment (ended_at) WHERE ended_at IS NOT NULL",
    "CREATE TABLE source (deployment_id VARCHAR(24) NOT NULL PRIMARY KEY REFERENCES deployment (id),"
    " text TEXT, rules TEXT)",
    "CREATE TABLE lock (name TEXT NOT NULL PRIMARY KEY, deployment_id VARCHAR(24) NOT NULL,"
    " fence BIGINT NOT NULL, at DATETIME NOT NULL)",
    "CREATE INDEX lock_by_deployment ON lock (deployment_id)",
    "CREATE TABLE lock_wait (name TEXT NOT NULL, ticket BIGINT NOT NULL, deployment_id VARCHAR(24) NOT NULL,"
    " PRIMARY KEY (name, ticket))",
    "CREATE INDEX lock_wait_by_deployment ON lock_wait (deployment_id)",
    "CREATE TABLE instance (name VARCHAR(100) NOT NULL PRIMARY KEY, host TEXT NOT NULL,"
    " pid INTEGER NOT NULL, version VARCHAR(40) NOT NULL, started_at DATETIME NOT NULL,"
    " beat_at DATETIME NOT NULL)",
)


def _to_2(connection: Connection) -> None:
    """Bring a file of version 1 to version 2; that version had no other kind of database."""
    for statement in _TO_2:
        connection.execute(text(statement))


#: what version 3 added, for people and programs that come over HTTP; {at} is a time without a zone.
_TO_3 = (
    "ALTER TABLE deployment ADD COLUMN environment VARCHAR NOT NULL DEFAULT ''",
    'CREATE INDEX deployment_by_group ON deployment ("group", id)',
    "CREATE INDEX deployment_by_playbook ON deployment (playbook_id, id)",
    "CREATE INDEX deployment_by_actor ON deployment (actor, id)",
    'CREATE INDEX deployment_by_place ON deployment ("group", environment, status)',
    "CREATE TABLE token (id VARCHAR(24) NOT NULL PRIMARY KEY, digest VARCHAR(64) NOT NULL UNIQUE,"
    " name VARCHAR NOT NULL, scopes TEXT NOT NULL, limits TEXT NOT NULL, actor VARCHAR NOT NULL,"
    " created_at {at} NOT NULL, expires_at {at}, revoked_at {at}, used_at {at})",
    "CREATE TABLE session (digest VARCHAR(64) NOT NULL PRIMARY KEY, kind VARCHAR(20) NOT NULL,"
    " token_id VARCHAR(24) NOT NULL, created_at {at} NOT NULL, expires_at {at} NOT NULL,"
    " name VARCHAR NOT NULL, rights TEXT NOT NULL)",
    "CREATE INDEX session_by_token ON session (token_id)",
    "CREATE TABLE audit (id VARCHAR(24) NOT NULL PRIMARY KEY, at {at} NOT NULL, actor VARCHAR NOT NULL,"
    " token_id VARCHAR(24) NOT NULL, action VARCHAR(60) NOT NULL, target VARCHAR NOT NULL,"
    " outcome VARCHAR(20) NOT NULL, detail VARCHAR NOT NULL, source_ip VARCHAR(60) NOT NULL)",
    "CREATE INDEX audit_by_actor ON audit (actor, id)",
    "CREATE INDEX audit_by_target ON audit (target, id)",
    "CREATE TABLE saved_view (owner VARCHAR NOT NULL, name VARCHAR NOT NULL, query VARCHAR NOT NULL,"
    " created_at {at} NOT NULL, PRIMARY KEY (owner, name))",
)
#: how each engine calls a time without a zone.
_TIMES = {"sqlite": "DATETIME", "postgresql": "TIMESTAMP WITHOUT TIME ZONE"}


def _to_3(connection: Connection) -> None:
    """Bring a database of version 2 to version 3."""
    for statement in _TO_3:
        connection.execute(text(statement.replace("{at}", _TIMES[connection.dialect.name])))


#: what version 4 added, for code packages, tasks and schedules, and of which version a stored playbook was.
_TO_4 = (
    "ALTER TABLE deployment ADD COLUMN playbook_version INTEGER",
    "ALTER TABLE deployment ADD COLUMN is_task BOOLEAN NOT NULL DEFAULT false",
    "DROP INDEX deployment_by_place",
    'CREATE INDEX deployment_by_place ON deployment ("group", environment, status, is_task)',
    "CREATE INDEX deployment_by_kind ON deployment (is_task, id)",
    "CREATE TABLE project (id VARCHAR(24) NOT NULL PRIMARY KEY, name VARCHAR NOT NULL UNIQUE,"
    " actor VARCHAR NOT NULL, created_at {at} NOT NULL)",
    "CREATE TABLE code (id VARCHAR(24) NOT NULL PRIMARY KEY, project_id VARCHAR(24) NOT NULL,"
    " name VARCHAR NOT NULL, rev INTEGER NOT NULL, revision_id VARCHAR(24) NOT NULL,"
    " options TEXT NOT NULL, is_paused BOOLEAN NOT NULL, actor VARCHAR NOT NULL,"
    " created_at {at} NOT NULL, updated_at {at} NOT NULL, archived_at {at})",
    "CREATE UNIQUE INDEX code_by_name ON code (project_id, name) WHERE archived_at IS NULL",
    "CREATE TABLE code_revision (id VARCHAR(24) NOT NULL PRIMARY KEY, code_id VARCHAR(24) NOT NULL,"
    " rev INTEGER NOT NULL, runtime VARCHAR NOT NULL, file_name VARCHAR NOT NULL,"
    " checksum VARCHAR(32) NOT NULL, digest VARCHAR(64) NOT NULL, size_bytes BIGINT NOT NULL,"
    " options TEXT NOT NULL, actor VARCHAR NOT NULL, created_at {at} NOT NULL)",
    "CREATE UNIQUE INDEX code_revision_by_number ON code_revision (code_id, rev)",
    "CREATE TABLE task (id VARCHAR(24) NOT NULL PRIMARY KEY, project_id VARCHAR(24) NOT NULL,"
    " code_id VARCHAR(24) NOT NULL, code_name VARCHAR NOT NULL, revision_id VARCHAR(24) NOT NULL,"
    " rev INTEGER NOT NULL, status VARCHAR(12) NOT NULL, phase VARCHAR(8) NOT NULL,"
    " priority INTEGER NOT NULL, due_at {at} NOT NULL, delay_s FLOAT NOT NULL, timeout_s FLOAT NOT NULL,"
    " label VARCHAR NOT NULL, cluster VARCHAR NOT NULL, schedule_id VARCHAR(24) NOT NULL,"
    " original_id VARCHAR(24) NOT NULL, retry_no INTEGER NOT NULL, retry_task_id VARCHAR(24) NOT NULL,"
    " percent INTEGER NOT NULL, msg VARCHAR NOT NULL, options TEXT NOT NULL, actor VARCHAR NOT NULL,"
    " created_at {at} NOT NULL, updated_at {at} NOT NULL, start_at {at}, end_at {at})",
    "CREATE INDEX task_by_project ON task (project_id, id)",
    "CREATE INDEX task_by_status ON task (project_id, status, id)",
    "CREATE INDEX task_by_code ON task (code_id, status, id)",
    "CREATE INDEX task_by_schedule ON task (schedule_id, id)",
    "CREATE INDEX task_waiting ON task (code_id, priority DESC, id) WHERE phase = 'waiting'",
    "CREATE INDEX task_active ON task (code_id, id) WHERE phase = 'active'",
    "CREATE INDEX task_due ON task (due_at) WHERE phase = 'waiting'",
    "CREATE INDEX task_never_started ON task (end_at) WHERE phase = 'over' AND start_at IS NULL",
    "CREATE TABLE task_payload (task_id VARCHAR(24) NOT NULL PRIMARY KEY, payload VARCHAR NOT NULL)",
    "CREATE TABLE schedule (id VARCHAR(24) NOT NULL PRIMARY KEY, project_id VARCHAR(24) NOT NULL,"
    " code_name VARCHAR NOT NULL, payload VARCHAR NOT NULL, status VARCHAR(12) NOT NULL,"
    " start_at {at}, end_at {at}, next_at {at}, last_at {at}, run_every_s FLOAT NOT NULL,"
    " cron VARCHAR NOT NULL, time_zone VARCHAR NOT NULL, run_times INTEGER NOT NULL,"
    " run_count INTEGER NOT NULL, missed VARCHAR(8) NOT NULL, msg VARCHAR NOT NULL,"
    " label VARCHAR NOT NULL, options TEXT NOT NULL, actor VARCHAR NOT NULL,"
    " created_at {at} NOT NULL, updated_at {at} NOT NULL)",
    "CREATE INDEX schedule_by_project ON schedule (project_id, id)",
    "CREATE INDEX schedule_due ON schedule (next_at) WHERE next_at IS NOT NULL",
    "CREATE INDEX schedule_over ON schedule (updated_at) WHERE next_at IS NULL",
)
#: on a server the bytes of packages are in the same database.
_TO_4_SERVER = (
    "CREATE TABLE package_piece (package_id VARCHAR(24) NOT NULL, number INTEGER NOT NULL,"
    " data BYTEA NOT NULL, PRIMARY KEY (package_id, number))",
)


def _to_4(connection: Connection) -> None:
    """Bring a database of version 3 to version 4."""
    dialect = connection.dialect.name
    for statement in (*_TO_4, *(_TO_4_SERVER if dialect == "postgresql" else ())):
        connection.execute(text(statement.replace("{at}", _TIMES[dialect])))


#: what version 5 added, for workers that poll, and where the messages of attempts go.
_TO_5 = (
    "ALTER TABLE attempt ADD COLUMN domain VARCHAR(100) NOT NULL DEFAULT ''",
    "CREATE TABLE task_definition (name VARCHAR NOT NULL PRIMARY KEY, document TEXT NOT NULL,"
    " actor VARCHAR NOT NULL, created_at {at} NOT NULL, updated_at {at} NOT NULL)",
)


def _to_5(connection: Connection) -> None:
    """Bring a database of version 4 to version 5."""
    for statement in _TO_5:
        connection.execute(text(statement.replace("{at}", _TIMES[connection.dialect.name])))


MIGRATIONS: tuple[Migration, ...] = (_to_2, _to_3, _to_4, _to_5)


def migrate(
    connection: Connection, metadata: MetaData, version: int, migrations: Sequence[Migration], source: str
) -> None:
    """Make or bring up the tables, within the transaction of `connection`.

    Args:
        connection: with an open writing transaction.
        metadata: the tables of this version; one of them is ``meta`` (name, value).
        version: number of that schema.
        migrations: ``version - 1`` steps, from version 1 on.
        source: name of the database for errors.

    Raises:
        StorageError: it was made by a newer version, or is not ours.
    """
    meta = metadata.tables["meta"]
    found = _version(connection, meta, source)
    if found is None:
        metadata.create_all(connection)
        connection.execute(insert(meta).values(name=VERSION_NAME, value=str(version)))
        return
    if found > version:
        raise StorageError(
            f"{source} has schema version {found}, this program knows {version}; "
            "start the newer version of reworker that made it"
        )
    for step in migrations[found - 1 :]:
        step(connection)
    if found < version:
        connection.execute(update(meta).where(meta.c.name == VERSION_NAME).values(value=str(version)))


def _version(connection: Connection, meta: Table, source: str) -> int | None:
    names = inspect(connection).get_table_names()
    if not names:
        return None
    value = None
    if meta.name in names:
        value = connection.execute(select(meta.c.value).where(meta.c.name == VERSION_NAME)).scalar()
    if value is None or not str(value).isdigit():
        raise StorageError(f"{source} is a database, but not one of reworker's")
    return int(value)
