"""From a worker class to an object: what a plugin's constructor may do wrong, in words."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import TypeVar

from reworker.errors import ConfigError, ReworkerError

T = TypeVar("T")


def made(make: Callable[[], T], path: str = "") -> T:
    """Return what the constructor of a worker makes.

    Args:
        make: calls it.
        path: where the worker was asked for, for errors.

    Raises:
        ConfigError: it raised something or wanted to exit, or does not call ours.
    """
    try:
        worker = make()
    except ReworkerError:
        raise
    except (Exception, SystemExit) as error:  # a plugin's constructor may raise anything
        raise ConfigError(f"a worker cannot be made: {reason_of(error)}", path=path) from error
    if hasattr(worker, "_made_again") and not hasattr(worker, "_settings"):
        reason = f"a worker cannot be made: {type(worker).__name__}.__init__ calls no super().__init__(...)"
        raise ConfigError(reason, path=path)
    return worker


def reason_of(error: BaseException) -> str:
    """Return what a plugin's code raised, with its place: its author wants that."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{place.filename}:{place.lineno}"
    if isinstance(error, SyntaxError) and error.filename:  # found before any of it ran
        error, where = type(error)(error.msg), f"{error.filename}:{error.lineno}"
    return f"{type(error).__name__}: {error} ({where})"
