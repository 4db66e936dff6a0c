"""Workers of conductor-python, sync and async, that note each step that they begin, in the file MARKS."""

import asyncio
import os
import time

from conductor.client.automator.task_handler import TaskHandler
from conductor.client.configuration.configuration import Configuration
from conductor.client.context.task_context import get_task_context
from conductor.client.worker.worker_task import worker_task


def mark() -> None:
    """Note that a step is begun."""
    with open(os.environ["MARKS"], "a", encoding="ascii") as file:
        file.write(f"{get_task_context().get_input()['_re']['attempt']['id']}\n")


@worker_task(task_definition_name="mx_sync", thread_count=3)
def by_thread(seconds: float) -> dict[str, float]:
    """Do it on a thread."""
    mark()
    time.sleep(seconds)
    return {"slept": seconds}


@worker_task(task_definition_name="mx_async", thread_count=5)
async def by_coroutine(seconds: float) -> dict[str, float]:
    """Do it on an event loop."""
    mark()
    await asyncio.sleep(seconds)
    return {"slept": seconds}


def main() -> None:
    """Serve until killed."""
    with TaskHandler([], Configuration(), scan_for_annotated_workers=True) as handler:
        handler.start_processes()
        handler.join_processes()


if __name__ == "__main__":
    main()
