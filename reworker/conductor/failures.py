"""How tasks fail: what a worker in Conductor's style may raise, and what its results become."""

from __future__ import annotations

from reworker.errors import JobFailed


class NonRetryableException(Exception):
    """The task failed, and another try would not help; its first argument is the reason."""


class TaskFailed(JobFailed):
    """A task failed by its result; another try may follow, if the settings of its type say so."""


class TaskFailedForGood(JobFailed):
    """A task failed, and no other try would help: its worker has said so, or has a bug."""
