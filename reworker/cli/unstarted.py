"""Says why a task has not begun, while somebody follows it."""

from __future__ import annotations

from datetime import datetime

from reworker.core.tasks.outcomes import TaskStatus
from reworker.core.tasks.views import Task
from reworker.logs import escaped

#: seconds after which a wait is told of; then each time that it has become twice as long.
FIRST_S = 5.0


class Unstarted:
    """Remembers what was said of a task; one thread, one task."""

    def __init__(self) -> None:
        self._next_s = FIRST_S

    def is_due(self, task: Task, now: datetime) -> bool:
        """Tell whether something is to be said of a task now; after a yes, not again before twice as long."""
        waited_s = (now - task.due_at).total_seconds()
        if task.status != TaskStatus.QUEUED or waited_s < self._next_s:
            return False
        self._next_s = 2 * waited_s
        return True


def line_of(task: Task, now: datetime, *, is_paused: bool) -> str:
    """Return for how long a task has waited, and what for.

    Args:
        task: that waits.
        now: by the clock that its times are of.
        is_paused: its code is.
    """
    waited_s = (now - task.due_at).total_seconds()
    if not task.has_deployment and is_paused:
        why = f"its code is paused; `reworker code resume {task.code}` lets it go on"
    elif not task.has_deployment:
        why = "no core has started it: none runs, or as many tasks of its code run as may at once"
    else:
        why = "no code worker has taken it: none runs, or all are busy; `reworker doctor` knows more"
    return escaped(f"task {task.id} is queued for {waited_s:.0f} s: {why}")
