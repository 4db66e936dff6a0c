"""Errors about code packages, tasks, schedules and polls; `errors` has the tree that they grow from.

::

    JobRetry
      JobGoesOn               not over, and nothing has failed: it is run again later
    ReworkerError
      ThingNotFound           no project, code, revision, task or schedule of this id
      PackageInvalid          a code package cannot be taken, and why
      TaskRefused             a task, code or schedule cannot be made or changed like this
      TaskNotOver             a task was waited for and has not ended
      TooManyTypes            a token polls for as many task types as one may
      NoRoomForType           workers poll for as many task types as there may be
"""

from __future__ import annotations

from reworker.errors import JobRetry, ReworkerError


class JobGoesOn(JobRetry):
    """The job is not over, and nothing has failed: run it again later, as often as it takes."""


class ThingNotFound(ReworkerError):
    """There is no such thing, or it is in another project.

    Args:
        kind: project, code, revision, task or schedule.
        key: its id or name, as it was asked for.
        where: was looked, for a client; empty is here.
    """

    def __init__(self, kind: str, key: str, where: str = "") -> None:
        self.kind, self.key = kind, key
        super().__init__(f"there is no {kind} {key[:100]!a}" + (f" {where}" if where else ""))


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


class TaskNotOver(ReworkerError):
    """A task was waited for and has not ended; it goes on.

    Args:
        task_id: of the task.
        status: that it has.
        waited_s: how long.
    """

    def __init__(self, task_id: str, status: str, waited_s: float) -> None:
        self.task_id, self.status = task_id, status
        super().__init__(f"task {task_id} is still {status} after {waited_s:g} s; it goes on")


class TooManyTypes(ReworkerError):
    """Somebody polls for as many task types as one may; no further one was taken on."""

    def __init__(self, name: str, count: int) -> None:
        super().__init__(
            f"the task type {name[:80]!r} cannot be polled with this token: {count} types are already, "
            "the limit of one token; let some workers poll with another, or wait until types are forgotten"
        )


class NoRoomForType(ReworkerError):
    """Workers poll for as many task types as there may be; no further one was taken on."""

    def __init__(self, name: str, count: int) -> None:
        super().__init__(
            f"the task type {name[:80]!r} cannot be polled now: {count} types are already, "
            "the limit of a server; try again when workers of others have ended, or ask another server"
        )
