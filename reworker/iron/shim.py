"""Lets ``from iron_worker import *`` mean this client, for scripts that were written for the public one."""

from __future__ import annotations

import sys

#: the module that the public client is.
NAME = "iron_worker"


def install() -> None:
    """Give this client the name `iron_worker`, in this process alone."""
    sys.modules[NAME] = sys.modules["reworker.iron"]
