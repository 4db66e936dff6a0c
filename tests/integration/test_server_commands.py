"""The command line against a server: it does there what it does on a database."""

from __future__ import annotations

import errno
import json
import os
import resource
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reworker.cli.token_store import keep_token
from reworker.core.principal import Scope
from reworker.errors import ConfigError
from tests.integration.shell_support import Shell
from tests.support.ports import free_port
from tests.support.processes import Process
from tests.support.up import Up

PLAYBOOK = """\
group: web
name: restart
execution:
  - hosts: [a, b]
    steps:
      - noop:Run
"""
SLOW = PLAYBOOK.replace("noop:Run", "sleep:Seconds: {seconds: 60}")
BROKEN = PLAYBOOK.replace("steps:", "stps:")


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    made = Up(tmp_path_factory.mktemp("up"))
    yield made
    made.close()


@pytest.fixture
def shell(up: Up, tmp_path: Path) -> Shell:
    (tmp_path / "good.yaml").write_text(PLAYBOOK)
    (tmp_path / "slow.yaml").write_text(SLOW)
    (tmp_path / "broken.yaml").write_text(BROKEN)
    return Shell(tmp_path, up.url, up.token(Scope.ADMIN))


def started(shell: Shell, playbook: str) -> str:
    found = shell("run", playbook, "--detach")
    assert found.returncode == 0, found.stderr
    return found.stdout.strip()


def test_deployment_is_started_followed_and_shown(shell: Shell) -> None:
    ran = shell("run", "good.yaml")
    assert ran.returncode == 0, ran.stderr
    assert "2 of 2 steps" in ran.stdout
    own_id = ran.stdout.strip().splitlines()[-1].split()[0]
    shown = shell("show", own_id[:20])
    assert shown.returncode == 0, shown.stderr
    assert "web / restart, started by ann" in shown.stdout
    assert "noop:Run  completed" in shown.stdout
    listed = [json.loads(line) for line in shell("ls", "-o", "json").stdout.splitlines()]
    (one,) = [line for line in listed if line["id"] == own_id]
    assert (one["status"], one["completed"], one["actor"]) == ("completed", 2, "ann")
    assert shell("logs", own_id).returncode == 0
    assert shell("watch", own_id).returncode == 0
    assert "noop:Run" in shell("show", own_id, "--plan").stdout
    assert "1 deployment verified" in shell("verify", own_id).stdout


def test_events_are_the_same_over_a_server_as_on_the_database(up: Up, shell: Shell) -> None:
    own_id = started(shell, "good.yaml")
    assert shell("watch", own_id).returncode == 0
    over_server = json.loads(shell("show", own_id, "-o", "json").stdout)
    on_database = json.loads(shell("show", own_id, "-o", "json", "--db", up.db, REWORKER_SERVER="").stdout)
    assert over_server == on_database


@pytest.mark.parametrize("place", ["server", "database"])
def test_domains_are_given_for_one_deployment_and_kept_when_it_goes_on(
    up: Up, shell: Shell, place: str
) -> None:
    environment = {"REWORKER_SERVER": "", "REWORKER_DB": up.db} if place == "database" else {}
    ran = shell("run", "good.yaml", "--domain", "noop=nowhere", "--detach", **environment)
    assert ran.returncode == 0, ran.stderr
    own_id = ran.stdout.strip()
    assert shell("watch", own_id, **environment).returncode == 1
    assert "no queue is bound to worker.nowhere.noop" in shell("show", own_id, **environment).stdout
    continued = shell("retry", own_id, **environment).stdout.strip()
    assert shell("watch", continued, **environment).returncode == 1
    chosen = shell("run", "good.yaml", "--domain", "nowhere,elsewhere,NO_DOMAIN", **environment)
    assert chosen.returncode == 0, chosen.stderr
    assert "goes to workers without a domain" in chosen.stdout
    attempts = [
        json.loads(shell("show", one, "-o", "json", **environment).stdout)["attempts"][0]["domain"]
        for one in (own_id, continued, chosen.stdout.strip().splitlines()[-1].split()[0])
    ]
    assert attempts == ["nowhere", "nowhere", ""]


@pytest.mark.parametrize(
    ("domain", "reason"),
    [
        ("a b", "--domain: 'a b' is no domain"),
        ("nop=blue", "a domain is given for 'nop', a command that no step has; did you mean 'noop'?"),
        ("noop=no-domain", "did you mean 'NO_DOMAIN'?"),
    ],
)
def test_domain_that_is_none_starts_nothing(shell: Shell, domain: str, reason: str) -> None:
    ran = shell("run", "good.yaml", "--domain", domain)
    assert ran.returncode == 2
    assert reason in ran.stderr


def test_same_key_starts_one_deployment(shell: Shell) -> None:
    first, second = (shell("run", "good.yaml", "--detach", "--key", "once").stdout for _ in range(2))
    assert first == second != ""
    other = shell("run", "slow.yaml", "--detach", "--key", "once")
    assert other.returncode == 1
    assert "use a new key" in other.stderr


def test_deployment_is_paused_resumed_and_cancelled(shell: Shell) -> None:
    own_id = started(shell, "slow.yaml")
    assert shell("pause", own_id, "--reason", "wait").stdout == "paused\n"
    again = shell("pause", own_id)
    assert again.returncode == 1
    assert "nothing changed" in again.stderr
    assert shell("resume", own_id).stdout == "resumed\n"
    assert shell("cancel", own_id).stdout == "cancelling\n"
    assert shell("watch", own_id).returncode == 3
    continued = shell("retry", own_id, "--hosts", "b")
    assert continued.returncode == 0, continued.stderr
    assert shell("cancel", continued.stdout.strip()).returncode == 0


