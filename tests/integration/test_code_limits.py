"""Tasks that behave badly: each ends in a clear status, and nothing of them stays or is seen by others."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from reworker.codes.isolation import isolation_here
from reworker.codes.keeper import LEAST_LIMITS
from reworker.codes.pieces import EVERY_S
from reworker.errors import ConfigError
from reworker.testing import Transcript
from tests.integration.code_support import DOWNLOAD, Bed, log_of, package
from tests.integration.test_code_worker import bed
from tests.support.http_server import Answer
from tests.support.waiting import wait_until

__all__ = ["bed"]

needs_count = pytest.mark.skipif(
    not isolation_here().counts_processes,
    reason="the kernel bounds no bomb here: all that runs beside it would suffer",
)
needs_namespaces = pytest.mark.skipif(
    not isolation_here().namespaces, reason="this machine gives no namespaces"
)


def python(bed: Bed, script: str, **changes: object) -> Transcript:
    return bed.run({"main.py": script}, runtime="python", **changes)


def living(mark: str) -> list[str]:
    """Return the processes of this machine whose arguments hold a mark."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = place.joinpath("cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if mark in words and place.name != str(os.getpid()):
            found.append(words)
    return found


def killed_by(found: Transcript) -> str:
    assert found.data == {"status": "killed", "exit_code": None}, (found.final, log_of(found))
    return str(found.message)


@needs_count
def test_fork_bomb_ends_with_its_time(bed: Bed) -> None:
    bed.config["limits"] = {"processes": 40}
    found = bed.shell("bomb() { bomb bomb-mark-7341 & bomb bomb-mark-7341 & }; bomb; sleep 30", timeout_s=1)
    assert found.data["status"] in ("timeout", "killed", "error")
    assert living("bomb-mark-7341") == []


def test_task_with_too_many_processes_gets_no_more(bed: Bed) -> None:
    bed.config["limits"] = {"processes": 20}
    script = "import os, time\nfor _ in range(60):\n    if not os.fork(): time.sleep(60)\ntime.sleep(60)"
    found = python(bed, script, timeout_s=20)
    assert found.data["status"] in ("error", "killed")
    assert "BlockingIOError" in log_of(found) or "more than 20 processes" in found.message


def test_task_that_eats_memory_is_killed(bed: Bed) -> None:
    bed.config["limits"] = {"memory_mib": 48}
    # slowly: what it may ask for at all is four times as much, and the processes are looked at now and then
    script = "import time\nkept = []\nwhile True:\n    kept.append(b'x' * (1 << 20)); time.sleep(0.02)"
    assert killed_by(python(bed, script)) == "killed: it used more than 48 MiB of memory"


def test_task_that_wants_all_memory_at_once_gets_an_error(bed: Bed) -> None:
    bed.config["limits"] = {"memory_mib": 48}
    found = python(bed, "kept = b'x' * (1 << 30)")
    assert found.data == {"status": "error", "exit_code": 1}
    assert "MemoryError" in log_of(found)


def test_task_that_fills_the_disk_is_killed(bed: Bed) -> None:
    bed.config["limits"] = {"disk_mib": 8}
    script = (
        "import time\nfor n in range(10**6):\n    open(f'{n}', 'wb').write(bytes(1 << 20)); time.sleep(0.02)"
    )
    assert killed_by(python(bed, script)) == "killed: there were more than 8 MiB in its folder"


def test_task_that_writes_one_huge_file_gets_an_error(bed: Bed) -> None:
    bed.config["limits"] = {"disk_mib": 4}
    found = bed.shell("head -c 9000000 /dev/zero > big || exit 9")
    assert found.data["status"] in ("error", "killed")


def test_task_that_makes_too_many_files_is_killed(bed: Bed) -> None:
    bed.config["limits"] = {"files": 300}
    script = "import time\nfor n in range(10**6):\n    open(f'{n}', 'wb').close(); time.sleep(0.0005)"
    assert killed_by(python(bed, script)) == "killed: there were more than 300 files in its folder"


def test_log_is_cut_at_its_limit_and_the_task_goes_on(bed: Bed) -> None:
    bed.config["limits"] = {"log_mib": 1}
    found = python(bed, "print('x' * (30 << 20)); open('after', 'w')")
    log, mark = log_of(found), "\n[the log ends here: it has reached its limit of 1048576 bytes]\n"
    assert found.data == {"exit_code": 0}
    assert len(log) == (1 << 20) + len(mark)
    assert log.endswith(mark)


def test_pieces_of_a_log_are_few_and_small(bed: Bed) -> None:
    began_mono_s = time.monotonic()
    found = python(bed, "for n in range(20000): print(n)")
    took_s = time.monotonic() - began_mono_s
    pieces = [one for one in found.sent if one.routing_key == "output"]
    assert log_of(found) == "".join(f"{n}\n" for n in range(20000))
    assert len(pieces) < 20 + took_s / EVERY_S, "more than are due in its time"
    assert all(len(json.loads(one.body)["message"]) <= 16 << 10 for one in pieces)


