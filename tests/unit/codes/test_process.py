"""Arguments, environment and runtimes of a task."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from reworker.codes.process import TaskOrder, arguments_of, environment_of, make_python, write_files
from reworker.codes.runtimes import Runtimes
from reworker.task_errors import PackageInvalid

ORDER = TaskOrder(
    task_id="t1",
    project_id="p1",
    code_id="c1",
    code_name="Hello",
    rev=1,
    digest="0" * 64,
    timeout_s=60,
    runtime="binary",
    file_name="main",
)


def order(**changes: Any) -> TaskOrder:
    return msgspec.structs.replace(ORDER, **changes)


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in ("sh", "python3", "python", "node", "php", "go", "java", "mono"):
        (folder / name).touch(0o755)
    return folder


@pytest.mark.parametrize(
    ("runtime", "entry", "words"),
    [
        ("sh", "a.sh", ["sh", "a.sh"]),
        ("Python", "a.py", ["python", "-u", "a.py"]),
        ("python-3.2", "a.py", ["python", "-u", "a.py"]),
        ("node-0.10", "a.js", ["node", "a.js"]),
        ("javascript", "a.js", ["node", "a.js"]),
        ("php5.4", "runner.php", ["php", "runner.php"]),
        ("go", "main.go", ["go", "run", "main.go"]),
        ("go", "__runner__.sh", ["sh", "__runner__.sh"]),
        ("java-1.7", "a.jar", ["java", "-jar", "a.jar"]),
        ("mono-3.0", "dir/__runner__.sh", ["sh", "dir/__runner__.sh"]),
        ("binary", "worker", ["./worker"]),
        ("", "worker", ["./worker"]),
        ("", "a.php", ["php", "a.php"]),
        ("sh", "-c", ["sh", "./-c"]),
        ("own", "a", ["node", "--flag", "a"]),
    ],
)
def test_runtime_says_what_runs_a_file(programs: Path, runtime: str, entry: str, words: list[str]) -> None:
    found = Runtimes(str(programs), {"own": ["node", "--flag"]}).command(runtime, entry)
    assert [found[0].removeprefix(f"{programs}/"), *found[1:]] == words


def test_runtime_is_refused_when_it_is_unknown_or_not_installed(programs: Path) -> None:
    runtimes = Runtimes(str(programs), {})
    with pytest.raises(PackageInvalid, match="there is no runtime 'cobol'"):
        runtimes.command("cobol", "a")
    with pytest.raises(PackageInvalid, match="has no ruby for the runtime ruby"):
        runtimes.command("ruby-2.1", "a.rb")


def test_folder_is_the_first_argument(tmp_path: Path) -> None:
    (tmp_path / "main").touch(0o600)
    found = arguments_of(order(config="x", schedule_id="s1"), tmp_path, Runtimes("", {}))
    assert found == [
        *("./main", "-d", f"{tmp_path}/", "-e", "production", "-id", "t1"),
        *("-payload", f"{tmp_path}/task_payload.json", "-config", f"{tmp_path}/task_config.json"),
    ]
    assert (tmp_path / "main").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("name", "has_it"), [("__runner__.sh", True), ("a/__runner__.rb", True), ("main", False)]
)
def test_schedule_is_an_argument_of_runners_only(tmp_path: Path, name: str, has_it: bool) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    found = arguments_of(order(file_name=name, schedule_id="s1"), tmp_path, Runtimes("", {}))
    assert (found[-2:] == ["-schedule_id", "s1"]) is has_it


@pytest.mark.parametrize("name", ["../main", "/etc/passwd", "", "no", "a/../../x"])
def test_entry_is_never_outside_of_the_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "task"
    folder.mkdir()
    (folder / "other").touch()
    (tmp_path / "x").touch()
    with pytest.raises(PackageInvalid):
        arguments_of(order(file_name=name), folder, Runtimes("", {}))


@pytest.mark.parametrize(
    ("server", "found"),
    [
        ("http://h", ("h", "80", "http")),
        ("https://h.example", ("h.example", "443", "https")),
        ("https://h:8443/x", ("h", "8443", "https")),
    ],
)
def test_clients_inside_find_the_server(tmp_path: Path, server: str, found: tuple[str, str, str]) -> None:
    env = environment_of(order(token="t"), tmp_path, "/t", "/bin", server, {})
    assert (env["IRON_HOST"], env["IRON_PORT"], env["IRON_PROTOCOL"]) == found
    assert env["IRON_SCHEME"] == found[2]
    assert (env["IRON_TOKEN"], env["IRON_PROJECT_ID"]) == ("t", "p1")


def test_code_may_change_its_environment_but_not_what_the_task_is(tmp_path: Path) -> None:
    variables = {"TASK_ID": "other", "PATH": "/mine", "A": "code"}
    env = environment_of(order(env_vars=variables), tmp_path, "/t", "/bin", "http://h", {"A": "x", "B": "y"})
    assert (env["TASK_ID"], env["PATH"], env["A"], env["B"]) == ("t1", "/mine", "code", "y")
    assert not {"CONFIG_FILE", "SCHEDULE_ID", "IRON_TOKEN"} & set(env)


@pytest.mark.parametrize("variables", [{"": "x"}, {"A=B": "x"}, {"A": "\x00"}, {"A\x00": ""}])
def test_variable_that_cannot_be_set_is_refused(tmp_path: Path, variables: dict[str, str]) -> None:
    with pytest.raises(PackageInvalid, match="cannot be set"):
        environment_of(order(env_vars=variables), tmp_path, "/t", "/bin", "http://h", {})


def test_payload_is_written_over_a_file_of_the_package(tmp_path: Path) -> None:
    (tmp_path / "task_payload.json").write_text("theirs")
    write_files(order(payload="ours\r\n"), tmp_path, None)
    assert (tmp_path / "task_payload.json").read_bytes() == b"ours\r\n"
    assert not (tmp_path / "task_config.json").exists()


def test_python_is_made_only_where_there_is_none(tmp_path: Path, programs: Path) -> None:
    assert not make_python(tmp_path / "bin", str(programs))
    (programs / "python").unlink()
    for _ in range(2):
        assert make_python(tmp_path / "bin", str(programs))
        assert (tmp_path / "bin" / "python").readlink() == programs / "python3"
    (programs / "python3").unlink()
    assert not make_python(tmp_path / "none", str(programs))
