"""The operations about code packages, tasks and schedules, together."""

from reworker.web.api_v1 import code_uploads, codes, projects, schedules, task_actions, tasks
from reworker.web.operations import Operation

OPERATIONS: tuple[Operation, ...] = (
    *projects.OPERATIONS,
    *code_uploads.OPERATIONS,
    *codes.OPERATIONS,
    *tasks.OPERATIONS,
    *task_actions.OPERATIONS,
    *schedules.OPERATIONS,
)
