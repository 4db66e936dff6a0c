"""lint, plan, schema, new: commands that need neither broker nor database."""

import json

import pytest
from click.testing import CliRunner

from reworker.cli.main import COMMANDS, cli, exit_code, main
from reworker.cli.options import user_name
from reworker.cli.wiring import opened_service
from reworker.errors import (
    CannotConnect,
    ConfigError,
    DeploymentNotFound,
    PlaybookInvalid,
    StaleVersion,
    StorageError,
    StorageUnavailable,
    UndecodableMessage,
)
from reworker.storage.opening import open_storage

GOOD = """group: web
name: roll out
execution:
- description: servers
  hosts: [web1, web2]
  steps:
  - noop:Run
  - sleep:Seconds: {seconds: 1}
    timeout: 2m
    on_unknown: fail
"""
BAD = "group: web\nname: x\nexecution:\n- hosts: []\n  stepps: [a:B]\n"


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "bad.yaml").write_text(BAD)
    return lambda *arguments, **more: CliRunner().invoke(cli, arguments, **more)


def test_lint_counts_valid_playbooks(run):
    result = run("lint", "good.yaml")
    assert (result.exit_code, result.output) == (0, "1 valid\n")


def test_lint_prints_each_problem_with_file_and_line(run):
    result = run("lint", "good.yaml", "bad.yaml")
    assert result.exit_code == 2
    lines = result.output.splitlines()
    assert any(line.startswith("bad.yaml:4: ") and "hosts" in line for line in lines)
    assert any("did you mean 'steps'" in line for line in lines)


def test_lint_reads_standard_input(run):
    assert run("lint", "-", input=GOOD).exit_code == 0


def test_lint_names_a_file_that_is_missing(run):
    result = run("lint", "gone.yaml")
    assert isinstance(result.exception, ConfigError)
    assert "gone.yaml" in str(result.exception)


def test_plan_shows_every_step_in_order_with_its_queue_and_what_follows(run):
    result = run("plan", "good.yaml")
    steps = [line for line in result.output.splitlines() if "re/worker." in line]
    assert [line.split()[1:3] for line in steps] == [
        ["web1", "noop:Run"],
        ["web1", "sleep:Seconds"],
        ["web2", "noop:Run"],
        ["web2", "sleep:Seconds"],
    ]
    assert "timeout 120 s" in steps[1]
    assert steps[1].endswith("if in doubt: fail")


def test_plan_as_json_has_the_whole_then_one_object_per_step(run):
    whole, *steps = [json.loads(line) for line in run("plan", "good.yaml", "-o", "json").output.splitlines()]
    assert whole["locks"] == ["host:web1", "host:web2"]
    assert whole["sequences"][0]["hosts"] == 2
    assert len(steps) == whole["steps"] == 4
    assert steps[1]["routing_key"] == "worker.sleep"
    assert steps[1]["parameters"] == {"seconds": 1}
    assert steps[1]["if_it_fails"] == "the deployment fails"


def test_plan_asks_for_dynamic_values_that_are_missing(run, tmp_path):
    (tmp_path / "dynamic.yaml").write_text(
        GOOD.replace("- noop:Run", "- noop:Run: {dynamic: [cart, environment]}")
    )
    result = run("plan", "dynamic.yaml", "-e", "cart=3")
    assert isinstance(result.exception, PlaybookInvalid)
    assert "environment" in str(result.exception)
    assert run("plan", "dynamic.yaml", "-e", "cart=3", "-e", "environment=qa").exit_code == 0


@pytest.mark.parametrize("pair", ["novalue", "=x", "a b=1", "a=[1"])
def test_dynamic_values_that_are_no_pairs_are_refused(run, pair):
    result = run("plan", "good.yaml", "-e", pair)
    assert result.exit_code == 2
    assert "Error" in result.output


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(
            ("no", "no"),
            ("on", "on"),
            ("2026-01-31", "2026-01-31"),
            ("0o17", "0o17"),
            ("12:30:00", "12:30:00"),
        ),
        *(("3", 3), ('"3"', "3"), ("[1, a]", [1, "a"]), ("", ""), ("~", None), ("a=b", "a=b")),
    ],
)
def test_dynamic_values_mean_what_they_mean_in_a_playbook(text, value):
    option = next(one for one in cli.get_command(None, "plan").params if one.name == "dynamic")
    found = option.callback(None, option, (f"cart={text}",))
    assert found == {"cart": value}


@pytest.mark.parametrize(
    "text",
    [
        *(".nan", "1e400", "99999999999999999999", "!!timestamp x", "!!python/object/apply:os.system [ls]"),
        *("&a [*a]", "{a: 1, a: 2}", "{[1]: 2}", "[" * 10_000, "\x1b[2J", "\udcff", "a: 1\n---\nb: 2"),
    ],
)
def test_dynamic_values_that_no_playbook_could_hold_are_refused(run, text):
    result = run("plan", "good.yaml", "-e", f"cart={text}")
    assert result.exit_code == 2
    assert "cart:" in result.output
    assert isinstance(result.exception, SystemExit)
    assert "\x1b" not in result.output


@pytest.mark.parametrize("playbook", ["/dev/zero", "-"])
def test_playbook_without_an_end_is_refused_at_once(run, playbook):
    result = run("plan", playbook, input=b"#" * 3_000_000)
    assert "limit is 2097152" in result.output


def test_user_has_a_name_when_the_system_knows_none(monkeypatch):
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 987654321)
    assert user_name() == "uid 987654321"


