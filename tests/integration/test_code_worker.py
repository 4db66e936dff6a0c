"""The code worker with real processes: what it promises to code packages, and how tasks end."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import threading
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from reworker.bus.contract import Outgoing
from reworker.codes.process import PATH
from tests.integration.code_support import CODE, DOWNLOAD, PROJECT, TASK, Bed, log_of, package
from tests.support.http_server import Answer, HttpServer
from tests.support.ports import free_port
from tests.support.waiting import wait_until


@pytest.fixture
def bed() -> Iterator[Bed]:
    with tempfile.TemporaryDirectory() as top, HttpServer() as server:
        Path(top).chmod(0o755)  # pytest's own folders let nobody else through
        found = Bed(Path(top), server)
        yield found
        found.close()


class Gate:
    """A named pipe at which tasks wait, one after the other, until the test opens it."""

    def __init__(self, bed: Bed) -> None:
        self.path = bed.top / "go"
        os.mkfifo(self.path)
        self.path.chmod(0o666)
        # Open at both ends: a write then waits for no reader, so a task that is gone holds up no test.
        self._file = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)

    def open(self) -> None:
        """Let one task pass that reads a line."""
        os.write(self._file, b"x\n")

    def __enter__(self) -> Gate:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)


def wrote(sent: Iterable[Outgoing], word: bytes) -> bool:
    """Tell whether a task's output has come that has a word."""
    return any(word in one.body for one in list(sent) if one.routing_key == "output")


def test_process_gets_the_arguments_in_their_order(bed: Bed) -> None:
    words = log_of(bed.shell('printf "%s\\n" "$0" "$@"; pwd')).splitlines()
    folder = words.pop()
    payload = f"{folder}/task_payload.json"
    assert words == ["main.sh", "-d", f"{folder}/", "-e", "production", "-id", TASK, "-payload", payload]


def test_process_gets_config_and_schedule_only_when_there_are_any(bed: Bed) -> None:
    script, schedule = 'echo "$@"; echo $SCHEDULE_ID; cat $CONFIG_FILE', "e" * 24
    lines = log_of(bed.shell(script, config="a=1\r\n\u00fc", schedule_id=schedule)).split("\n")
    assert lines[0].endswith("/task_config.json")
    assert "-schedule_id" not in lines[0]
    assert lines[1:] == [schedule, "a=1\r", "\u00fc"]
    runner = bed.run({"__runner__.sh": "echo $@"}, schedule_id=schedule)
    assert log_of(runner).endswith(f"-schedule_id {schedule}\n")


def test_runner_of_the_go_guide_finds_its_folder_in_the_first_argument(bed: Bed) -> None:
    runner = 'root() { while [ $# -gt 0 ]; do if [ "$1" = "-d" ]; then printf "%s" "$2"; break; fi; done; }\n'
    files = {
        "__runner__.sh": runner + 'cd "$(root "$@")"; chmod +x worker; ./worker "$@"',
        "worker": "#!/bin/sh\npwd",
    }
    found = bed.run(files, timeout_s=30)
    assert found.data == {"exit_code": 0}
    assert log_of(found).endswith("/task\n")


@pytest.mark.parametrize("payload", ["", '{"a": "\u00fc\\n"}', "no JSON\r\n\x00\x7f"])
def test_payload_is_in_its_file_byte_for_byte(bed: Bed, payload: str) -> None:
    found = bed.shell('cat "$PAYLOAD_FILE"; cmp "$PAYLOAD_FILE" task_payload.json', payload=payload)
    assert log_of(found) == payload


