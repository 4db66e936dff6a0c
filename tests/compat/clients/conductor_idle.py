"""A worker of conductor-python that does nothing but say when it was asked, for measurements.

conductor_idle.py TYPE THREADS
"""

import sys
import time

from conductor.client.automator.task_handler import TaskHandler
from conductor.client.configuration.configuration import Configuration
from conductor.client.worker.worker import Worker


def note(raw: str = "") -> dict:
    """Return the time."""
    return {"at": time.time()}


def main() -> None:
    """Serve until killed."""
    worker = Worker(task_definition_name=sys.argv[1], execute_function=note, thread_count=int(sys.argv[2]))
    with TaskHandler([worker], Configuration(log_level=40), scan_for_annotated_workers=False) as handler:
        handler.start_processes()
        handler.join_processes()


if __name__ == "__main__":
    main()
