"""Our own client of the IronWorker API, from outside and from inside of a task, on the whole product."""

from __future__ import annotations

import os
import shutil
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import reworker
from reworker.core.principal import Scope
from reworker.errors import Forbidden, NotAuthenticated
from reworker.iron import IronWorker, PackageInvalid, TaskNotOver, TaskRefused, ThingNotFound
from tests.support.iron_site import IronSite
from tests.support.waiting import wait_until

#: writes a line, tells how far it is, waits until somebody says that it is through, writes another one.
PATIENT = """\
import time
from reworker.iron import IronWorker, config, payload, set_progress, task_id

print("for", payload()["whom"], "by", config()["who"], flush=True)
set_progress(50, "half")
while IronWorker().task(task_id()).percent < 100:
    time.sleep(0.05)
print("through")
"""


@pytest.fixture
def client(iron_site: IronSite, request: pytest.FixtureRequest) -> IronWorker:
    return iron_site.client(request.node.name[:90])


def put_client_into(folder: Path) -> None:
    """Put what the client needs beside a program: nothing but the standard library beyond that."""
    own = Path(reworker.__file__).parent
    shutil.copytree(own / "iron", folder / "reworker" / "iron", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("__init__", "errors", "task_errors", "backoff", "clock"):
        shutil.copy(own / f"{name}.py", folder / "reworker")


def test_task_is_followed_and_speaks_for_itself_while_it_runs(client: IronWorker, tmp_path: Path) -> None:
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "main.py").write_text(PATIENT)
    put_client_into(folder)
    code = client.upload(folder, "Patient", "main.py", config={"who": "us"})
    task = client.queue(code.name, {"whom": "you"}, label="patient")
    log = client.follow_log(task)
    seen = next(log)
    while not seen.endswith("\n"):
        seen += next(log)
    assert seen == "for you by us\n"
    found = wait_until(lambda: (now := client.task(task)).percent == 50 and now, 60)
    assert (found.status, found.msg, found.label) == ("running", "half", "patient")
    with pytest.raises(TaskNotOver, match="is still running"):
        client.wait(task, timeout_s=0.1)
    client.set_progress(task, 100)
    assert "".join(log) == "through\n"
    over = client.wait(task, timeout_s=60)
    assert over.is_complete
    assert over.start_time is not None
    assert over.end_time is not None
    assert client.stdout(task) == client.log(task) == "for you by us\nthrough\n"


def test_code_goes_there_and_back_when_it_is_a_zip(client: IronWorker, tmp_path: Path) -> None:
    package = tmp_path / "own.zip"
    with zipfile.ZipFile(package, "w") as made:
        made.writestr("main.sh", "echo one\n")
        made.writestr("large.bin", os.urandom(5 << 20))
    first = client.upload(package, "Own", "main.sh", max_concurrency=2, env_vars={"A": "b"}, retries=1)
    assert (first.rev, first.max_concurrency, first.runtime) == (1, 2, "sh")
    assert client.download(first, tmp_path / "back.zip").read_bytes() == package.read_bytes()
    (tmp_path / "main.sh").write_text("echo two\n")
    second = client.upload(tmp_path / "main.sh", "Own")
    assert (second.id, second.rev, second.max_concurrency) == (first.id, 2, 2)
    assert client.download(first, tmp_path).name == "Own_2.zip"
    assert client.download(first, tmp_path, revision=1).read_bytes() == package.read_bytes()
    assert [one.rev for one in client.revisions(first)] == [2, 1]
    changed = client.change_code("Own", retries=3)
    assert (changed.rev, changed.retries, changed.max_concurrency) == (2, 3, 2)
    client.delete_code(first)
    with pytest.raises(ThingNotFound, match="there is no code"):
        client.code(first)
    assert client.codes() == []