def test_environment_is_what_is_promised_and_nothing_of_the_worker(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKERS_SECRET", "hush")
    found = log_of(bed.shell("env", token="t0k", env_vars={"COLOUR": "red", "IRON_PORT": "1"}))
    pairs = dict(line.split("=", 1) for line in found.splitlines())
    folder = pairs["TASK_DIR"]
    assert pairs["PATH"].startswith(PATH)
    assert {
        key: pairs[key] for key in sorted(pairs) if key not in ("PATH", "PWD", "_", "SHLVL", "OLDPWD")
    } == {
        "COLOUR": "red",
        "HOME": folder.rstrip("/"),
        "IRON_HOST": "localhost",
        "IRON_PORT": "1",
        "IRON_PROJECT_ID": PROJECT,
        "IRON_PROTOCOL": "http",
        "IRON_SCHEME": "http",
        "IRON_TOKEN": "t0k",
        "LANG": "C.UTF-8",
        "PAYLOAD_FILE": f"{folder}task_payload.json",
        "TASK_DIR": folder,
        "TASK_ID": TASK,
        "TMPDIR": f"{folder.removesuffix('task/')}tmp",
    }


def test_own_token_does_not_stand_in_the_log(bed: Bed) -> None:
    token = f"rwt_{'a' * 24}_{'b' * 64}"
    found = log_of(
        bed.shell('echo "$IRON_TOKEN"; test ${#IRON_TOKEN} = 93 && env | grep ^IRON_TOKEN', token=token)
    )
    assert found == "***\nIRON_TOKEN=***\n"


@pytest.mark.parametrize(
    ("runtime", "name", "script"),
    [
        ("sh", "a.sh", "echo hello"),
        ("", "a.sh", "echo hello"),
        ("python", "a.py", "print('hello')"),
        ("python3", "a.py", "print('hello')"),
        ("Python-3.2", "a.py", "print('hello')"),
        ("javascript", "a.js", "console.log('hello')"),
        ("node", "a.js", "console.log('hello')"),
        ("php", "a.php", '<?php echo "hello\\n";'),
        ("perl", "a.pl", 'print "hello\\n";'),
        ("ruby", "a.rb", "puts 'hello'"),
        ("binary", "a", "#!/bin/sh\necho hello"),
        ("java", "__runner__.sh", "echo hello"),
        ("go", "__runner__.sh", "echo hello"),
    ],
)
def test_file_is_run_by_its_runtime(bed: Bed, runtime: str, name: str, script: str) -> None:
    program = {"javascript": "node", "ruby": "ruby", "php": "php", "perl": "perl", "node": "node"}.get(
        runtime
    )
    if program and shutil.which(program, path=PATH) is None:
        pytest.skip(f"{program} is not installed")
    found = bed.run({name: script}, runtime=runtime)
    assert (found.message, log_of(found)) == (None, "hello\n")


def test_entry_is_found_and_made_executable_when_it_lies_deeper(bed: Bed) -> None:
    found = bed.run({"testDir/hello": "#!/bin/sh\npwd", "other": ""}, "hello", runtime="binary")
    assert log_of(found).endswith("/task\n")


def test_python_is_there_where_only_python3_is(bed: Bed) -> None:
    programs = bed.top / "programs"
    programs.mkdir()
    real = shutil.which("python3", path=PATH)
    assert real
    for name in ("python3", "sh", "dirname", "readlink"):
        (programs / name).symlink_to(shutil.which(name, path=PATH) or real)
    bed.config["path"] = str(programs)
    found = bed.run({"a.py": "import os; os.system('python -c \"print(6 * 7)\"')"}, runtime="python")
    assert log_of(found) == "42\n"


def test_log_has_both_streams_in_the_order_in_which_they_were_written(bed: Bed) -> None:
    found = bed.shell("for i in $(seq 200); do echo out $i; echo err $i >&2; done")
    assert log_of(found) == "".join(f"out {number}\nerr {number}\n" for number in range(1, 201))


def test_stdout_is_known_apart_when_that_is_wanted(bed: Bed) -> None:
    sent, ended = bed.harness.bus.sent, []
    with Gate(bed) as gate:
        script = f"echo one; read x < {gate.path}; echo two >&2; read x < {gate.path}; printf three"
        thread = threading.Thread(target=lambda: ended.append(bed.shell(script, splits_output=True)))
        thread.start()
        for word in (b"one", b"two"):  # which stream was written to first is known when each was read
            wait_until(lambda word=word: wrote(sent, word), 30)  # type: ignore[misc]  # bound in the loop
            gate.open()
        thread.join(60)
    (found,) = ended
    assert log_of(found) == "one\ntwo\nthree"
    assert log_of(found, "out") == "one\nthree"
    assert log_of(found, "err") == "two\n"


def test_log_is_sent_while_the_process_runs(bed: Bed) -> None:
    sent = bed.harness.bus.sent
    with Gate(bed) as gate:
        thread = threading.Thread(target=bed.shell, args=(f"echo first; read x < {gate.path}; echo last",))
        thread.start()
        wait_until(lambda: wrote(sent, b"first"), 30)
        assert not wrote(sent, b"last")
        gate.open()
        thread.join(60)
    assert wrote(sent, b"last")


def test_log_has_replacements_for_what_is_no_utf_8(bed: Bed) -> None:
    found = bed.shell(r"printf 'a\377b\303'; sleep 0.2; printf '\274c\303'")
    assert log_of(found) == "a\ufffdb\u00fcc\ufffd"


@pytest.mark.parametrize(("script", "code"), [("exit 3", 3), ("kill -SEGV $$", 139), ("nonsense-xyz", 127)])
def test_task_ends_in_error_when_its_process_does(bed: Bed, script: str, code: int) -> None:
    found = bed.shell(script)
    assert (found.statuses, found.message) == (["started", "failed"], f"exit code {code}")
    assert found.data == {"status": "error", "exit_code": code}


@pytest.mark.parametrize("script", ["kill -9 $$", "exit 137"])
def test_task_is_killed_when_its_process_was(bed: Bed, script: str) -> None:
    assert bed.shell(script).data == {"status": "killed", "exit_code": 137}


def test_task_times_out_when_it_takes_too_long(bed: Bed) -> None:
    found = bed.shell("trap '' TERM; echo begun; sleep 60 & wait; sleep 60", timeout_s=2.5)
    assert found.data == {"status": "timeout", "exit_code": None}
    assert found.message == "ran longer than its limit of 2.5 s"
    assert log_of(found) == "begun\n"


def cancelled(bed: Bed, script: str) -> tuple[dict[str, object] | None, str]:
    """Run a script that says when it is ready, cancel it then; return the last reply and the log."""
    content = package({"main.sh": script})
    bed.server.answers[DOWNLOAD] = Answer(body=content)
    delivery, sent = bed.delivery(content, "main.sh"), bed.harness.bus.sent
    found = []
    thread = threading.Thread(target=lambda: found.append(bed.harness.run(delivery)))
    thread.start()
    wait_until(lambda: any(b"ready" in one.body for one in list(sent)), 30)
    bed.cancel()
    thread.join()
    return found[0].final, log_of(found[0])


def test_cancelled_task_may_say_goodbye(bed: Bed) -> None:
    words = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(print('bye')))"
    script = f"exec python -u -c \"{words}; print('ready'); time.sleep(60)\""
    bed.config["cancel_grace_s"] = 20
    final, log = cancelled(bed, script)
    assert (final or {})["status"] == "cancelled"
    assert log.endswith("bye\n")


