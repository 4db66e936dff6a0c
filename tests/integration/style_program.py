"""A program in Conductor's style, as its users write them: ``style_program.py ENDING``."""

import asyncio
import os
import sys
import threading
import time
from pathlib import Path

from reworker.conductor import (
    Configuration,
    NonRetryableException,
    TaskHandler,
    TaskInProgress,
    TaskResult,
    TaskResultStatus,
    WorkerHost,
    WorkerInterface,
    get_task_context,
    worker_task,
)


@worker_task("adding", thread_count=3)
def add(a: int, b: int = 2, seconds: float = 0.0) -> dict:
    get_task_context().add_log(f"adding {a} and {b}")
    time.sleep(seconds)
    return {"sum": a + b, "pid": os.getpid(), "thread": threading.current_thread().name}


@worker_task(task_definition_name="waiting", domain="eu")
async def wait(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "waited"


@worker_task("looking")
def look() -> object:
    context = get_task_context()
    seen = context.task.output_data.get("seen", [])
    if context.get_poll_count() < 3:
        return TaskInProgress(1, {"seen": [*seen, context.get_poll_count()]})
    return {"seen": seen, "polls": context.get_poll_count()}


@worker_task("blocking")
def block() -> dict:
    deadline = time.monotonic() + 30
    while not get_task_context().cancelled and time.monotonic() < deadline:
        time.sleep(0.02)
    return {"cancelled": get_task_context().cancelled}


class Ending(WorkerInterface):
    """Ends as it is told to, and takes no tasks while a file is there."""

    def execute(self, task):
        result = self.get_task_result_from_task(task)
        match task.input_data["how"]:
            case "raise":
                raise ValueError("boom")
            case "give up":
                raise NonRetryableException("never again")
            case "nothing":
                return None
            case how:
                result.status = TaskResultStatus(how)
        result.reason_for_incompletion = "as asked"
        return result.add_output_data("how", task.input_data["how"])

    def paused(self):
        return Path("pause").exists()


class Safe(WorkerInterface):
    """May be executed twice; dies at first."""

    idempotent = True

    def execute(self, task) -> TaskResult:
        with open("deaths", "a") as file:
            file.write("x")
        if Path("deaths").read_text() == "x":
            os.kill(os.getpid(), 9)
        return TaskResult(status="COMPLETED")


class Dying(WorkerInterface):
    """Dies at each task."""

    def execute(self, task):
        os.kill(os.getpid(), 9)


CLASSES = [Ending("ending"), Safe("safe"), Dying("dying")]


def main(ending: str) -> None:
    configuration = Configuration(server_api_url="http://conductor.invalid/api")
    if ending == "all":
        with TaskHandler(CLASSES, configuration) as handler:
            handler.start_processes()
        return
    host = WorkerHost([add], configuration)
    if ending == "block":
        with host:
            host.start_processes()
    elif ending == "join":
        host.start_processes()
        host.join_processes()
    elif ending == "last line":
        host.start_processes()
    elif ending == "stop":
        with host:
            host.start_processes()
            until(lambda: Path("stop").exists())
            host.stop_processes()
            print("stopped in the block", flush=True)
    elif ending == "loop":
        with host:
            host.start_processes()
            until(lambda: False)
    elif ending == "error":
        host.start_processes()
        until(lambda: Path("stop").exists())
        raise RuntimeError("the program's own trouble")


def until(is_so) -> None:
    while not is_so():
        time.sleep(0.02)


if __name__ == "__main__":
    main(sys.argv[1])
