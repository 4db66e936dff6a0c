"""Tasks of several codes, while cores, workers and the broker are killed and connections are cut."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import msgspec

from reworker.clock import SystemClock
from reworker.core.access import Access
from reworker.core.principal import Scope
from reworker.core.service import Service
from reworker.core.tasks.codes import CodeDraft
from reworker.core.tasks.options import CodeOptions
from reworker.core.tasks.queueing import TaskDraft
from reworker.storage.contract import Storage
from reworker.storage.task_rows import CodeRow, TaskFilter, TaskRow
from tests.integration.code_support import package
from tests.support.code_marks import BEGIN, END, PORT_VARIABLE, Marks
from tests.support.processes import Process
from tests.support.proxy import Proxy
from tests.support.waiting import wait_until

#: tasks at once in one worker, and how many workers.
SLOT_COUNT, WORKER_COUNT = 4, 2
#: tasks that are queued at once.
BATCH_COUNT = 25
#: of the code that has it, and of the one that is tried again.
MAX_CONCURRENCY, RETRY_COUNT = 3, 2
#: lines that a task writes.
LINE_COUNT = 30
#: seconds that the slow ones may take, and the others.
SLOW_S, TIMEOUT_S = 1.0, 120.0
#: seconds of a core's lease; between two strikes at most; for a process to be ready; for all to be over.
LEASE_S, PEACE_S, READY_S, REST_S = 1.0, 1.5, 40.0, 120.0
#: seconds between two looks.
LOOK_S = 0.05

_LINES = f'for n in $(seq {LINE_COUNT}); do echo "line $n of $TASK_ID"; done\n'


class Kind(msgspec.Struct, frozen=True):
    """A code: what its tasks do between begin and end, and how they are run."""

    body: str
    exit_code: int = 0
    options: dict[str, int] = {}
    timeout_s: float = TIMEOUT_S
    share: int = 1


KINDS = {
    "Plain": Kind("sleep 0.05\n", share=10),
    "Narrow": Kind("sleep 0.05\n", options={"max_concurrency": MAX_CONCURRENCY}, share=5),
    "Failing": Kind("sleep 0.02\n", 3, {"retries": RETRY_COUNT}, share=2),
    "Slow": Kind("sleep 1000\n", timeout_s=SLOW_S),
    "Stubborn": Kind("trap '' TERM HUP INT\nfor n in 1 2 3 4 5 6 7 8 9; do sleep 0.1; done\n", share=2),
    "Long": Kind("sleep 11\n"),
    "Forking": Kind("for n in 1 2 3; do (setsid sleep 1000 &) ; done\nsleep 1000 &\nsleep 0.05\n", share=2),
}


class Node(Protocol):
    """A broker that can be killed and comes back with its data."""

    def kill_and_start(self) -> None:
        """Kill it as a power cut would, and start it again."""
        ...


class CodeSiege:
    """Two code workers, a core and a web server, on a broker behind proxies, and a database.

    Args:
        start: starts a process that is killed at the end of the test.
        broker: what can be killed, and its URL.
        db: URL of the database, and the same opened.
        top: folder of the workers, which lets everybody through.
        moments: chooses.
    """

    def __init__(
        self,
        start: Callable[..., Process],
        broker: tuple[Node, str],
        db: tuple[str, Storage, Service],
        top: Path,
        moments: random.Random,
    ) -> None:
        self._start_process, self.moments, self.top = start, moments, top
        self._node, self.url = broker
        self._db, self.storage, self.service = db
        self.marks = Marks()
        self.codes: dict[str, CodeRow] = {}
        #: when each task was asked to end, and when what was struck.
        self.cancelled_at: dict[str, datetime] = {}
        self.strikes: list[tuple[datetime, str]] = []
        self._processes: dict[str, Process] = {}
        self._roles = ["core", *(f"worker-{number}" for number in range(WORKER_COUNT))]
        self._proxies = {role: Proxy.for_url(self.url) for role in self._roles}
        self._environment: dict[str, str] = {}

    @property
    def counts(self) -> Counter[str]:
        """How often what was struck."""
        return Counter(what for _, what in self.strikes)

    def open(self) -> None:
        """Start everything, upload the codes, and wait until all of it works."""
        web = self._start_process("-m", "reworker", "web", "--db", self._db, "--port", "0")
        server = web.wait_for_line(r"(http://127\.0\.0\.1:\d+)", READY_S)[1]
        with closing(Access(self.storage, SystemClock())) as access:
            token = access.create_token("code worker", [Scope.WORKER])[1]
        self._environment = {"REWORKER_SERVER": server, "REWORKER_TOKEN": token}
        folders = {"cache_dir": str(self.top / "cache"), "work_dir": str(self.top / "work")}
        (self.top / "code.json").write_text(json.dumps({**folders, "cancel_grace_s": 0.3}))
        for name, kind in KINDS.items():
            self._upload(name, kind)
        for role in self._roles:
            self._start(role)
        for role in self._roles:
            word = " runs on " if role == "core" else "state: consuming"
            self._processes[role].wait_for_line(word, READY_S)

    def _upload(self, name: str, kind: Kind) -> None:
        variables = {PORT_VARIABLE: str(self.marks.port), "CODE_NAME": name}
        script = f"{BEGIN}{kind.body}{_LINES}{END}exit {kind.exit_code}\n"
        draft = CodeDraft(name, "bash", "main.sh", CodeOptions(env_vars=variables, **kind.options))
        project = self.service.projects.find("default")
        self.codes[name] = self.service.codes.upload(project, draft, [package({"main.sh": script})])

    def _start(self, role: str) -> None:
        url = self._proxies[role].url(self.url)
        if role == "core":
            arguments = ["core", "--mq", url, "--db", self._db]
        else:
            config = str(self.top / "code.json")
            arguments = ["worker", "code", url, "-w", config, "--instances", str(SLOT_COUNT)]
        own = {"REWORKER_CORE_LEASE_S": str(LEASE_S), **self._environment}
        self._processes[role] = self._start_process("-m", "reworker", *arguments, environment=own)

    def run(self, task_count: int, broker_kill_count: int) -> None:
        """Queue so many tasks, strike while they run, and wait until all are over."""
        left_count, kills_left_count = task_count, broker_kill_count
        next_strike_mono_s = time.monotonic()
        while left_count or self._open_count() > SLOT_COUNT:
            if left_count and self._open_count() < 2 * BATCH_COUNT:
                self._queue(min(BATCH_COUNT, left_count))
                left_count -= min(BATCH_COUNT, left_count)
            if time.monotonic() >= next_strike_mono_s:
                is_due = kills_left_count > broker_kill_count * left_count / task_count
                kills_left_count -= is_due
                self._strike(is_due=is_due)
                next_strike_mono_s = time.monotonic() + self.moments.uniform(0.1, PEACE_S)
            self._cancel_some()
            time.sleep(LOOK_S)
        wait_until(self.is_over, REST_S, "all tasks to be over", poll_s=0.2)

    def rows(self) -> list[TaskRow]:
        """Return all tasks, oldest first."""
        return self.service.tasks.tasks(TaskFilter(), limit=100_000)[::-1]

    def is_over(self) -> bool:
        """Tell whether nothing is to be done."""
        return self._open_count() == 0

    def _open_count(self) -> int:
        counts = self.service.tasks.counts(TaskFilter())
        open_count = counts.get("queued", 0) + counts.get("running", 0)
        return open_count or sum(row.phase != "over" for row in self.rows())

    def _queue(self, count: int) -> None:
        names = self.moments.choices(list(KINDS), [one.share for one in KINDS.values()], k=count)
        drafts = [
            TaskDraft(name, priority=self.moments.randrange(3), timeout_s=KINDS[name].timeout_s)
            for name in names
        ]
        self.service.tasks.queue(self.service.projects.find("default"), drafts)

    def _cancel_some(self) -> None:
        """Cancel a task now and then, more often a stubborn one."""
        alive = [life.task_id for life in self.marks.alive if life.code_name == "Stubborn"]
        if alive and self.moments.random() < 0.1:
            self._cancel(self.moments.choice(alive))
        if self.moments.random() < 0.02:
            self._cancel(self.moments.choice(self.rows()[-BATCH_COUNT:]).id)

    def _cancel(self, task_id: str) -> None:
        self.cancelled_at.setdefault(task_id, datetime.now(UTC))
        self.service.tasks.cancel(task_id)

    def _strike(self, *, is_due: bool) -> None:
        """Kill the broker if that is due, else a core or a worker, or cut a connection."""
        role = self.moments.choice(self._roles)
        what = "broker" if is_due else self.moments.choice(["kill", "kill", "cut"])
        self.strikes.append((datetime.now(UTC), what if is_due else f"{what} {role}"))
        if is_due:
            self._node.kill_and_start()
        elif what == "cut":
            self._proxies[role].cut(is_reset=self.moments.random() < 0.5)
        else:
            self._processes[role].kill9()
            self._start(role)

    def stop(self) -> None:
        """Stop the workers in good order; one more sweeps what the killed ones have left."""
        self._terminate()
        self._start(self._roles[1])
        self._processes[self._roles[1]].wait_for_line("state: consuming", READY_S)
        self.service.tasks.queue(self.service.projects.find("default"), [TaskDraft("Plain")])
        wait_until(self.is_over, READY_S, "one more task")
        self._terminate()

    def _terminate(self) -> None:
        for role in self._roles[1:]:
            if self._processes[role].is_running:
                self._processes[role].terminate(30)

    def words(self) -> str:
        """Return the end of what the processes said, for the report of a failure."""
        return "\n".join(f"--- {role}\n{one.output[-3000:]}" for role, one in self._processes.items())

    def close(self) -> None:
        """Take the proxies and the listener away."""
        for one in self._proxies.values():
            one.close()
        self.marks.close()
