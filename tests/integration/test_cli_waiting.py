"""What people do about deployments that wait, failed or look wrong, by the commands they are shown."""

import json
import re
import sqlite3
import subprocess
import sys

import pytest

from tests.conftest import fresh_vhost
from tests.integration.cli_support import reworker, shared_system, start_system
from tests.support.waiting import wait_until

FAILING = """group: web
name: roll out
execution:
- description: servers
  hosts: [web1, web2]
  steps:
  - noop:Run
  - noop:Fail: {message: no disk left}
  - noop:Again
"""
APPROVED = """group: web
name: roll out
execution:
- description: servers
  hosts: [web1, web2]
  strategy: {batch: 2}
  steps:
  - approval: {text: "looks good?"}
  - noop:Run
"""
BACK = FAILING.replace("- noop:Run\n", "- noop:Run:\n    rollback: noop:Undo\n")
SKIPPING = """group: web
name: roll out
execution:
- hosts: [web1]
  steps:
  - noop:Run:
    id: ran
  - noop:Never:
    when: not ran
  - noop:Last
"""


def laid_out(folder):
    for name, text in (("failing", FAILING), ("approved", APPROVED), ("back", BACK), ("skipping", SKIPPING)):
        (folder / f"{name}.yaml").write_text(text)
    (folder / "mended.yaml").write_text(FAILING.replace("noop:Fail: {message: no disk left}", "noop:Mended"))
    return folder


@pytest.fixture
def folder(tmp_path):
    return laid_out(tmp_path)


@pytest.fixture(scope="module")
def shared(tmp_path_factory, broker_session):
    """The folder of a core and two workers that tests share whose deployments all end."""
    folder = laid_out(tmp_path_factory.mktemp("shared"))
    with shared_system(folder, broker_session.url(fresh_vhost())):
        yield folder


@pytest.fixture
def system(process, broker_url, folder):
    start_system(process, broker_url)


def typed(line, folder):
    """Type a command that was shown."""
    return reworker(*line.partition("reworker ")[2].split(), folder=folder)


def failed(folder, name="failing.yaml"):
    """Return the id of a deployment that has failed, and the command that is shown to go on."""
    result = reworker("run", name, folder=folder)
    assert result.returncode == 1, result.stdout + result.stderr
    (way_on,) = re.findall(r"^to go on: (reworker resume ([0-9a-f]{24}).*)$", result.stdout, re.MULTILINE)
    return way_on[1], way_on[0]


def completed_steps(text):
    return re.findall(r"(web\d)  (\S+)  completed", text)


def test_the_command_shown_after_a_failure_goes_on_where_it_stopped(shared):
    deployment, way_on = failed(shared)
    result = typed(way_on, shared)
    assert result.returncode == 0, result.stderr
    assert result.stderr == "1 step done before, 0 left out, 5 to do\n"
    watched = reworker("watch", result.stdout.strip(), folder=shared)
    assert f"submitted, goes on with {deployment}" in watched.stdout
    assert completed_steps(watched.stdout) == []
    again = typed(way_on, shared)
    assert again.returncode == 1
    assert result.stdout.strip() in again.stderr


def test_resume_with_the_mended_playbook_does_the_rest_of_it(shared):
    deployment, _ = failed(shared)
    arguments = (deployment, "mended.yaml", "--follow", "--reason", "disk is new")
    result = reworker("resume", *arguments, folder=shared)
    assert result.returncode == 0, result.stdout + result.stderr
    assert completed_steps(result.stdout) == [
        ("web1", "noop:Mended"),
        ("web1", "noop:Again"),
        *(("web2", step) for step in ("noop:Run", "noop:Mended", "noop:Again")),
    ]
    assert re.search(r"submitted, goes on with \w+: disk is new", result.stdout)
    assert re.search(r"completed: 6 of 6 steps in", result.stdout)


