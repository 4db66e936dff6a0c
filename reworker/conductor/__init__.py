"""Python workers in Conductor's style, on the message bus: pushed, not polled; see docs/conductor-style.md.

Ported programs change the package's name: `reworker.conductor` for ``swift_conductor`` and for
``conductor.client``. The modules below have their paths, and the names that are here.
"""

from reworker.conductor.addresses import AuthenticationSettings, Configuration, MetricsSettings
from reworker.conductor.context.task_context import TaskContext, TaskInProgress, get_task_context
from reworker.conductor.failures import NonRetryableException
from reworker.conductor.functions import Worker, WorkerImpl, WorkerTask, worker_task
from reworker.conductor.hosts import TaskHandler, WorkerHost
from reworker.conductor.models import Task, TaskExecLog, TaskResult, TaskResultStatus
from reworker.conductor.workers import WorkerAbc, WorkerInterface

__all__ = [
    "AuthenticationSettings",
    "Configuration",
    "MetricsSettings",
    "NonRetryableException",
    "Task",
    "TaskContext",
    "TaskExecLog",
    "TaskHandler",
    "TaskInProgress",
    "TaskResult",
    "TaskResultStatus",
    "Worker",
    "WorkerAbc",
    "WorkerHost",
    "WorkerImpl",
    "WorkerInterface",
    "WorkerTask",
    "get_task_context",
    "worker_task",
]