def test_schema_of_a_worker_describes_its_steps(run):
    text = run("schema", "megafrobber").output
    assert "Frob" in text
    assert "speed" in text


@pytest.mark.parametrize(
    "name", ["nosuchworker", "reworker.ids:make_id", "reworker.ids", "reworker.ids:gone"]
)
def test_schema_says_when_there_is_no_such_worker(run, name):
    result = run("schema", name)
    assert isinstance(result.exception, ConfigError)
    assert name in str(result.exception)


@pytest.mark.parametrize("name", ["Frob", "9x", "../up", "a-b", "", "x" * 41])
def test_new_refuses_a_name_that_cannot_be_a_package(run, name):
    assert isinstance(run("new", name).exception, ConfigError)


def test_new_refuses_a_folder_that_is_not_empty(run, tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "file").touch()
    result = run("new", "greeter", "--dir", "here")
    assert "not empty" in str(result.exception)


def test_new_makes_a_playbook_that_is_valid(run):
    assert run("new", "greeter").exit_code == 0
    assert run("lint", "re-worker-greeter/playbook.yaml").exit_code == 0


def test_every_command_has_help(run):
    for name in COMMANDS:
        result = run(name, "--help")
        assert result.exit_code == 0, name
        assert result.output.startswith("Usage:")


def test_an_unknown_command_is_a_usage_error(run):
    assert run("frobnicate").exit_code == 2


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("x"), 2),
        (PlaybookInvalid("x"), 2),
        (UndecodableMessage("x"), 2),
        (CannotConnect("amqp://h", "refused"), 5),
        (StorageUnavailable("x"), 5),
        (StorageError("x"), 1),
        (StaleVersion("x"), 1),
        (DeploymentNotFound("x"), 1),
    ],
)
def test_exit_code_tells_whose_fault_it_is(error, code):
    assert exit_code(error) == code


def test_main_ends_an_error_in_one_line_and_an_exit_code(run, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["reworker", "plan", "gone.yaml"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith("reworker: gone.yaml: cannot be read")
    assert message.count("\n") == 1


@pytest.mark.parametrize("command", ["plan", "run"])
def test_plan_and_run_print_every_problem_of_a_playbook(run, command):
    result = run(command, "bad.yaml")
    assert result.exit_code == 2
    assert result.output.count("reworker: bad.yaml:") >= 2
    assert "did you mean 'steps'" in result.output


@pytest.mark.parametrize(
    "arguments", [("run", "good.yaml"), ("ls",), ("show", "1"), ("logs", "1"), ("cancel", "1")]
)
def test_commands_refuse_a_folder_without_a_database(run, tmp_path, arguments):
    result = run(*arguments)
    assert isinstance(result.exception, ConfigError)
    assert str(tmp_path / "state" / "reworker.db") in str(result.exception)
    assert not (tmp_path / "state").exists()


def test_main_escapes_what_an_error_quotes(run, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["reworker", "plan", "gone\x1b]0;title\x07\u202e.yaml"])
    with pytest.raises(SystemExit):
        main()
    assert "gone\\x1b]0;title\\x07\\u202e.yaml" in capsys.readouterr().err


PARAMS = """group: web
name: roll out
params:
  version: {type: string, pattern: '^[0-9.]+$'}
  count: {type: integer, default: 2}
execution:
- hosts: [web1]
  steps: [noop:Run]
"""


def test_lint_prints_a_note_when_a_key_is_not_used(run, tmp_path):
    (tmp_path / "old.yaml").write_text(GOOD.replace("  steps:", "  preflight: [x]\n  steps:"))
    result = run("lint", "old.yaml")
    assert result.exit_code == 0
    first, last = result.output.splitlines()
    assert first.startswith("note: old.yaml:6: execution[0]: preflight is not used")
    assert last == "1 valid"


@pytest.mark.parametrize("command", ["lint", "plan", "run"])
def test_schema_that_is_malformed_is_a_problem_among_the_others(run, tmp_path, command):
    text = PARAMS.replace("integer", "integr").replace("hosts:", "host:")
    (tmp_path / "wrong.yaml").write_text(text)
    result = run(command, "wrong.yaml")
    assert result.exit_code == 2
    assert [line.removeprefix("reworker: ").partition(": ")[0] for line in result.output.splitlines()] == [
        "wrong.yaml:5",
        "wrong.yaml:7",
        "wrong.yaml:7",
    ]
    assert "params.count: unknown type 'integr'; did you mean 'integer'?" in result.output


def test_plan_checks_values_when_playbook_has_params(run, tmp_path):
    (tmp_path / "params.yaml").write_text(PARAMS)
    assert run("plan", "params.yaml", "-e", "version=1.10", "-e", "count=3").exit_code == 0
    result = run("plan", "params.yaml", "-e", "verson=1.10", "-e", "count=x")
    assert isinstance(result.exception, PlaybookInvalid)
    assert str(result.exception).partition("params: ")[2].split("; ") == [
        "'version' is missing (string)",
        "'count' does not fit: 'x' is not of type 'integer'",
        "'verson' is unknown, did you mean 'version'?",
    ]


def test_run_passes_a_version_as_it_was_typed_when_its_schema_says_text(run, tmp_path):
    (tmp_path / "params.yaml").write_text(PARAMS)
    db = f"sqlite:///{tmp_path}/state.db"
    open_storage(db).close()
    result = run("run", "params.yaml", "-e", "version=1.10", "--db", db, "--detach")
    assert result.exit_code == 0
    with opened_service(db) as service:
        assert service.plan(result.output.strip()).dynamic == {"version": "1.10", "count": 2}
