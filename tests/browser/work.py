"""Codes and tasks in a house, and a worker in memory that does with them what a test says."""

from __future__ import annotations

import io
import itertools
import json
import zipfile
from typing import Any

from reworker.bus.contract import Delivery, Outgoing, Properties, Verdict
from reworker.bus.memory import MemoryBus
from reworker.core.tasks.codes import CodeDraft
from reworker.core.tasks.options import CodeOptions
from reworker.core.tasks.queueing import TaskDraft
from reworker.core.tasks.schedule_drafts import ScheduleDraft
from reworker.storage.task_rows import CodeRow, ScheduleRow
from reworker.topology import names
from reworker.topology.code_queues import code_queue, code_topology
from tests.browser.house import HOSTILE, House


def package(**files: str) -> bytes:
    """Return a zip file."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as one:
        for name, text in (files or {"main.py": "print(1)\n"}).items():
            one.writestr(name, text)
    return made.getvalue()


class Bench:
    """Uploads, queues, and answers for the worker; `got` holds what a worker has got, by task."""

    def __init__(self, home: House) -> None:
        self.home, self._service = home, home.service
        self.project = self._service.projects.find("default")
        self.got: dict[str, Delivery] = {}
        self._bus = MemoryBus(home.world.broker, is_threaded=False, name="code worker")
        self._bus.open(timeout_s=1)
        self._heard: set[str] = set()
        self._numbers = itertools.count(1)

    def upload(self, name: str, **options: Any) -> CodeRow:
        draft = CodeDraft(name, "python", "main.py", CodeOptions(**options))
        return self._service.codes.upload(self.project, draft, [package()], actor="alice")

    def queue(self, name: str, *payloads: str, **more: Any) -> list[str]:
        drafts = [TaskDraft(name, one, **more) for one in payloads or ("{}",)]
        return [row.id for row in self._service.tasks.queue(self.project, drafts, actor="alice")]

    def schedule(self, name: str, **more: Any) -> ScheduleRow:
        draft = ScheduleDraft(name, **more)
        return self._service.schedules.add(self.project, [draft], actor="carol")[0]

    def run(self) -> None:
        """Let the core and its desk go on until nothing moves."""
        for _ in range(4):
            while self.home.world.core.task_desk.turn():
                self.home.run()
            self._listen()
            self.home.run()

    def _listen(self) -> None:
        for row in self._service.codes.codes(None, limit=1000):
            if row.id not in self._heard:
                self._heard.add(row.id)
                self._bus.declare(code_topology(row.id))
                self._bus.consume(code_queue(row.id), self._on_delivery, prefetch=0)

    def _on_delivery(self, delivery: Delivery) -> None:
        self.got[json.loads(delivery.body)["parameters"]["task_id"]] = delivery
        delivery.settle(Verdict.ACK)

    def begin(self, task_id: str, *lines: str) -> None:
        """Let the worker start a task, which writes these lines."""
        self._reply(task_id, {"status": "started"})
        self.write(task_id, *lines)

    def write(self, task_id: str, *lines: str, end: str = "\n") -> None:
        for line in lines:
            body = {"message": f"{line}{end}", "stream": "out"}
            self._send(names.EXCHANGE, names.OUTPUT_KEY, body, task_id)
        self.run()

    def complete(self, task_id: str) -> None:
        self._reply(task_id, {"status": "completed", "data": {"exit_code": 0}})

    def fail(self, task_id: str, message: str = "exit code 3", status: str = "error") -> None:
        data = {"status": status, "exit_code": 3}
        self._reply(task_id, {"status": "failed", "message": message, "data": data})

    def _reply(self, task_id: str, body: dict[str, Any]) -> None:
        self._send("", names.REPLY_QUEUE, body, task_id)
        self.run()

    def _send(self, exchange: str, key: str, body: dict[str, Any], task_id: str) -> None:
        properties = Properties(
            correlation_id=self.got[task_id].properties.correlation_id,
            message_id=f"code-{next(self._numbers)}",
            app_id="codeworker",
        )
        self._bus.publish(Outgoing(exchange, key, json.dumps(body).encode(), properties))


def busy(home: House) -> dict[str, str]:
    """Put codes, tasks in every status and schedules into a house; return ids by name."""
    bench = Bench(home)
    mail = bench.upload("send mail", retries=1, env_vars={"SMTP_PASSWORD": "x", "SMTP_HOST": "mail1"})
    config = '{"database": {"host": "db1", "password": "hunter2"}, "pages": 12}'
    report = bench.upload("monthly report", config=config, max_concurrency=2)
    bench.upload("monthly report", config=config, max_concurrency=2)
    paused = bench.upload("clean up")
    home.service.codes.pause(paused, is_paused=True)
    done, failed = bench.queue(
        "send mail", '{"to": "alice@example.com"}', '{"to": "nobody"}', label="batch 7"
    )
    payload = json.dumps({"month": "2026-11", "api_key": "hunter2", "options": {"format": "pdf"}})
    (running,) = bench.queue("monthly report", payload)
    (waiting,) = bench.queue("clean up")
    (late,) = bench.queue("send mail", delay_s=3600)
    bench.run()
    bench.begin(done, "connected to mail1", "sent")
    bench.complete(done)
    bench.begin(failed, "no such mailbox")
    bench.fail(failed)
    bench.begin(running, *(f"page {number} of 12" for number in range(1, 5)))
    home.service.tasks.progress(running, percent=33, msg="4 of 12 pages")
    nightly = bench.schedule("send mail", cron="30 4 * * mon-fri", time_zone="Europe/Berlin", payload="{}")
    bench.schedule("monthly report", run_every_s=86_400.0, run_times=30)
    tasks = {"done": done, "failed": failed, "running": running, "waiting": waiting, "late": late}
    return {**tasks, "mail": mail.id, "report": report.id, "paused": paused.id, "schedule": nightly.id}


def fill_work(home: House, count: int) -> None:
    """Put so many tasks and schedules into a house, of 60 codes at most."""
    bench = Bench(home)
    for number in range(min(count, 60)):
        bench.upload(f"code {number}", max_concurrency=number % 3)
    for start in range(0, count, 500):
        drafts = [
            TaskDraft(f"code {number % 40}", f'{{"number": {number}}}', label=f"label {number % 5}")
            for number in range(start, min(start + 500, count))
        ]
        ids = [row.id for row in home.service.tasks.queue(bench.project, drafts, actor="alice")]
        for own_id in ids[::3]:
            home.service.tasks.cancel(own_id)
        schedules = [ScheduleDraft(one.code_name, cron="0 4 * * *", label=one.label) for one in drafts]
        home.service.schedules.add(bench.project, schedules, actor="alice")


def poisoned_work(home: House) -> list[str]:
    """Store hostile text wherever codes, tasks and schedules have text; return the pages that show it."""
    bench, clean = Bench(home), HOSTILE.replace("\u202e", "").replace("\u202c", "")
    options = CodeOptions(config=HOSTILE, env_vars={clean.replace("=", ""): HOSTILE}, result_queue=clean)
    draft = CodeDraft(clean, HOSTILE, HOSTILE, options)
    code = home.service.codes.upload(bench.project, draft, [package()], actor=HOSTILE)
    home.service.projects.add(clean, actor=HOSTILE)
    (own_id,) = bench.queue(clean, HOSTILE, label=HOSTILE, cluster=HOSTILE)
    bench.run()
    bench.begin(own_id, HOSTILE)
    home.service.tasks.progress(own_id, msg=HOSTILE, percent=5)
    (failed,) = bench.queue(clean, f'{{"{clean[:8]}": "x"}}', label=HOSTILE)
    bench.run()
    bench.begin(failed)
    bench.fail(failed, HOSTILE)
    row = bench.schedule(clean, payload=HOSTILE, label=HOSTILE, cron="0 4 * * *")
    url = f"/tasks/codes/{code.id}"
    return [
        *("/tasks", "/tasks/codes", "/tasks/schedules", f"/tasks/{own_id}", f"/tasks/{failed}"),
        *(url, f"{url}/remove", f"/tasks/schedules/{row.id}", "/tasks/schedules/new", "/tasks/codes/new"),
        f"/deployments/{own_id}",
    ]