def test_task_that_closes_its_output_goes_on(bed: Bed) -> None:
    found = bed.shell("exec >&- 2>&-; sleep 0.3; exit 4")
    assert found.data == {"status": "error", "exit_code": 4}


@pytest.mark.parametrize(
    "how", ["sleep 3141 &", "setsid sleep 3141 & sleep 0.1", "(setsid sleep 3141 &) & sleep 0.1"]
)
def test_nothing_of_a_task_lives_on(bed: Bed, how: str) -> None:
    found = bed.shell(f"echo begun; {how}")
    assert (found.data, log_of(found)) == ({"exit_code": 0}, "begun\n")
    assert living("sleep\x003141") == []


def test_daemon_that_ignores_everything_is_ended_with_its_task(bed: Bed) -> None:
    script = (
        "import os, signal, time\n"
        "if os.fork(): time.sleep(0.2); os._exit(0)\n"
        "os.setsid()\n"
        "if os.fork(): os._exit(0)\n"
        "for n in range(1, 32):\n"
        "    if n not in (9, 19): signal.signal(n, signal.SIG_IGN)\n"
        "mark = 'daemon-mark-2718'\n"
        "os.execv('/bin/sh', ['sh', '-c', 'while :; do sleep 1; done', mark])\n"
    )
    assert python(bed, script).data == {"exit_code": 0}
    assert living("daemon-mark-2718") == []


def test_program_that_cannot_be_started_is_told(bed: Bed) -> None:
    found = bed.run({"main": b"\x7fELF nonsense"}, runtime="binary")
    assert found.data == {"status": "error", "exit_code": None} or "cannot be started" in found.message
    assert "Exec format error" in found.message


def test_task_reads_neither_environment_nor_files_of_its_worker(bed: Bed) -> None:
    secret = bed.top / "token"
    secret.write_text("swordfish")
    secret.chmod(0o600)
    bed.config |= {"token": None, "token_file": str(secret)}
    script = (
        f"cat {secret}; ls {bed.config['cache_dir']} {bed.config['work_dir']}; "
        f"cat /proc/{os.getpid()}/environ; "
        f"cat /proc/$PPID/environ; cat /proc/1/environ; cat /proc/{os.getpid()}/mem | head -c 1"
    )
    found = bed.shell(script, env_vars={})
    out = log_of(found, "out")
    assert "PYTEST" not in out
    assert "PATH=" not in out
    if isolation_here().own_users or isolation_here().namespaces:
        assert "swordfish" not in out
        assert bed.harness.worker._slot.top.name in os.listdir(bed.config["work_dir"])
        assert not re.search("[0-9a-f]{64}", out)


@needs_namespaces
def test_task_sees_no_other_processes_and_can_end_none(bed: Bed) -> None:
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        found = bed.shell(f"kill -9 {bystander.pid} 2>&1; kill -9 -1; echo alone")
        assert "alone\n" in log_of(found, "out")
        assert bystander.poll() is None
        assert bed.shell("echo still here").data == {"exit_code": 0}
    finally:
        bystander.kill()
        bystander.wait()


@needs_namespaces
def test_task_writes_nothing_outside_of_its_folder(bed: Bed) -> None:
    outside = bed.top / "outside"
    outside.mkdir()
    outside.chmod(0o777)
    script = f"touch {outside}/x /tmp/code-mark /var/tmp/code-mark 2>/dev/null"
    found = bed.shell(f"{script}; touch here $TMPDIR/here && echo fine")
    assert log_of(found, "out") == "fine\n"
    assert list(outside.iterdir()) == []
    assert not Path("/tmp/code-mark").exists()


def test_tasks_do_not_see_what_the_one_before_has_left(bed: Bed) -> None:
    bed.shell("echo secret > $TMPDIR/left; ipcmk -M 4096 >/dev/null 2>&1; true")
    found = log_of(bed.shell("cat $TMPDIR/left 2>&1; ipcs -m 2>/dev/null | grep -c 0x || true"))
    assert "secret" not in found
    if isolation_here().namespaces:
        assert found.endswith("0\n")


@needs_namespaces
def test_keeper_that_is_killed_takes_its_task_along(bed: Bed) -> None:
    content = package({"main.sh": "echo ready; sleep 2718"})
    bed.server.answers[DOWNLOAD] = Answer(body=content)
    delivery, sent = bed.delivery(content, "main.sh"), bed.harness.bus.sent
    found: list[Transcript] = []
    thread = threading.Thread(target=lambda: found.append(bed.harness.run(delivery)))
    thread.start()
    wait_until(lambda: any(b"ready" in one.body for one in list(sent)), 30)
    os.kill(bed.harness.worker._slot._keeper.pid, 9)
    thread.join()
    assert found[0].data == {"status": "killed", "exit_code": None}
    assert living("sleep\x002718") == []
    assert bed.shell("echo again").data == {"exit_code": 0}


def test_task_does_not_pay_for_a_keeper_that_was_killed_before_it(bed: Bed) -> None:
    bed.shell("true")
    keeper = bed.harness.worker._slot._keeper
    os.kill(keeper.pid, 9)
    wait_until(lambda: not keeper.is_waiting, 30)
    assert log_of(bed.shell("echo on")) == "on\n"


