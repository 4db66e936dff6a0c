"""Drives PyPI's iron-worker, unmodified; prints what it got as one JSON object. The place is in IRON_*."""

import json
from datetime import UTC, datetime, timedelta

from iron_worker import CodePackage, IronWorker, Task
from requests.exceptions import HTTPError

found = {}
worker = IronWorker()
code = CodePackage(name="HelloWorld", executable="hello.py")
code.merge("hello.py")
uploaded = worker.upload(code)
found["uploaded"] = [uploaded.id, worker.code(uploaded.id).name, worker.code(uploaded).revision]
again = worker.upload("hello.py", name="HelloWorld")
found["again"] = [again.id == uploaded.id, len(worker.revisions(again)), [one.name for one in worker.codes()]]

task = worker.queue(code_name="HelloWorld", payload={"a": 1, "l": ["x", "ü"]}, label="greeting")
task = worker.wait_for_task(task)
found["task"] = [task.status, task.code_name, task.label, task.payload, task.percent, str(task.duration)]
found["log"] = worker.wait_for_task_log(task)
found["stdout"] = worker.wait_for_task_stdout(task)
found["run"] = worker.run(code_name="HelloWorld", payload="plain text")

bulk = worker.queue(tasks=[Task(code_name="HelloWorld", payload=str(number)) for number in range(3)])
found["bulk"] = [worker.wait_for_task(one).payload for one in bulk]
late = worker.queue(code_name="HelloWorld", delay=600, priority=2, timeout=60)
worker.setProgress(late, 50, "half")
seen = worker.task(late)
found["late"] = [seen.status, seen.percent, seen.priority, seen.delay, seen.timeout]
found["retried"] = worker.retry(late, delay=300)["msg"]
found["cancelled"] = [worker.cancel(late), worker.task(late).status]
found["lists"] = [
    sorted({one.status for one in worker.tasks(complete=True, cancelled=True)}),
    len(worker.tasks(code_name="HelloWorld", per_page=2)),
    worker.tasks(from_time=1, to_time=2),
    len(worker.tasks_by_code_name("HelloWorld")) >= 7,
]

start = datetime.now(UTC) + timedelta(hours=1)
scheduled = worker.queue(
    code_name="HelloWorld",
    payload={"s": 1},
    start_at=start,
    run_every=3600,
    run_times=8,
    end_at=start.replace(year=2099),
)
seen = worker.task(scheduled)
found["schedule"] = [
    seen.status,
    seen.run_every,
    seen.run_times,
    abs(seen.start_at - start) < timedelta(seconds=1),
]
found["schedules"] = [one.id == scheduled.id for one in worker.tasks(scheduled=True)]
found["unscheduled"] = [worker.cancel(scheduled), worker.task(scheduled).status]

refused = []
for attempt in (
    lambda: worker.queue(code_name="Nobody"),
    lambda: worker.task("0" * 24),
    lambda: IronWorker(token="wrong").codes(),
):
    try:
        attempt()
    except HTTPError as error:
        refused.append([error.response.status_code, error.response.json()["msg"]])
found["refused"] = refused
package = worker.client.get(f"codes/{uploaded.id}/download?revision=1")["resp"]
found["package"] = [
    package.headers["Content-Disposition"].removeprefix("filename="),
    package.content[:4].decode(),
]
try:
    worker.download(uploaded)
except AttributeError as error:  # a fault of its own on Python 3, after the answer has come
    found["download"] = str(error)
found["deleted"] = [worker.deleteCode(uploaded), worker.codes()]
print(json.dumps(found, default=str))