def test_cancelled_task_is_killed_when_it_does_not_listen(bed: Bed) -> None:
    final, log = cancelled(bed, "trap '' TERM; echo ready; while :; do sleep 0.05; done")
    assert (final or {})["status"] == "cancelled"
    assert log == "ready\n"


def test_package_is_fetched_once_and_with_the_token(bed: Bed) -> None:
    for _ in range(3):
        assert bed.shell("echo hi").data == {"exit_code": 0}
    (request,) = bed.server.requests
    assert request.path == f"/2/projects/{PROJECT}/codes/{CODE}/download?revision=1"
    assert request.headers["authorization"] == "OAuth letmein"


def test_package_is_a_fresh_copy_for_each_task(bed: Bed) -> None:
    script = "ls; rm main.sh; touch left; mkdir -p closed/in; chmod 0 closed/in closed"
    assert log_of(bed.shell(script)) == log_of(bed.shell(script)) == "main.sh\ntask_payload.json\n"


def test_task_fails_when_the_server_has_no_package_for_it(bed: Bed) -> None:
    content = package({"main.sh": "echo"})
    bed.server.answers[DOWNLOAD] = Answer(status=404, body=b'{"msg":"Not found"}')
    found = bed.run_package(content, "main.sh")
    assert found.data == {"status": "error", "exit_code": None}
    assert "no such package any more" in found.message


@pytest.mark.parametrize("status", [401, 403])
def test_task_waits_in_its_queue_when_the_token_of_the_worker_is_not_good(bed: Bed, status: int) -> None:
    content = package({"main.sh": "echo"})
    bed.server.answers[DOWNLOAD] = Answer(status=status, body=b'{"msg":"Not found"}')
    found = bed.run_package(content, "main.sh")
    assert found.statuses == ["started", "running"]
    assert found.replies[-1]["again_in_s"] == 5
    assert "scope worker" in found.replies[-1]["message"]
    bed.server.answers[DOWNLOAD] = Answer(body=content)
    assert bed.run_package(content, "main.sh").statuses[-1] == "completed"