def test_resume_says_which_step_that_was_done_reads_otherwise(shared):
    deployment, _ = failed(shared)
    (shared / "edited.yaml").write_text(FAILING.replace("noop:Run", "noop:Walk"))
    refused = reworker("resume", deployment, "edited.yaml", folder=shared)
    assert refused.returncode == 1
    assert (
        "sequence 'servers', host web1: step 1, noop:Run, was done and reads otherwise now" in refused.stderr
    )
    result = reworker("resume", deployment, "edited.yaml", "--from", "6", "--follow", folder=shared)
    assert result.returncode == 0, result.stdout + result.stderr
    assert completed_steps(result.stdout) == [("web2", "noop:Again")]


def test_resume_of_the_hosts_that_failed_leaves_the_others(shared):
    deployment, _ = failed(shared)
    arguments = (deployment, "mended.yaml", "--hosts", "failed", "--follow")
    result = reworker("resume", *arguments, folder=shared)
    assert completed_steps(result.stdout) == [("web1", "noop:Mended"), ("web1", "noop:Again")]
    numbered = reworker("show", deployment, "--plan", folder=shared).stdout
    assert re.search(r"^ +5  web2  noop:Fail  -> re/worker.noop", numbered, re.MULTILINE)


def test_resume_refuses_edits_of_a_deployment_that_is_not_over(system, folder):
    waiting = reworker("run", "approved.yaml", "--detach", folder=folder).stdout.strip()
    result = reworker("resume", waiting, "mended.yaml", folder=folder)
    assert result.returncode == 2
    assert "it is not over" in result.stderr


def test_approvals_are_given_by_the_commands_that_are_shown(system, folder):
    result = reworker("run", "approved.yaml", folder=folder)
    assert result.returncode == 4
    deployment = re.search(
        r"^(\w+) waits for a person: approval: looks good\?$", result.stdout, re.MULTILINE
    )[1]
    approve = re.findall(r"^approve: (.*)$", result.stdout, re.MULTILINE)
    assert len(approve) == 2
    assert typed(approve[0], folder).stdout == "approved\n"
    shown = reworker("show", deployment, folder=folder).stdout
    assert "attempt 2 waits for an approval on web2: looks good?" in shown
    assert "attempt 1 waits" not in shown
    assert reworker("approve", deployment, "--reason", "fine", folder=folder).stdout == "approved\n"
    watched = reworker("watch", deployment, folder=folder)
    assert watched.returncode == 0
    assert re.search(r"web2  approval  approved by \w+: fine", watched.stdout)
    late = reworker("approve", deployment, folder=folder)
    assert late.returncode == 1
    assert "waits for no approval" in late.stderr


def test_a_refused_approval_fails_the_deployment(shared):
    result = reworker("run", "approved.yaml", folder=shared)
    refuse = re.search(r"^refuse: (.*)$", result.stdout, re.MULTILINE)[1]
    assert typed(f"{refuse} --reason never", shared).returncode == 0
    deployment = refuse.split()[2]
    watched = reworker("watch", deployment, folder=shared)
    assert watched.returncode == 1
    assert "failed: approval on web1: never" in watched.stdout


def test_a_deployment_that_is_rolled_back_ends_with_1_and_says_so(shared):
    result = reworker("run", "back.yaml", folder=shared)
    assert result.returncode == 1
    assert "web1  rollback noop:Undo  completed" in result.stdout
    assert "rolled_back: noop:Fail on web1: no disk left (1 step taken back)" in result.stdout


def test_steps_that_were_left_out_are_shown_with_the_reason(shared):
    result = reworker("run", "skipping.yaml", folder=shared)
    assert result.returncode == 0
    assert "web1  noop:Never  skipped: left out: ran did complete" in result.stdout
    deployment = result.stdout.splitlines()[-1].split()[0]
    assert "noop:Never  skipped" in reworker("show", deployment, folder=shared).stdout
    attempts = json.loads(reworker("show", deployment, "-o", "json", folder=shared).stdout)["attempts"]
    assert [one["status"] for one in attempts] == ["completed", "skipped", "completed"]