#: says what a process is and has, and what it may use.
WHO = """
import json, os, resource
about = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
own = {name: about[name].split() for name in about if name[:3] in ("Uid", "Gid", "Gro", "Cap", "Sig", "NoN")}
own["umask"], own["leads"], own["folder"] = os.umask(0), os.getsid(0) == os.getpid(), os.getcwd()
own["files"] = {one: os.readlink(f"/proc/self/fd/{one}").split(":")[0] for one in range(3)}
own["opened"], own["parent"] = len(os.listdir("/proc/self/fd")) - 1, os.getppid()
limits = {name: getattr(resource, name) for name in dir(resource) if "IT_" in name and name != "RLIMIT_OFILE"}
own["limits"] = {name: resource.getrlimit(number) for name, number in limits.items()}
print(json.dumps(own))
"""


#: SIGPIPE and SIGXFSZ, which the program itself ignores.
IGNORED_BY_PYTHON = 1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1


def who(bed: Bed) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(log_of(python(bed, WHO)))
    return found


@needs_namespaces
def test_process_is_the_same_whether_it_is_spawned_or_forked(bed: Bed) -> None:
    fewest = LEAST_LIMITS["RLIMIT_NOFILE"]
    forking = Bed(bed.top, bed.server)
    bed.config["limits"], forking.config["limits"] = {"open_files": fewest}, {"open_files": fewest - 1}
    before = os.umask(0o027)
    try:
        spawned, again, forked = who(bed), who(bed), who(forking)
        for own, limit in ((spawned, fewest), (again, fewest), (forked, fewest - 1)):
            user = bed.harness.worker._slot if own is not forked else forking.harness.worker._slot
            uid = str(os.getuid() if user.uid is None else user.uid)
            assert own.pop("folder") == str(user.folder)
            assert own.pop("Uid") == [uid] * 4
            assert own.pop("Gid") == [uid] * 4
            assert own["limits"].pop("RLIMIT_NOFILE") == [limit, limit]
            (ignored,) = own.pop("SigIgn")  # glibc keeps signals 32 and 33 for itself
            assert int(ignored, 16) & 0x7FFFFFFF == IGNORED_BY_PYTHON
        assert spawned == again == forked
        assert {*forked["CapPrm"], *forked["CapEff"], *forked["CapAmb"]} == {"0" * 16}
        assert (forked["NoNewPrivs"], forked["umask"], forked["leads"]) == (["1"], 0o022, True)
        assert (forked["opened"], forked["parent"]) == (3, 1)
        keeper = Path(f"/proc/{bed.harness.worker._slot._keeper.pid}/status").read_text()
        assert f"Uid:\t{os.getuid()}\t{os.getuid()}\t{os.getuid()}\t{os.getuid()}\n" in keeper
    finally:
        os.umask(before)
        forking.close()


def test_slots_of_one_machine_have_users_and_folders_of_their_own(bed: Bed) -> None:
    other = Bed(bed.top, bed.server)
    try:
        first = log_of(bed.shell("id -u; pwd")).split()
        second = log_of(other.shell("id -u; pwd")).split()
        assert first[1] != second[1]
        if isolation_here().own_users:
            assert first[0] != second[0]
            assert os.stat(Path(second[1]).parent).st_mode & 0o777 == 0o711
            assert "Permission denied" in log_of(
                other.shell(f"ls {Path(first[1]).parent}", env_vars={})
            ) or not (Path(first[1]).exists())
    finally:
        other.close()


def test_tasks_get_to_their_folder_whatever_the_umask_says(bed: Bed) -> None:
    bed.config["work_dir"] = str(bed.top / "new" / "deep" / "work")
    before = os.umask(0o077)
    try:
        assert log_of(python(bed, "print('here')")) == "here\n"
    finally:
        os.umask(before)


@pytest.mark.skipif(not isolation_here().own_users, reason="only root gives users to tasks")
def test_worker_does_not_start_where_its_tasks_cannot_get_to_their_folder(bed: Bed) -> None:
    closed = bed.top / "closed"
    closed.mkdir(0o700)
    bed.config["work_dir"] = str(closed / "work")
    with pytest.raises(ConfigError, match="closed lets no other user through"):
        assert bed.harness


def test_folder_whose_removal_was_cut_short_is_swept(bed: Bed) -> None:
    work = bed.top / "work"
    for name in ("slot-half-gone", ".new-old", ".new-fresh"):
        (work / name / "task").mkdir(parents=True)
    os.utime(work / ".new-old", (0, 0))
    bed.shell("true")
    left = {one.name for one in work.iterdir() if not one.name.startswith(".uid")}
    assert left == {bed.harness.worker._slot.top.name, ".new-fresh"}


def test_folder_of_a_worker_that_was_killed_is_swept(bed: Bed) -> None:
    left = bed.top / "work" / "slot-of-somebody"
    (left / "task" / "deep").mkdir(parents=True)
    (left / ".lock").touch()
    bed.shell("true")
    assert not left.exists()
    other = Bed(bed.top, bed.server)
    other.shell("true")
    assert len(list((bed.top / "work").glob("slot-*"))) == 2
    other.close()
