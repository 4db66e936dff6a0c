"""A client of the IronWorker API (`/2`) that the scripts of its guides run with, and what workers need.

Standard library only: a machine that queues tasks needs nothing of the server.
"""

from reworker.errors import ConfigError, Forbidden, NotAuthenticated, ReworkerError, ServerAway
from reworker.iron.client import IronWorker
from reworker.iron.inside import config as config
from reworker.iron.inside import payload as payload
from reworker.iron.inside import schedule_id as schedule_id
from reworker.iron.inside import set_progress as set_progress
from reworker.iron.inside import task_dir as task_dir
from reworker.iron.inside import task_id as task_id
from reworker.iron.records import Code, Project, Revision, Schedule, Task
from reworker.task_errors import PackageInvalid, TaskNotOver, TaskRefused, ThingNotFound

#: what ``from reworker.iron import *`` gives; scripts use the names of the functions for workers themselves.
__all__ = [
    "Code",
    "ConfigError",
    "Forbidden",
    "IronWorker",
    "NotAuthenticated",
    "PackageInvalid",
    "Project",
    "Revision",
    "ReworkerError",
    "Schedule",
    "ServerAway",
    "Task",
    "TaskNotOver",
    "TaskRefused",
    "ThingNotFound",
]
