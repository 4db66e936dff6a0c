"""A worker whose steps do not end when they should, print, and start programs; run as a process."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn

from reworker.worker import Job, Worker, runner, step

FOR_EVER_S = 1e6
#: a command with a child, as deep as trees get in tests; its argument is the name of a file to write pids to.
#: It writes another file when it is told to end.
TREE = 'trap "echo bye > $0.bye; exit 0" TERM; echo $$ > "$0"; sleep 3600 & echo $! >> "$0"; echo ready; wait'


class LifeWorker(Worker):
    """Each step is one way to live on."""

    @step("Do")
    def do(self, job: Job) -> int:
        """Return the process id."""
        return os.getpid()

    @step("Sleep")
    def sleep(self, job: Job, *, seconds: float = FOR_EVER_S) -> None:
        """Block in C, without the interpreter's lock."""
        time.sleep(seconds)

    @step("SleepAgain", idempotent=True)
    def sleep_again(self, job: Job) -> None:
        """The same, idempotent."""
        time.sleep(FOR_EVER_S)

    @step("Hold")
    def hold(self, job: Job) -> None:
        """Block in C, with the interpreter's lock."""
        time.sleep(0.5)  # until the watch has seen the job
        re.match(r"(a+)+$", "a" * 64 + "b")

    @step("Swallow")
    def swallow(self, job: Job) -> NoReturn:
        """Swallow every exception."""
        while True:
            try:
                time.sleep(0.01)
            except Exception:  # noqa: BLE001  that is what bad code does
                continue

    @step("Shell")
    def shell(self, job: Job, *, file: str) -> int:
        """Wait for a tree of processes that the library knows nothing of."""
        return subprocess.run(["/bin/sh", "-c", TREE, file], check=False).returncode

    @step("Run")
    def run(self, job: Job, *, file: str) -> int:
        """Wait for a tree of processes that the library has started."""
        return job.run(["/bin/sh", "-c", TREE, file]).exit_code

    @step("Print")
    def prints(self, job: Job, *, text: str) -> None:
        """Print to both streams, the last line without its end."""
        sys.stdout.write(f"out {text}\nmore {text}")
        print(f"err {text}", file=sys.stderr)

    @step("LeaveThread")
    def leave_thread(self, job: Job) -> None:
        """Leave threads that Python waits for at its end."""
        threading.Thread(target=time.sleep, args=(FOR_EVER_S,), name="left", daemon=False).start()
        ThreadPoolExecutor(1, "executor").submit(time.sleep, FOR_EVER_S)

    @step("Rudeness")
    def rudeness(self, job: Job) -> str:
        """Change the process: its folder, and by C its handler of SIGTERM."""
        before = os.getcwd()
        os.chdir("/")
        handler = ctypes.CFUNCTYPE(None, ctypes.c_int)
        ctypes.CDLL(None).signal(int(signal.SIGTERM), handler(1))  # SIG_IGN
        return before

    @step("CloseStreams")
    def close_streams(self, job: Job) -> None:
        """Close what the whole process writes to."""
        sys.stdout.close()
        sys.stderr.close()


def main() -> None:
    """Run it."""
    runner(LifeWorker)


if __name__ == "__main__":
    main()
