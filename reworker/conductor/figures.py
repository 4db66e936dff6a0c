"""Figures of tasks by the names that Conductor's SDKs have agreed on, beside those of every worker."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator

from reworker.conductor.events import TaskExecutionCompleted, TaskExecutionFailure, TaskExecutionStarted
from reworker.host.metrics import HISTOGRAM, Family, Labels, Sample, counter, gauge, histogram_samples

#: upper bounds of the classes of durations, seconds. Source: the SDKs' canonical metrics.
BOUNDS_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SUCCESS, FAILURE = "SUCCESS", "FAILURE"


class TaskFigures:
    """Counts the tasks of one type in a process; it listens to them like a program's own listeners.

    Threads: any.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._started_count = self._ended_count = 0
        self._errors: Counter[str] = Counter()
        self._times: dict[str, tuple[list[int], list[float]]] = {}

    def on_task_execution_started(self, _event: TaskExecutionStarted) -> None:
        """Count a task that was begun."""
        with self._lock:
            self._started_count += 1

    def on_task_execution_completed(self, event: TaskExecutionCompleted) -> None:
        """Count a task that was executed."""
        self._note(SUCCESS, event.duration_ms)

    def on_task_execution_failure(self, event: TaskExecutionFailure) -> None:
        """Count a task that failed, by what it raised or was made from its result."""
        self._note(FAILURE, event.duration_ms)
        with self._lock:
            self._errors[type(event.cause).__name__] += 1

    def families(self, task_type: str) -> Iterator[Family]:
        """Yield the figures."""
        label = ("taskType", task_type)
        with self._lock:
            started, running = self._started_count, self._started_count - self._ended_count
            errors: dict[Labels, float] = {
                (label, ("exception", name)): count for name, count in self._errors.items()
            }
            times = {status: (list(counts), sum(total)) for status, (counts, total) in self._times.items()}
        yield counter("task_execution_started_total", "Tasks that were begun.", {(label,): started})
        yield counter("task_execute_error_total", "Tasks that failed, by exception.", errors)
        yield gauge("active_workers", "Tasks that are executed now.", (label,), running)
        samples: list[Sample] = []
        for status, (counts, total_s) in times.items():
            samples.extend(histogram_samples((label, ("status", status)), BOUNDS_S, counts, total_s))
        text = "For how long tasks were executed, seconds."
        yield Family("task_execute_time_seconds", HISTOGRAM, text, tuple(samples))

    def _note(self, status: str, duration_ms: float) -> None:
        duration_s = duration_ms / 1000
        with self._lock:
            self._ended_count += 1
            counts, total_s = self._times.setdefault(status, ([0] * (len(BOUNDS_S) + 1), [0.0]))
            counts[bisect_left(BOUNDS_S, duration_s)] += 1
            total_s[0] += duration_s
