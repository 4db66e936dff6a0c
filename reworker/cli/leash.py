"""The hidden option ``--leash``: a process of `up` ends with it, however that ends."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def leash_option(function: F) -> F:
    """Add the option; it has no parameter of its own."""
    return click.option("--leash", is_flag=True, hidden=True, expose_value=False, callback=_take_leash)(
        function
    )


def _take_leash(_ctx: click.Context, _param: click.Parameter, is_given: bool) -> None:
    if is_given:
        threading.Thread(target=_end_with_parent, name="leash", daemon=True).start()


def _end_with_parent() -> None:
    """Stop in good order when standard input ends: the starting process held it open, however it ended."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
