"""Inserts that give way to a row that is there: each engine has its own, loaded for a database of that kind.

The one for PostgreSQL costs two megabytes, which a core on a file does without.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from sqlalchemy import Table


def insert_into(table: Table, dialect: str) -> Any:
    """Return the dialect's statement that inserts into a table, with its `on_conflict_do_...`."""
    return import_module(f"sqlalchemy.dialects.{dialect}").insert(table)
