"""The commands for stored playbooks, and what the database's rules add to a plan."""

import json

import pytest
from click.testing import CliRunner

from reworker.cli.main import cli
from reworker.clock import SystemClock
from reworker.core.library import Library
from reworker.core.settings import core_file
from reworker.errors import ConfigError, PlaybookNotFound
from reworker.storage.sql import SqlStorage
from tests.docs.pages import ROOT

GOOD = """group: web
name: roll out
execution:
- hosts: [web1]
  steps:
  - service:Restart
"""


@pytest.fixture
def storage(tmp_path):
    made = SqlStorage(tmp_path / "core.db")
    yield made
    made.close()


@pytest.fixture
def run(tmp_path, monkeypatch, storage):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REWORKER_DB", "sqlite:///core.db")
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "bad.yaml").write_text("group: web\n")
    return lambda *arguments, **more: CliRunner().invoke(cli, arguments, **more)


def test_stored_playbook_can_be_listed_shown_changed_and_removed(run):
    own_id = run("playbook", "add", "good.yaml").output.strip()
    assert run("playbook", "show", own_id).output == GOOD
    assert own_id in run("playbook", "ls", "--group", "web").output
    assert run("playbook", "ls", "--group", "db").output == ""
    newer = run("playbook", "add", "-", "--id", own_id, input=GOOD.replace("web1", "web2"))
    assert newer.output.strip() == own_id
    assert "web2" in run("playbook", "show", own_id).output
    assert run("playbook", "show", own_id, "--version", "1").output == GOOD
    (row,) = [json.loads(line) for line in run("playbook", "ls", "-o", "json").output.splitlines()]
    assert (row["id"], row["version"], row["group"], row["name"]) == (own_id, 2, "web", "roll out")
    assert json.loads(run("playbook", "show", own_id, "-o", "json").output)["text"] == GOOD.replace(
        "web1", "web2"
    )
    assert run("playbook", "rm", own_id).output == "removed\n"
    assert run("playbook", "ls").output == ""
    assert isinstance(run("playbook", "show", own_id).exception, PlaybookNotFound)
    assert isinstance(run("playbook", "rm", own_id).exception, PlaybookNotFound)


def test_the_beginning_of_an_id_is_enough_when_no_other_begins_so(run):
    ids = [run("playbook", "add", "good.yaml").output.strip() for _ in range(2)]
    length = next(place for place in range(24) if ids[0][place] != ids[1][place])
    assert run("playbook", "show", ids[0][: length + 1]).output == GOOD
    several = run("playbook", "rm", ids[0][:length])
    assert isinstance(several.exception, ConfigError)
    assert all(one in str(several.exception) for one in ids)
    newer = run("playbook", "add", "-", "--id", ids[0][: length + 1], input=GOOD.replace("web1", "web2"))
    assert newer.output.strip() == ids[0]
    assert run("playbook", "rm", ids[0][: length + 1]).output == "removed\n"
    assert ids[1] in run("playbook", "ls").output
    assert isinstance(run("playbook", "show", "f" * 9).exception, PlaybookNotFound)


def test_playbook_that_is_wrong_is_not_stored(run):
    result = run("playbook", "add", "bad.yaml")
    assert result.exit_code == 2
    assert "'name' is missing" in result.output
    assert run("playbook", "ls").output == ""


def test_playbook_is_not_stored_where_there_is_no_database(run):
    result = run("playbook", "add", "good.yaml", "--db", "sqlite:///other/x.db")
    assert isinstance(result.exception, ConfigError)


def test_plan_shows_what_the_rules_of_a_database_add(run, storage):
    Library(storage, SystemClock()).keep_rules(
        core_file(str(ROOT / "conf" / "release.yaml"), {}).settings.rules
    )
    # the variable alone does not bring them in: a plan is looked at without any core, too
    assert "noop:Freeze" not in run("plan", "good.yaml").output
    output = run("plan", "good.yaml", "--db", "sqlite:///core.db").output
    places = [
        output.index(key)
        for key in ("noop:Freeze", "noop:Disks", "sleep:Seconds", "service:Restart", "noop:Inventory")
    ]
    assert places == sorted(places)
