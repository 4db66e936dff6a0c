"""The command line as people use it: real processes, a real broker, a database in a folder."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from reworker.cli.main import main
from tests.conftest import fresh_vhost
from tests.integration.cli_support import reworker, shared_system, start_system
from tests.support.ports import free_port
from tests.support.waiting import wait_until

ROLLOUT = """group: web
name: roll out
execution:
- description: servers
  hosts: [web1, web2]
  steps:
  - noop:Run: {greeting: hello}
  - sleep:Seconds: {seconds: 0.05}
"""
FAILING = ROLLOUT + "  - noop:Fail: {message: no disk left}\n"
IN_DOUBT = ROLLOUT.replace("noop:Run: {greeting: hello}", "doubt:Do")


def laid_out(folder):
    (folder / "rollout.yaml").write_text(ROLLOUT)
    (folder / "failing.yaml").write_text(FAILING)
    (folder / "doubt.yaml").write_text(IN_DOUBT)
    return folder


@pytest.fixture
def folder(tmp_path):
    return laid_out(tmp_path)


@pytest.fixture(scope="module")
def shared(tmp_path_factory, broker_session):
    """The folder of a core and two workers that tests share which leave them free."""
    folder = laid_out(tmp_path_factory.mktemp("shared"))
    with shared_system(folder, broker_session.url(fresh_vhost())):
        yield folder


@pytest.fixture
def system(process, broker_url, folder):
    start_system(process, broker_url)


def test_run_follows_a_deployment_to_its_end(process, any_broker_url, folder):
    start_system(process, any_broker_url)
    result = reworker("run", "rollout.yaml", folder=folder)
    assert result.returncode == 0, result.stdout + result.stderr
    steps = re.findall(r"(web\d)  (\S+)  completed", result.stdout)
    assert steps == [(host, step) for host in ("web1", "web2") for step in ("noop:Run", "sleep:Seconds")]
    assert re.search(r"[0-9a-f]{24} completed: 4 of 4 steps in [0-9.]+ s$", result.stdout.strip())


def test_run_says_on_which_host_and_step_and_why_it_failed(shared):
    result = reworker("run", "failing.yaml", folder=shared)
    assert result.returncode == 1
    assert "failed: noop:Fail on web1: no disk left" in result.stdout
    assert "web2" not in result.stdout


def test_run_as_json_prints_the_event_stream(shared):
    result = reworker("run", "rollout.yaml", "-o", "json", folder=shared)
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.returncode == 0
    assert events[0]["event"] == "Submitted"
    assert [one["seq"] for one in events] == list(range(1, len(events) + 1))


def test_detached_deployments_can_be_watched_shown_and_listed(system, folder):
    deployment = reworker("run", "failing.yaml", "--detach", folder=folder).stdout.strip()
    assert reworker("watch", deployment, folder=folder).returncode == 1
    shown = json.loads(reworker("show", deployment, "-o", "json", folder=folder).stdout)
    assert shown["status"] == "failed"
    assert shown["failure"] == {"host": "web1", "step": "noop:Fail", "reason": "no disk left"}
    assert [one["status"] for one in shown["attempts"]] == ["completed", "completed", "failed"]
    text = reworker("show", deployment, folder=folder).stdout
    assert "noop:Fail  failed: no disk left" in text
    listed = reworker("ls", "--status", "failed", folder=folder).stdout
    assert deployment in listed
    assert json.loads(reworker("ls", "-o", "json", folder=folder).stdout)["id"] == deployment


def test_logs_print_the_output_of_the_steps(shared):
    deployment = reworker("run", "rollout.yaml", "--detach", folder=shared).stdout.strip()
    assert reworker("watch", deployment, folder=shared).returncode == 0

    def lines():
        return reworker("logs", deployment, folder=shared).stdout.splitlines()

    wait_until(lambda: len(lines()) == 2, 60, "two lines of output")
    assert [line.split("  ")[-1] for line in lines()] == [
        "Run on web1: nothing to do",
        "Run on web2: nothing to do",
    ]
    as_json = reworker("logs", deployment, "-f", "-o", "json", folder=shared).stdout.splitlines()
    assert [json.loads(line)["no"] for line in as_json] == [1, 2]


def test_the_same_key_starts_one_deployment(shared):
    first, second = (
        reworker("run", "rollout.yaml", "--key", "release-7", "--detach", folder=shared).stdout
        for _ in range(2)
    )
    assert first == second != ""


def test_pause_resume_and_cancel_act_on_a_running_deployment(system, folder):
    slow = folder / "slow.yaml"
    slow.write_text(ROLLOUT.replace("seconds: 0.05", "seconds: 60"))
    deployment = reworker("run", "slow.yaml", "--detach", folder=folder).stdout.strip()
    assert reworker("pause", deployment, folder=folder).stdout == "paused\n"
    again = reworker("pause", deployment, folder=folder)
    assert again.returncode == 1
    assert "nothing changed" in again.stderr
    assert reworker("resume", deployment, folder=folder).stdout == "resumed\n"
    assert reworker("cancel", deployment, "--reason", "wrong day", folder=folder).returncode == 0
    result = reworker("watch", deployment, folder=folder)
    assert result.returncode == 3
    assert "cancelled" in result.stdout
    assert "wrong day" in result.stdout


def test_a_doubt_waits_for_a_person_who_decides(system, folder, process, broker_url):
    (folder / "doubtful.py").write_text(
        "from reworker.errors import JobUnknown\n"
        "from reworker.worker import Worker, step\n"
        "class DoubtWorker(Worker):\n"
        "    @step('Do')\n"
        "    def do(self, job):\n"
        "        raise JobUnknown('the switch did not answer')\n"
    )
    process("-m", "reworker", "worker", "doubtful:DoubtWorker", broker_url).wait_for_line("consuming")
    result = reworker("run", "doubt.yaml", folder=folder)
    assert result.returncode == 4
    decide = re.search(r"^decide: reworker decide (\S+) (\d+) retry", result.stdout, re.MULTILINE)
    assert "the switch did not answer" in result.stdout
    deployment, attempt = decide.groups()
    assert reworker("decide", deployment, "complete", folder=folder).returncode == 2
    decided = reworker("decide", deployment[:14], "complete", "--reason", "I looked", folder=folder)
    assert decided.stdout == "decided: complete\n"
    again = reworker("decide", deployment, attempt, "complete", "--reason", "I looked", folder=folder)
    assert again.returncode == 1
    assert "waits for no decision" in again.stderr
    second = reworker("watch", deployment, folder=folder)
    assert second.returncode == 4
    attempt = re.search(r"reworker decide \S+ (\d+) retry", second.stdout)[1]
    reworker("decide", deployment, attempt, "fail", "--reason", "by hand", folder=folder)
    assert "failed: doubt:Do on web2: by hand" in reworker("watch", deployment, folder=folder).stdout


@pytest.mark.parametrize("name", ["0" * 24, "../../x", "0" * 10_000])
def test_commands_say_when_there_is_no_such_deployment(shared, name):
    result = reworker("watch", name, folder=shared)
    assert result.returncode == 1
    assert "no deployment" in result.stderr


def test_a_step_without_a_worker_fails_and_says_what_is_missing(shared):
    (shared / "nobody.yaml").write_text(ROLLOUT.replace("noop:Run", "nobody:Run"))
    result = reworker("run", "nobody.yaml", folder=shared)
    assert result.returncode == 1
    assert "no queue is bound to worker.nobody" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("run", "gone.yaml"), 2, "gone.yaml: cannot be read"),
        (("show", "0" * 24), 2, "there is no database at"),
        (("run", "rollout.yaml", "--db", "oracle://x"), 1, "not supported"),
        (("run", "rollout.yaml"), 2, "there is no database at"),
        (("core", "--mq", "amqp://127.0.0.1:1/", "--db", "/proc/x/y.db"), 2, "cannot make the folder"),
        (("core", "--mq", "gone.json"), 2, "gone.json"),
        (("core", "--mq", "amqp://127.0.0.1:1/", "--db", "postgresql://127.0.0.1:1/x"), 5, "refused"),
        (("core",), 2, "no message bus is set"),
        (("core", "-c", "gone.json"), 2, "gone.json"),
        (("core", "-t", "gone.json", "--mq", "amqp://127.0.0.1:1/"), 2, "gone.json"),
        (("playbook", "add", "rollout.yaml"), 2, "there is no database at"),
        (("topology", "apply", "-f", "gone.yaml", "--mq", "amqp://127.0.0.1:1/"), 2, "gone.yaml"),
        (("worker", "nosuch", "amqp://127.0.0.1:1/"), 2, "no such worker"),
        (("worker", "noop", "gone.json"), 2, "gone.json"),
        (("broker", "--port", "0", "--host", "0.0.0.0"), 2, "user"),
    ],
)
def test_a_wrong_call_ends_in_one_clear_line_and_the_right_code(arguments, code, words, folder):
    result = reworker(*arguments, folder=folder)
    assert result.returncode == code, result.stderr
    assert words in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "rollout.yaml"),
        ("prune", "--older-than", "9d"),
        ("playbook", "ls"),
        ("playbook", "add", "rollout.yaml"),
        ("verify", "--all"),
        ("ls",),
        *((name, "0" * 24) for name in ("watch", "show", "logs", "cancel", "pause", "resume", "approve")),
        ("decide", "0" * 24, "retry", "--reason", "x"),
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_a_database_that_cannot_be_reached_has_an_exit_code_of_its_own(
    arguments, folder, monkeypatch, capsys
):
    monkeypatch.chdir(folder)
    url = f"postgresql://ann:s3cret@127.0.0.1:{free_port()}/reworker"
    monkeypatch.setattr(sys, "argv", ["reworker", *arguments, "--db", url])
    with pytest.raises(SystemExit) as caught:
        main()
    told = capsys.readouterr().err
    assert caught.value.code == 5, told
    assert "refused" in told
    assert "s3cret" not in told


def test_core_says_what_to_install_on_a_machine_for_workers_only(folder):
    program = "import sys; sys.modules['sqlalchemy'] = None; from reworker.cli.main import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", program, "core", "--mq", "amqp://127.0.0.1:1/"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert result.returncode == 2
    assert "reworker[server]" in result.stderr
    assert "Traceback" not in result.stderr


def test_up_runs_everything_until_it_is_told_to_stop(process, folder):
    up = process("-m", "reworker", "up", "--mq-port", "0", "--state", "here")
    db = up.wait_for_line(r"--db (\S+)")[1]
    assert reworker("run", "rollout.yaml", "--db", db, folder=folder).returncode == 0
    assert up.terminate() == 0
    with sqlite3.connect(folder / "here" / "reworker.db") as connection:
        assert connection.execute("SELECT count(*) FROM deployment").fetchone() == (1,)


def test_up_starts_its_broker_again_when_that_is_killed(process, folder):
    up = process("-m", "reworker", "up", "--mq-port", "0", "--state", "here")
    db = up.wait_for_line(r"--db (\S+)")[1]
    broker, _code_worker = Path(f"/proc/{up.pid}/task/{up.pid}/children").read_text().split()
    os.kill(int(broker), signal.SIGKILL)
    up.wait_for_line("the embedded broker ended with code -9; starting it again")
    assert reworker("run", "rollout.yaml", "--db", db, folder=folder).returncode == 0
    assert up.terminate() == 0


def test_up_says_when_its_port_is_taken(process, folder):
    port = free_port()
    process("-m", "reworker", "broker", "--port", str(port)).wait_for_line("listening on")
    result = reworker("up", "--mq-port", str(port), "--state", "other", folder=folder)
    assert result.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}" in result.stderr


def test_demo_completes_one_playbook_and_fails_the_other_on_purpose(folder):
    result = reworker("demo", folder=folder)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "completed: 12 of 12 steps" in result.stdout
    assert "failed: megafrobber:Frob on web2: web2 resists frobbing in mauve" in result.stdout
    show = re.search(r"/?reworker (show \S+ --db \S+)", result.stdout)[1]
    assert "failed" in reworker(*show.split(), folder=folder).stdout


def test_demo_may_be_repeated_on_the_same_state(folder):
    assert reworker("demo", folder=folder).returncode == 0
    assert reworker("demo", folder=folder).returncode == 0


def test_new_makes_a_worker_that_passes_its_own_test_and_runs(process, folder, broker_url):
    assert reworker("new", "greeter", folder=folder).returncode == 0
    plugin = folder / "re-worker-greeter"
    own = subprocess.run(
        [sys.executable, "-m", "pytest", "-q"],
        cwd=plugin,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert own.returncode == 0, own.stdout + own.stderr
    process("replugin/greeterworker/__init__.py", broker_url, folder=plugin).wait_for_line("consuming")
    process("-m", "reworker", "core", "--mq", broker_url, folder=plugin).wait_for_line("core core runs")
    result = reworker("run", "playbook.yaml", folder=plugin)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("greeter:Greet  completed") == 2


def test_interrupting_run_detaches_and_says_so(shared, process):
    (shared / "slow.yaml").write_text(ROLLOUT.replace("seconds: 0.05", "seconds: 1"))
    follower = process("-m", "reworker", "run", "slow.yaml", folder=shared)
    follower.wait_for_line("started")
    follower.send_signal(signal.SIGINT)
    assert follower.wait() == 130
    deployment = re.search(r"detached.*reworker watch (\S+)", follower.output)[1]
    assert reworker("watch", deployment, folder=shared).returncode == 0


def test_run_says_when_no_core_takes_the_step(folder, process, broker_url):
    core = process("-m", "reworker", "core", "--mq", broker_url)
    core.wait_for_line("core core runs")
    assert core.terminate() == 0
    follower = process("-m", "reworker", "run", "rollout.yaml")
    follower.wait_for_line(rf"is `reworker core` running on {folder}/state/reworker.db\?")
    follower.send_signal(signal.SIGINT)
    assert follower.wait() == 130
    cancel = re.search(r"it waits for a core. To withdraw it: reworker (cancel \S+)", follower.output)[1]
    assert reworker(*cancel.split(), folder=folder).stdout == "cancelling\n"


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("command", [("worker", "noop"), ("core", "--mq")])
def test_a_signal_ends_the_search_for_a_broker(process, command, name):
    waiting = process("-m", "reworker", *command, f"amqp://127.0.0.1:{free_port()}/")
    waiting.wait_for_line("cannot connect")
    waiting.send_signal(signal.Signals[name])
    assert waiting.wait(20) == 0
    assert "stopped while looking for the broker" in waiting.output


def test_up_says_when_another_one_uses_its_folder(process, folder):
    process("-m", "reworker", "up", "--mq-port", "0").wait_for_line("ready:")
    result = reworker("up", "--mq-port", "0", folder=folder)
    assert result.returncode == 2
    assert "another" in result.stderr
