"""`reworker code`, `task`, `schedule` and `project`: on a database, over a server, with a real worker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reworker.core.principal import Scope
from tests.integration.shell_support import Shell
from tests.support.processes import Process
from tests.support.up import Up
from tests.support.waiting import wait_until

COUNT = """\
import json, sys
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
for number in range(json.load(open(given["-payload"]))["n"]):
    print(number, flush=True)
"""
#: writes a line, and ends when it is told to.
ENDLESS = "import time\nprint('begun', flush=True)\ntime.sleep(600)\n"
FAILING = "import sys\nprint('no good', flush=True)\nsys.exit(3)\n"


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    made = Up(tmp_path_factory.mktemp("up"), "--code-slots", "2")
    yield made
    made.close()


@pytest.fixture(params=["database", "server"])
def shell(request: pytest.FixtureRequest, up: Up, tmp_path: Path) -> Shell:
    """Give a shell whose commands go to the database, and one whose commands go to the server."""
    for name, text in (("count", COUNT), ("endless", ENDLESS), ("failing", FAILING)):
        (tmp_path / f"{name}.py").write_text(text)
    made = Shell(tmp_path, up.url, up.token(Scope.ADMIN))
    if request.param == "database":
        made.environment = {"HOME": str(tmp_path), "REWORKER_DB": up.db}
    return made


def uploaded(shell: Shell, name: str, *options: str) -> str:
    found = shell("code", "upload", f"{name}.py", *options)
    assert found.returncode == 0, found.stderr
    return found.stdout.split()[0]


def test_code_is_uploaded_and_its_task_followed(shell: Shell) -> None:
    found = shell("code", "upload", "count.py", "--env", "API_KEY=hunter2", "--env", "A=b")
    assert found.returncode == 0, found.stderr
    assert "guessed: runs count.py with python" in found.stderr
    ran = shell("task", "queue", "count", "--payload", '{"n": 3}', "--wait")
    assert (ran.returncode, ran.stdout) == (0, "0\n1\n2\n"), ran.stderr
    assert "complete" in ran.stderr
    own_id = ran.stderr.split()[0]
    assert shell("task", "log", own_id).stdout == "0\n1\n2\n"
    assert shell("task", "log", "-f", own_id).stdout == "0\n1\n2\n"
    shown = json.loads(shell("task", "show", own_id, "-o", "json").stdout)
    assert (shown["status"], shown["code"], shown["payload"]) == ("complete", "count", '{"n": 3}')
    assert "payload: {" in shell("task", "show", own_id).stdout
    text = shell("code", "show", "count").stdout
    assert "API_KEY=[FILTERED]" in text
    assert "A=b" in text
    assert "hunter2" not in text + shell("code", "show", "count", "-o", "json").stdout
    assert f"{own_id}  " in shell("task", "ls", "--code", "count", "--status", "complete").stdout


def test_task_that_fails_is_tried_again_and_said_to_have_failed(shell: Shell) -> None:
    uploaded(shell, "failing", "--retries", "1", "--name", "failing")
    ran = shell("task", "queue", "failing", "--wait")
    assert (ran.returncode, ran.stdout) == (1, "no good\nno good\n")
    assert "exit code 3); goes on as" in ran.stderr
    as_json = shell("task", "queue", "failing", "--wait", "-o", "json")
    last = json.loads(as_json.stdout)
    assert (as_json.returncode, last["status"], last["retry_no"]) == (1, "error", 1)


def test_task_is_cancelled_and_queued_anew(shell: Shell) -> None:
    uploaded(shell, "endless")
    own_id = shell("task", "queue", "endless", "--timeout", "10m").stdout.strip()
    wait_until(lambda: shell("task", "log", own_id).stdout == "begun\n")
    assert shell("task", "cancel", own_id).stdout == f"{own_id} cancelled\n"
    followed = shell("task", "log", "-f", own_id)
    assert (followed.returncode, followed.stdout) == (3, "begun\n")
    again = shell("task", "retry", own_id, "--delay", "1h")
    assert shell("task", "cancel", again.stdout.strip()).returncode == 0
    many = shell(
        "task", "queue", "endless", "--count", "3", "--delay", "1d", "--label", "many"
    ).stdout.split()
    listed = [
        json.loads(line) for line in shell("task", "ls", "--label", "many", "-o", "json").stdout.splitlines()
    ]
    assert [one["id"] for one in listed[:3]] == many[::-1]
    assert shell("task", "cancel", *many).returncode == 0


def test_log_that_is_empty_says_why_as_long_as_more_may_come(shell: Shell) -> None:
    uploaded(shell, "count", "--name", "late")
    own_id = shell("task", "queue", "late", "--delay", "1h").stdout.strip()
    found = shell("task", "log", own_id)
    assert (found.returncode, found.stdout) == (0, "")
    assert f"it has written nothing yet: task {own_id} is queued" in found.stderr
    shell("task", "cancel", own_id)
    assert shell("task", "log", own_id).stderr == ""


def test_packages_come_back_and_codes_are_changed_paused_and_removed(shell: Shell) -> None:
    (shell.home / "app" / "lib").mkdir(parents=True)
    (shell.home / "app" / "main.sh").write_text("echo hi\n")
    (shell.home / "app" / "lib" / "data.txt").write_text("x")
    first = shell("code", "upload", "app")
    assert "revision 1, 2 files" in first.stdout
    assert "revision 2" in shell("code", "upload", "app", "--runtime", "sh", "--file", "main.sh").stdout
    assert shell("code", "download", "app", "--revision", "1").stdout == "app_1.zip\n"
    with zipfile.ZipFile(shell.home / "app_1.zip") as package:
        assert package.namelist() == ["main.sh", "lib/data.txt"]
    there = shell("code", "download", "app", "--revision", "1")
    assert (there.returncode, "is there already" in there.stderr) == (2, True)
    (shell.home / "config.json").write_text('{"password": "hunter2"}')
    assert (
        shell("code", "change", "app", "--config", "config.json", "--max-concurrency", "2").stdout
        == "changed\n"
    )
    assert shell("code", "pause", "app").stdout == "paused\n"
    assert "(paused)" in shell("code", "ls").stdout
    assert shell("code", "resume", "app").stdout == "resumed\n"
    assert shell("code", "rm", "app").stdout == "removed\n"
    gone = shell("code", "show", "app")
    assert (gone.returncode, "there is no code 'app'" in gone.stderr) == (2, True)


def test_schedule_is_made_changed_and_cancelled(shell: Shell) -> None:
    uploaded(shell, "count", "--name", "counted")
    made = shell(
        "schedule",
        "add",
        "counted",
        "--cron",
        "30 4 * * mon-fri",
        "--time-zone",
        "Europe/Berlin",
        "--payload",
        '{"n": 1}',
    )
    own_id = made.stdout.strip()
    assert (made.returncode, "the first task comes" in made.stderr) == (0, True), made.stderr
    assert "cron '30 4 * * mon-fri' Europe/Berlin" in shell("schedule", "ls").stdout
    changed = shell("schedule", "change", own_id, "--times", "5", "--label", "x")
    assert "0 of 5 made" in changed.stdout
    shown = json.loads(shell("schedule", "show", own_id, "-o", "json").stdout)
    assert (shown["run_times"], shown["label"], shown["payload"]) == (5, "x", '{"n": 1}')
    assert shell("schedule", "cancel", own_id).stdout == f"{own_id} cancelled\n"
    assert own_id in shell("schedule", "ls", "--status", "cancelled").stdout
    at = shell("schedule", "add", "counted", "--in", "0s", "--payload", '{"n": 2}').stdout.strip()
    wait_until(lambda: "complete" in shell("task", "ls", "--schedule", at).stdout)


def test_projects_keep_codes_apart(shell: Shell) -> None:
    name = f"shop of {shell.environment.get('REWORKER_DB', 'the server')[-9:]}"
    own_id = shell("project", "add", name).stdout.strip()
    assert shell("project", "add", name).stdout.strip() == own_id
    assert name in shell("project", "ls").stdout
    uploaded(shell, "count", "--name", "apart", "--project", name)
    assert shell("task", "queue", "apart").returncode == 2
    assert shell("task", "queue", "apart", "--delay", "1h", "--project", own_id).returncode == 0
    assert "apart" in shell("code", "ls", "--project", name).stdout


WRONG: tuple[tuple[tuple[str, ...], int, str], ...] = (
    (("code", "upload", "nowhere"), 2, "cannot read nowhere: No such file or directory"),
    (("code", "upload", "count.py", "--file", "other.py"), 2, "it has 'count.py'"),
    (("code", "upload", "bad.zip"), 2, "no file in this zip"),
    (("code", "upload", "count.py", "--env", "nonsense"), 2, "is not NAME=VALUE"),
    (("code", "upload", "count.py", "--name", "a\nb"), 2, "printable characters"),
    (("code", "upload", "count.py", "--config", "nowhere"), 2, "cannot read nowhere"),
    (("code", "change", "nowhere"), 2, "say what is to be changed"),
    (("task", "queue", "nowhere"), 2, "there is no code 'nowhere' in the project default"),
    (("task", "queue", "cuont"), 2, "did you mean 'count'"),
    (("task", "queue", "count", "--payload", "x" * 70_000), 2, "payload"),
    (("task", "queue", "count", "--payload", "@nowhere"), 2, "cannot read nowhere"),
    (("task", "queue", "count", "--delay", "soon"), 2, "is no length of time"),
    (("task", "queue", "count", "--delay", "8d"), 2, "--delay: "),
    (("task", "queue", "count", "--wait", "--count", "2"), 2, "--wait is for one task"),
    (("task", "queue", "count", "--timeout", "2d"), 2, "--timeout: at most 86400 seconds"),
    (("task", "show", "f" * 24), 1, "there is no task"),
    (("task", "log", "../x"), 1, "`reworker task ls` lists them"),
    (("task", "retry", "f" * 24), 1, "there is no task"),
    (("schedule", "add", "count", "--cron", "now"), 2, "give five fields"),
    (("schedule", "add", "count", "--time-zone", "Europe/Paris"), 2, "give --cron too"),
    (("schedule", "add", "count", "--every", "5s"), 2, "--every: 60 to"),
    (("schedule", "add", "count", "--at", "noon"), 2, "is no moment such as"),
    (("schedule", "show", "f" * 24), 1, "there is no schedule"),
    (("project", "add", ""), 2, "name"),
    (("task", "ls", "--server", "localhost:8080"), 2, "'localhost:8080' is no address of a server"),
    (("task", "ls", "--project", "nowhere"), 1, "there is no project 'nowhere'"),
)


def test_wrong_words_are_refused_with_what_to_do(shell: Shell) -> None:
    (shell.home / "bad.zip").write_bytes(b"PK\x05\x06" + b"\0" * 18)
    uploaded(shell, "count")
    said = {words: shell(*words) for words, _, _ in WRONG}
    wrong = [
        (words, said[words])
        for words, code, reason in WRONG
        if said[words].returncode != code or reason not in said[words].stderr
    ]
    assert wrong == []


def test_token_that_may_only_read_changes_nothing(up: Up, tmp_path: Path) -> None:
    (tmp_path / "count.py").write_text(COUNT)
    shell = Shell(tmp_path, up.url, up.token(Scope.ADMIN))
    uploaded(shell, "count")
    shell.environment["REWORKER_TOKEN"] = up.token(Scope.READ, name="bob")
    assert shell("code", "ls").returncode == 0
    for words in (
        ("code", "upload", "count.py"),
        ("task", "queue", "count"),
        ("schedule", "add", "count", "--in", "1h"),
        ("code", "rm", "count"),
    ):
        found = shell(*words)
        assert (found.returncode, "needs the scope" in found.stderr) == (1, True), found.stderr


def test_wait_that_is_interrupted_leaves_the_task_alone(
    up: Up, process: Callable[..., Process], tmp_path: Path
) -> None:
    (tmp_path / "endless.py").write_text(ENDLESS)
    shell = Shell(tmp_path, "", "")
    shell.environment = {"HOME": str(tmp_path), "REWORKER_DB": up.db}
    uploaded(shell, "endless")
    waiting = process("-m", "reworker", "task", "queue", "endless", "--wait", "--db", up.db)
    waiting.wait_for_line("begun")
    waiting.send_signal(signal.SIGINT)
    assert waiting.wait() == 130
    assert "the task goes on" in waiting.output
    (own_id,) = [line.split()[0] for line in shell("task", "ls", "--status", "running").stdout.splitlines()]
    assert shell("task", "cancel", own_id).returncode == 0


def test_names_of_codes_are_completed(shell: Shell) -> None:
    uploaded(shell, "count", "--name", "completed-one")
    words = {"COMP_WORDS": "reworker task queue compl", "COMP_CWORD": "3"}
    found = subprocess.run(
        [Path(sys.executable).parent / "reworker"],
        env={**os.environ, **shell.environment, **words, "_REWORKER_COMPLETE": "bash_complete"},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert (found.stdout, found.stderr) == ("plain,completed-one\n", "")
