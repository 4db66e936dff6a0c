"""The database library's errors, turned into ours; nothing outside `storage` sees the former."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import (
    DBAPIError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    SQLAlchemyError,
    TimeoutError,
)

from reworker.errors import StaleVersion, StorageError, StorageUnavailable

#: PostgreSQL's codes of what passes: the server has become read-only, or ended a transaction that stood idle.
#: Source: PostgreSQL 15, appendix A; the driver counts them among errors of the program.
_PASSING = frozenset({"25006", "25P03"})
#: its codes of a transaction that it has ended in favour of another: serialization failure, deadlock.
_OVERTAKEN = frozenset({"40001", "40P01"})
#: class of its codes for values beyond a limit, which never pass; the driver counts them among the passing.
_TOO_LARGE = "54"


@contextmanager
def translated(action: str) -> Iterator[None]:
    """Turn the library's errors into ours.

    Raises:
        StaleVersion: the server let another transaction go first: the same works at once.
        StorageUnavailable: locked, full, unreadable, connection lost: the same may work later.
        StorageError: the database refuses the data.
    """
    try:
        yield
    except IntegrityError as error:
        raise StorageError(f"{action}: the database refuses it: {_reason(error)}") from error
    except SQLAlchemyError as error:
        raise _kind(error)(f"{action}: {_reason(error)}") from error
    except UnicodeEncodeError as error:
        raise StorageError(f"{action}: {error.object[:60]!a} is no UTF-8") from error


def _kind(error: SQLAlchemyError) -> type[StorageError]:
    code = str(getattr(getattr(error, "orig", None), "sqlstate", None) or "")
    if code in _OVERTAKEN:
        return StaleVersion
    return StorageUnavailable if _is_passing(error, code) else StorageError


def _is_passing(error: SQLAlchemyError, code: str) -> bool:
    if code in _PASSING or (isinstance(error, DBAPIError) and error.connection_invalidated):
        return True
    is_passing = isinstance(error, OperationalError | InterfaceError | TimeoutError)
    return is_passing and not code.startswith(_TOO_LARGE)


def _reason(error: SQLAlchemyError) -> str:
    """Return the driver's text in one line; PostgreSQL's has several."""
    return " ".join(str(error.orig if isinstance(error, DBAPIError) else error).split())
