"""Histories that version 1 wrote lead to where version 1 said they do."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from reworker.core.codec import decode_event, decode_plan
from reworker.fsm.machine import replay
from reworker.storage.contract import EventRow

DUMP = Path(__file__).parents[2] / "contract" / "data" / "version-1.sql"


@pytest.fixture(scope="module")
def database():
    connection = sqlite3.connect(":memory:")
    connection.executescript(DUMP.read_text(encoding="utf-8"))
    yield connection
    connection.close()


def history(database, own_id):
    rows = database.execute(
        "SELECT kind, at, data FROM event WHERE deployment_id = ? ORDER BY seq", (own_id,)
    )
    for kind, at, data in rows:
        when = datetime.fromisoformat(at).replace(tzinfo=UTC)
        yield decode_event(EventRow(own_id, 1, kind, when, "", data.encode(), None, None, ""))


def test_history_of_version_1_gives_the_old_snapshot_when_replayed(database):
    stored = database.execute("SELECT id, snapshot FROM deployment").fetchall()
    assert len(stored) >= 7
    for own_id, snapshot in stored:
        (plan,) = database.execute("SELECT plan FROM plan WHERE deployment_id = ?", (own_id,)).fetchone()
        found = replay(decode_plan(plan.encode()), own_id, history(database, own_id))
        assert known(json.loads(snapshot), msgspec.to_builtins(found)) == json.loads(snapshot)


def known(old, new):
    """Return of a new value what the old one has; `position` and `tries` stand in tracks now."""
    if isinstance(old, dict):
        return {key: known(old[key], new[key]) if key in new else old[key] for key in old}
    if isinstance(old, list):
        return [known(one, other) for one, other in zip(old, new, strict=True)]
    return new