def test_task_waits_in_its_queue_when_the_server_is_away(bed: Bed) -> None:
    content = package({"main.sh": "echo"})
    bed.config |= {"server": f"http://localhost:{free_port()}", "download_timeout_s": 0.3}
    found = bed.run_package(content, "main.sh")
    assert found.statuses == ["started", "running"]
    assert found.replies[-1]["again_in_s"] == 5
    assert found.settled == "ack"
    bed.close()


def test_task_runs_when_the_server_comes_back_in_time(bed: Bed) -> None:
    content = package({"main.sh": "echo hi"})
    bed.config["download_timeout_s"] = 20
    assert bed.harness
    bed.server.answers[DOWNLOAD] = Answer(status=503)
    found = []
    thread = threading.Thread(target=lambda: found.append(bed.run_package(content, "main.sh")))
    thread.start()
    wait_until(lambda: bed.server.requests, 30)
    bed.server.answers[DOWNLOAD] = Answer(body=content)
    thread.join()
    assert log_of(found[0]) == "hi\n"


def test_task_is_cancelled_while_it_waits_for_its_package(bed: Bed) -> None:
    bed.config["download_timeout_s"] = 60
    bed.server.answers[DOWNLOAD] = Answer(status=503)
    delivery, found = bed.delivery(package({"main.sh": "echo"}), "main.sh"), []
    thread = threading.Thread(target=lambda: found.append(bed.harness.run(delivery)))
    thread.start()
    wait_until(lambda: bed.server.requests, 30)
    bed.cancel()
    thread.join()
    assert found[0].statuses == ["started", "cancelled"]


def test_task_fails_when_another_package_comes(bed: Bed) -> None:
    bed.server.answers[DOWNLOAD] = Answer(body=package({"main.sh": "echo evil"}))
    found = bed.run_package(package({"main.sh": "echo good"}), "main.sh")
    assert "SHA-256" in found.message
    assert log_of(found) == ""


def test_task_fails_when_its_package_is_none(bed: Bed) -> None:
    bed.server.answers[DOWNLOAD] = Answer(body=b"no zip at all")
    found = bed.run_package(b"no zip at all", "main.sh")
    assert (found.data, found.message) == (
        {"status": "error", "exit_code": None},
        "the package is no zip file",
    )


def test_task_fails_when_a_member_unpacks_to_more_than_it_says(bed: Bed) -> None:
    content = bytearray(package({"main.sh": "echo " + "x" * 5000}))
    real = (5005).to_bytes(4, "little")
    assert content.count(real) == 2
    content = content.replace(real, (4000).to_bytes(4, "little"))
    bed.server.answers[DOWNLOAD] = Answer(body=bytes(content))
    assert "unpacks to more" in bed.run_package(bytes(content), "main.sh").message
    assert not [one for one in (bed.top / "cache").iterdir() if not one.name.startswith(".lock")]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"runtime": "cobol"}, "no runtime 'cobol'"),
        ({"file_name": "b.sh"}, "not in the package"),
        ({"file_name": "../../../etc/passwd"}, "not in the package"),
        ({"file_name": ""}, "does not say which file"),
        ({"env_vars": {"A=B": "c"}}, "cannot be set"),
        ({"env_vars": {"A": "\x00"}}, "cannot be set"),
        ({"digest": "../../x"}, "no SHA-256"),
        ({"code_id": "../../admin"}, "no id"),
        ({"timeout_s": "soon"}, "not described"),
    ],
)
def test_task_fails_when_its_description_makes_no_sense(
    bed: Bed, changes: dict[str, object], word: str
) -> None:
    body = {"file_name": "main.sh", **changes}
    content = package({"main.sh": "echo"})
    bed.server.answers[DOWNLOAD] = Answer(body=content)
    found = bed.run_package(content, **body)
    assert found.statuses == ["started", "failed"]
    assert word in found.message


def test_nothing_is_left_of_a_worker_that_ends(bed: Bed) -> None:
    bed.shell("echo hi > kept; echo hi > $TMPDIR/kept")
    assert list((bed.top / "work").glob("slot-*"))
    bed.close()
    assert not list((bed.top / "work").glob("slot-*"))


def test_zip_of_the_oldest_client_runs(bed: Bed) -> None:
    path = bed.top / "old.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            "testDir/hello.py", "import json, os\nprint(json.load(open(os.environ['PAYLOAD_FILE']))['n'])"
        )
    content = path.read_bytes()
    bed.server.answers[DOWNLOAD] = Answer(body=content)
    found = bed.run_package(content, "hello.py", runtime="python", payload=json.dumps({"n": 7}))
    assert log_of(found) == "7\n"
