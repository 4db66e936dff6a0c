"""Errors about code packages, tasks and schedules; `errors` has the tree that they grow from.

::

    ReworkerError
      ThingNotFound           no project, code, revision, task or schedule of this id
      PackageInvalid          a code package cannot be taken, and why
      TaskRefused             a task, code or schedule cannot be made or changed like this
"""

from __future__ import annotations

from reworker.errors import ReworkerError


class ThingNotFound(ReworkerError):
    """There is no such thing, or it is in another project.

    Args:
        kind: project, code, revision, task or schedule.
        key: its id or name, as it was asked for.
    """

    def __init__(self, kind: str, key: str) -> None:
        self.kind, self.key = kind, key
        super().__init__(f"there is no {kind} {key[:100]!a}")


class PackageInvalid(ReworkerError):
    """A code package cannot be taken; nothing of it was kept."""


class TaskRefused(ReworkerError):
    """A task, code or schedule cannot be made or changed like this.

    Args:
        reason: what is wrong and what to do.
        field: of the request; empty is none in particular.
    """

    def __init__(self, reason: str, *, field: str = "") -> None:
        self.reason, self.field = reason, field
        super().__init__(f"{field}: {reason}" if field else reason)
