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


MIGRATIONS: tuple[Migration, ...] = (_to_2, _to_3)


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
