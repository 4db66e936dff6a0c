"""The life of a pool, and how its process ends."""

from __future__ import annotations

import enum

#: exit code of a process that wants to be replaced: it has had its share of jobs, or one that would not end.
#: Source: sysexits.h, EX_TEMPFAIL.
REPLACE_EXIT_CODE = 75


class State(enum.StrEnum):
    """Where a pool stands; in this order, but `QUIET` may be left for `CONSUMING` again."""

    #: looks for the broker, declares.
    STARTING = "starting"
    #: takes new work.
    CONSUMING = "consuming"
    #: takes no new work; what runs goes on.
    QUIET = "quiet"
    #: was told to stop; what runs may end.
    DRAINING = "draining"
    #: nothing runs, or will.
    STOPPED = "stopped"