def test_tasks_wait_while_their_code_is_paused_and_end_when_told(client: IronWorker, tmp_path: Path) -> None:
    (tmp_path / "main.sh").write_text("exit 3\n")
    code = client.upload(tmp_path / "main.sh", "Paused")
    client.pause(code)
    tasks = client.queue_many("Paused", range(3), priority=1)
    assert [one.status for one in client.tasks("queued", code_name="Paused")] == ["queued"] * 3
    client.cancel(tasks[0])
    client.resume(code)
    assert client.wait(tasks[1], timeout_s=60).status == "error"
    assert client.wait(tasks[1]).msg == "exit code 3"
    client.wait(tasks[2], timeout_s=60)
    assert client.task(tasks[0]).status == "cancelled"
    again = client.retry(tasks[0], delay_s=600)
    assert (again.payload, again.delay_s) == ("0", 600)
    client.cancel_all(code)
    assert client.task(again).status == "cancelled"
    assert client.code_stats(code)["cancelled"] == 2


def test_schedule_is_made_changed_and_ended(client: IronWorker, tmp_path: Path) -> None:
    (tmp_path / "main.sh").write_text("echo $SCHEDULE_ID\n")
    client.upload(tmp_path / "main.sh", "Clock")
    start = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    made = client.schedule("Clock", {"a": 1}, start_at=start, run_every_s=3600, run_times=5)
    assert (made.status, made.start_at, made.run_every_s, made.run_times) == ("scheduled", start, 3600, 5)
    assert client.change_schedule(made, run_every_s=120).run_every_s == 120
    assert [one.id for one in client.schedules()] == [made.id]
    client.cancel_schedule(made)
    assert client.schedule_info(made).status == "cancelled"
    by_cron = client.schedule("Clock", cron="0 3 * * *", time_zone="Europe/Berlin")
    assert by_cron.next_start is not None
    assert by_cron.raw["time_zone"] == "Europe/Berlin"
    soon = client.schedule("Clock", delay_s=0, start_at=datetime.now(UTC))
    fired = wait_until(lambda: client.tasks("complete", code_name="Clock"), 60)
    assert fired[0].schedule_id == soon.id
    assert client.log(fired[0]) == f"{soon.id}\n"


def test_error_says_what_is_wrong_and_where_when_a_request_is_refused(
    client: IronWorker, iron_site: IronSite, tmp_path: Path
) -> None:
    (tmp_path / "main.sh").write_text("exit 0\n")
    client.upload(tmp_path / "main.sh", "There")
    with pytest.raises(ThingNotFound, match=r"there is no code 'Nobody' in project .* of http://127"):
        client.queue("Nobody")
    with pytest.raises(TaskRefused, match="payload: has more than 65536 bytes"):
        client.queue("There", "x" * 70_000)
    with pytest.raises(TaskRefused, match="run_every"):
        client.schedule("There", run_every_s=1)
    with pytest.raises(ThingNotFound, match="there is no project 'nowhere' on http"):
        IronWorker(token=iron_site.token, project_id="nowhere", cloud=iron_site.url).codes()
    reader = IronWorker(token=iron_site.up.token(Scope.READ), cloud=iron_site.url)
    with pytest.raises(Forbidden, match="this needs the scope run"):
        reader.queue("There")


def test_wrong_token_is_told_when_the_server_does_not_read_all_of_a_package(
    iron_site: IronSite, tmp_path: Path
) -> None:
    with zipfile.ZipFile(tmp_path / "large.zip", "w") as made:
        made.writestr("main.sh", "exit 0\n")
        made.writestr("large.bin", os.urandom(20 << 20))
    client = IronWorker("wrong", cloud=iron_site.url)
    with pytest.raises(NotAuthenticated, match="does not take the token, from argument token"):
        client.upload(tmp_path / "large.zip", "Large", "main.sh")
    with pytest.raises(PackageInvalid, match=r"there is no 'gone\.sh'"):
        client.postCode("gone.sh", str(tmp_path / "large.zip"), "Large")