def test_a_deployment_that_waits_for_a_host_says_for_whom(system, folder, process):
    first = reworker("run", "approved.yaml", "--detach", folder=folder).stdout.strip()
    second = process("-m", "reworker", "run", "skipping.yaml")
    second.wait_for_line(f"waits for host web1, held by {first}")
    listed = reworker("ls", "--status", "queued", folder=folder).stdout
    assert f"(waits for host web1, which deployment {first} holds" in listed
    own_id = listed.split()[0]
    assert f"to withdraw it: reworker cancel {own_id}" in reworker("show", own_id, folder=folder).stdout
    wait_until(lambda: reworker("approve", first, folder=folder).returncode == 0, 60, "an approval")
    assert second.wait() == 0


def test_verify_finds_a_history_that_was_changed(system, folder):
    ids = [failed(folder)[0] for _ in range(2)]
    assert reworker("verify", "--all", folder=folder).stdout == "2 deployments verified\n"
    assert reworker("verify", ids[0], folder=folder).stdout == "1 deployment verified\n"
    with sqlite3.connect(folder / "state" / "reworker.db") as connection:
        connection.execute("UPDATE event SET actor = 'eve' WHERE seq = 3 AND deployment_id = ?", (ids[1],))
    connection.close()
    result = reworker("verify", *ids, folder=folder)
    assert result.returncode == 1
    assert result.stdout.splitlines() == [
        f"{ids[1]}: event 3 is not what was written after event 2",
        "1 of 2 deployments wrong",
    ]
    assert reworker("verify", folder=folder).returncode == 2


def test_the_beginning_of_an_id_is_enough_when_no_other_begins_so(system, folder):
    ids = [failed(folder)[0] for _ in range(2)]
    length = next(place for place in range(24) if ids[0][place] != ids[1][place])
    shown = reworker("show", ids[0][: length + 1], "-o", "json", folder=folder)
    assert json.loads(shown.stdout)["id"] == ids[0]
    several = reworker("cancel", ids[0][:length], folder=folder)
    assert several.returncode == 2
    assert all(one in several.stderr for one in ids)
    gone = reworker("logs", "f" * 12, folder=folder)
    assert gone.returncode == 1
    assert "no deployment 'ffffffffffff'" in gone.stderr


@pytest.mark.parametrize(
    ("command", "codes"), [("run approved.yaml", (130, 4)), ("ls", (0,)), ("plan failing.yaml", (0,))]
)
def test_a_reader_that_goes_away_is_no_failure(system, folder, command, codes):
    failed(folder)
    script = f"{sys.executable} -m reworker {command} | head -n 1; exit ${{PIPESTATUS[0]}}"
    result = subprocess.run(
        ["bash", "-c", script], cwd=folder, capture_output=True, text=True, timeout=90, check=False
    )
    assert result.returncode in codes
    assert len(result.stdout.splitlines()) == 1
    assert "Traceback" not in result.stderr
    assert "BrokenPipe" not in result.stderr


def test_a_paused_deployment_says_how_to_go_on(system, folder, process):
    (folder / "slow.yaml").write_text(FAILING.replace("noop:Run", "sleep:Seconds: {seconds: 60}"))
    deployment = reworker("run", "slow.yaml", "--detach", folder=folder).stdout.strip()
    assert reworker("pause", deployment, folder=folder).returncode == 0
    shown = reworker("show", deployment, folder=folder).stdout
    way_on = re.search(r"^it is paused; to go on: (.*)$", shown, re.MULTILINE)[1]
    follower = process("-m", "reworker", *way_on.split()[1:], "--follow", "--reason", "now")
    follower.wait_for_line("resume requested by .*: now")
    assert reworker("cancel", deployment, folder=folder).returncode == 0
    assert follower.wait() == 3