def test_playbook_is_stored_and_removed(shell: Shell) -> None:
    own_id = shell("playbook", "add", "good.yaml").stdout.strip()
    assert len(own_id) == 24
    (shell.home / "good.yaml").write_text(PLAYBOOK.replace("[a, b]", "[a]"))
    assert shell("playbook", "add", "good.yaml", "--id", own_id[:18]).stdout.strip() == own_id
    assert shell("playbook", "show", own_id, "--version", "1").stdout == PLAYBOOK
    assert f"{own_id}" in shell("playbook", "ls").stdout
    assert shell("params", own_id[:20]).stdout == "it takes no values\n"
    deployment = shell("run", own_id[:20], "--detach", "--reason", "because").stdout.strip()
    assert f"stored playbook {own_id}@2" in shell("show", deployment).stdout
    again = shell("retry", deployment, "--again", "--reason", "once more")
    assert again.returncode == 0, again.stderr
    assert again.stderr == "0 steps done before, 0 left out, 1 to do\n"
    assert f"stored playbook {own_id}@2" in shell("show", again.stdout.strip()).stdout
    assert shell("retry", deployment, "--again", "--hosts", "a").returncode == 2
    assert shell("watch", deployment).returncode == 0
    assert "because" in shell("show", deployment).stdout
    assert shell("playbook", "rm", own_id).stdout == "removed\n"
    assert shell("playbook", "show", own_id).returncode == 1


def test_wrong_playbook_is_refused_before_it_is_sent(shell: Shell) -> None:
    found = shell("run", "broken.yaml")
    assert found.returncode == 2
    assert "did you mean 'steps'" in found.stderr


def test_token_is_kept_where_only_its_owner_reads_it(up: Up, shell: Shell) -> None:
    token = shell.environment.pop("REWORKER_TOKEN")
    without = shell("ls")
    assert without.returncode == 2
    assert f"reworker login --server {up.url}" in without.stderr
    found = shell("login", said=f"{token}\n")
    assert found.returncode == 0, found.stderr
    assert token not in found.stdout + found.stderr
    place = shell.home / ".config" / "reworker" / "tokens.json"
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert shell("ls").returncode == 0
    assert shell("whoami").stdout == "ann: admin\n"
    place.chmod(0o644)
    open_to_all = shell("ls")
    assert (open_to_all.returncode, "chmod 600" in open_to_all.stderr) == (2, True)
    place.chmod(0o600)
    assert shell("logout").stdout == "forgotten\n"
    assert shell("ls").returncode == 2
    assert shell("logout").stdout == "there was none\n"


def test_nothing_is_left_behind_when_the_token_cannot_be_written(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, before[1]))
    try:
        with pytest.raises(ConfigError, match=os.strerror(errno.EFBIG)):
            keep_token("http://server", "rw_secret", {"HOME": str(tmp_path)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [one.name for one in tmp_path.rglob("*") if one.is_file()] == []


def test_wrong_token_is_not_kept(shell: Shell) -> None:
    shell.environment.pop("REWORKER_TOKEN")
    assert "there is no token to keep" in shell("login", said="\n").stderr
    found = shell("login", said="rw_wrong\n")
    assert found.returncode == 1
    assert "token" in found.stderr
    assert not (shell.home / ".config").exists()


def test_token_that_may_only_read_starts_nothing(up: Up, shell: Shell) -> None:
    reader = {"REWORKER_TOKEN": up.token(Scope.READ, name="bob")}
    assert shell("ls", **reader).returncode == 0
    for words in (("run", "good.yaml"), ("cancel", "f" * 24), ("playbook", "add", "good.yaml")):
        found = shell(*words, **reader)
        assert found.returncode == 1
        assert "needs the scope" in found.stderr


def test_unknown_ids_are_said_to_be_unknown(shell: Shell) -> None:
    for words in (("show", "f" * 24), ("cancel", "f" * 24), ("logs", "fffff"), ("show", "../x")):
        found = shell(*words)
        assert found.returncode == 1
        assert "no deployment" in found.stderr


def test_server_that_is_away_has_an_exit_code_of_its_own(shell: Shell) -> None:
    found = shell("ls", REWORKER_SERVER=f"http://127.0.0.1:{free_port()}")
    assert found.returncode == 5
    assert "gives no answer" in found.stderr


def test_database_that_is_typed_comes_before_a_server_of_the_environment(up: Up, shell: Shell) -> None:
    assert shell("ls", "--db", up.db, REWORKER_TOKEN="").returncode == 0
    both = shell("ls", "--db", up.db, "--server", up.url)
    assert (both.returncode, "--db or --server" in both.stderr) == (2, True)


@pytest.mark.fault
def test_following_goes_on_when_the_server_was_killed_and_comes_back(
    up: Up, shell: Shell, process: Callable[..., Process]
) -> None:
    port = free_port()
    web = ("-m", "reworker", "web", "--db", up.db, "--port", str(port))
    server = {**shell.environment, "REWORKER_SERVER": f"http://127.0.0.1:{port}"}
    first = process(*web)
    first.wait_for_line("ready:")
    own_id = started(shell, "slow.yaml")
    watch = process("-m", "reworker", "watch", own_id, environment=server)
    watch.wait_for_line("started")
    first.kill9()
    assert shell("cancel", own_id).returncode == 0
    process(*web).wait_for_line("ready:")
    assert watch.wait() == 3
