"""The bundled workers and their example settings."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Any

import pytest

from replugin.execworker import ExecWorker
from replugin.megafrobberworker import MegafrobberWorker
from replugin.noopworker import NoopWorker
from replugin.outputworker import OPEN_FILES, OutputWorker, file_name
from replugin.sleepworker import SleepWorker
from reworker.config import load_mapping, mq_settings
from reworker.errors import ConfigError
from reworker.jobs.settings import PROPERTIES
from reworker.testing import Harness, deliver
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[3]
CONF = ROOT / "conf"


# megafrobber, noop, sleep


def test_megafrobber_frobs_every_host_when_asked() -> None:
    transcript = deliver(
        MegafrobberWorker, "megafrobber:Frob", {"speed": 2, "color": "red"}, hosts=["a", "b"]
    )
    assert transcript.data == {"frobbed": ["a", "b"], "speed": 2, "color": "red"}
    assert "frobbing b in red, turn 2 of 2" in transcript.output


@pytest.mark.parametrize("parameters", [{"fail_on": ["b"]}, {"chance": 0.0}])
def test_megafrobber_says_on_which_host_when_it_fails(parameters: dict[str, Any]) -> None:
    message = {"notify": {"failed": {"irc": ["#a"]}}}
    transcript = deliver(MegafrobberWorker, "megafrobber:Frob", parameters, hosts=["b"], message=message)
    assert transcript.final == {"status": "failed", "message": "b resists frobbing in plain"}
    assert transcript.notifications[0]["slug"] == "Frobbing failed"


def test_noop_completes_with_anything_when_asked() -> None:
    assert deliver(NoopWorker, "noop:Whatever", {"x": [1]}, hosts=[]).data == {"x": [1]}


def test_noop_fails_when_asked_to() -> None:
    assert deliver(NoopWorker, "noop:Fail", {"message": "no"}).message == "no"


@pytest.mark.parametrize(
    ("step", "parameters", "slept_s"),
    [("Seconds", {"seconds": 0.001}, 0.001), ("Minutes", {"minutes": 0.00001}, 0.0006)],
)
def test_sleep_sleeps_when_asked(step: str, parameters: dict[str, float], slept_s: float) -> None:
    assert deliver(SleepWorker, f"sleep:{step}", parameters).data == {"slept_s": pytest.approx(slept_s)}


@pytest.mark.parametrize("seconds", [-1, 1e9])
def test_sleep_refuses_when_the_time_is_absurd(seconds: float) -> None:
    assert "cannot sleep" in deliver(SleepWorker, "sleep:Seconds", {"seconds": seconds}).message


# output


def written(tmp_path: Path, message: Any, **config: Any) -> str:
    harness = Harness(OutputWorker, {"output_dir": str(tmp_path), **config})
    delivery = harness.delivery({"message": message}, correlation_id="c.1")
    transcript = harness.run(delivery)
    harness.worker.close()
    assert (transcript.sent, transcript.settled) == ([], "ack")
    return (tmp_path / "c.1.log").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("plain\ttext", "plain\ttext\n"),
        ("two\r\nlines", "two\nlines\n"),
        ("", "\n"),
        (7, "7\n"),
        ("\x1b[31mred\x1b]0;title\x07", "\\x1b[31mred\\x1b]0;title\\x07\n"),
        ("100%\rdone", "100%\ndone\n"),
        ("a\u202eb\u2066c", "a\\u202eb\\u2066c\n"),
    ],
)
def test_line_cannot_touch_the_terminal_when_written(tmp_path: Path, message: Any, line: str) -> None:
    assert written(tmp_path, message) == line


def test_secrets_are_masked_when_a_redaction_matches(tmp_path: Path) -> None:
    text = written(tmp_path, "login password=abc ok", redactions=[r"password=\S+"])
    assert text == "login [redacted] ok\n"


@pytest.mark.parametrize(
    "correlation_id", [None, "", ".", "..", "../../etc/x", "/abs", ".hidden", "a\x00b", "x" * 255, "a b~ü\n"]
)
def test_file_stays_in_its_folder_when_the_correlation_id_is_odd(
    tmp_path: Path, correlation_id: str | None
) -> None:
    folder = tmp_path / "logs"
    harness = Harness(OutputWorker, {"output_dir": str(folder)})
    harness.run(harness.delivery({"message": "x"}, correlation_id=correlation_id))
    harness.worker.close()
    (made,) = folder.iterdir()
    assert made.read_text(encoding="utf-8") == "x\n"
    assert not made.name.startswith(".")
    assert list(tmp_path.iterdir()) == [folder]


def test_file_names_differ_when_correlation_ids_do() -> None:
    ids = ["a", "A", "%", "%25", "a/b", "a%2Fb", "x" * 200, "x" * 201, None, ".a", "%2Ea"]
    assert len({file_name(one) for one in ids}) == len(ids)


def test_few_files_stay_open_when_there_are_many_jobs(tmp_path: Path) -> None:
    harness = Harness(OutputWorker, {"output_dir": str(tmp_path)})
    for number in [*range(OPEN_FILES + 5), 0]:
        harness.run(harness.delivery({"message": "x"}, correlation_id=f"c{number}"))
    assert len(harness.worker._files) == OPEN_FILES  # type: ignore[attr-defined]  # of OutputWorker
    harness.worker.close()
    assert not harness.worker._files  # type: ignore[attr-defined]  # of OutputWorker
    assert (tmp_path / "c0.log").read_text(encoding="utf-8") == "x\nx\n"


def test_message_is_dead_lettered_when_it_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    harness = Harness(OutputWorker, {"output_dir": str(tmp_path / "file" / "below")})
    assert harness.run(harness.delivery({"message": "x"})).settled == "dead letter"


def test_output_worker_has_the_queue_of_2014_when_built(tmp_path: Path) -> None:
    worker = Harness(OutputWorker, {"output_dir": str(tmp_path)}).worker
    assert (worker._queue, worker._settings.routing_keys) == ("worker.output", ("output",))


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({}, "output_dir"),
        ({"output_dir": 3}, "output_dir"),
        ({"output_dir": "x", "redactions": "secret"}, "list of regular expressions"),
        ({"output_dir": "x", "redactions": ["("]}, "list of regular expressions"),
    ],
)
def test_output_settings_are_refused_when_wrong(config: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        Harness(OutputWorker, config)


# exec


def executed(command: dict[str, Any], parameters: Any = None, hosts: tuple[str, ...] = ("web1",)) -> Any:
    return deliver(ExecWorker, "exec:Run", parameters, hosts=hosts, config={"commands": {"Run": command}})


def test_command_runs_and_its_output_is_sent_when_named() -> None:
    transcript = executed({"argv": ["/bin/sh", "-c", "echo out; echo err >&2"]})
    assert (transcript.statuses, transcript.data) == (["started", "completed"], {"exit_code": 0})
    assert transcript.output == ["out", "err"]


def test_parameters_are_arguments_and_variables_when_they_match() -> None:
    script = 'echo "$1|$PARAMETER_NAME|$MODE|$SECRET|$2"'
    command = {
        "argv": ["/bin/sh", "-c", script, "x", "{name}", "{host}{other}"],
        "parameters": {"name": "[a-z; ]+"},
        "environment": {"MODE": "fast"},
    }
    os.environ["SECRET"] = "leak"
    try:
        transcript = executed(command, {"name": "a;rm b"})
    finally:
        del os.environ["SECRET"]
    assert transcript.output == ["a;rm b|a;rm b|fast||web1{other}"]


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({}, "name: expected a text"),
        ({"name": True}, "name: expected a text"),
        ({"name": ["a"]}, "name: expected a text"),
        ({"name": "a\n"}, "does not match"),
        ({"name": "-rf /"}, "does not match"),
        ({"name": "a", "argv": ["rm"]}, "argv: unknown parameter"),
    ],
)
def test_nothing_runs_when_a_parameter_is_wrong(parameters: Any, text: str) -> None:
    command = {"argv": ["/bin/echo", "{name}"], "parameters": {"name": "[a-z]+"}}
    transcript = executed(command, parameters)
    assert text in transcript.message
    assert transcript.output == []


@pytest.mark.parametrize("host", ["", "a b", "x;rm -rf", "-o", "a\nb"])
def test_nothing_runs_when_the_host_is_no_host(host: str) -> None:
    transcript = executed({"argv": ["/bin/echo", "{host}"]}, hosts=(host,) if host else ())
    assert "is no host name" in transcript.message


def test_failure_has_the_last_lines_when_the_command_fails() -> None:
    transcript = executed({"argv": ["/bin/sh", "-c", "echo why; exit 3"]})
    assert transcript.final == {
        "status": "failed",
        "data": {"exit_code": 3, "last_lines": ["why"]},
        "message": "/bin/sh ended with exit code 3",
    }


def test_failure_names_the_signal_when_the_command_was_killed() -> None:
    assert "signal 9" in executed({"argv": ["/bin/sh", "-c", "kill -9 $$"]}).message


def test_failure_is_told_when_the_program_is_missing() -> None:
    assert "cannot be started" in executed({"argv": ["/no/such/program"]}).message


def test_unknown_subcommand_names_the_others_when_refused() -> None:
    transcript = deliver(ExecWorker, "exec:Rm", config={"commands": {"Run": {"argv": ["/bin/true"]}}})
    assert "no command 'Rm' is configured; configured: Run" in transcript.message


def test_whole_group_is_killed_when_the_command_takes_too_long(tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    script = f"(trap '' TERM; echo $$ > {mark}; exec sleep 60) & wait"
    begin = time.monotonic()
    transcript = executed({"argv": ["/bin/sh", "-c", script], "timeout_s": 0.3})
    assert "ran longer than 0.3 s" in transcript.message
    assert time.monotonic() - begin < 10
    group = mark.read_text(encoding="utf-8").strip()
    wait_until(lambda: not living_members(group), message=f"the end of process group {group}")


def living_members(group: str) -> list[str]:
    """Return the states of a group's processes that are no zombies; fields of /proc/<pid>/stat."""
    states = []
    for place in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            _, _, fields = place.read_text(encoding="utf-8").rpartition(")")
            state, _, its_group = fields.split()[:3]
            states += [state] if its_group == group and state != "Z" else []
    return states


def test_command_is_killed_when_the_job_is_cancelled() -> None:
    harness = Harness(ExecWorker, {"commands": {"Run": {"argv": ["/bin/sleep", "60"]}}})
    perform = type(harness.worker)._perform_attempt

    def cancelled(attempt: Any, output: Any) -> None:
        attempt.cancel()
        perform(harness.worker, attempt, output)

    from reworker.execution import execute
    from reworker.messages import StepHeaders, headers_of_step

    harness.worker._perform_attempt = cancelled  # type: ignore[method-assign]  # the moment before it starts
    headers = headers_of_step(StepHeaders())
    delivery = harness.delivery({"parameters": {"subcommand": "Run", "hosts": []}}, headers=headers)
    execute(harness.worker, harness.station, delivery)
    assert b'"cancelled"' in harness.bus.sent[-1].body


@pytest.mark.parametrize(
    ("commands", "text"),
    [
        (None, "name the commands"),
        ({}, "name the commands"),
        ({"A": []}, "mapping with argv"),
        ({"A": {}}, "list of texts"),
        ({"A": {"argv": "rm -rf"}}, "list of texts"),
        ({"A": {"argv": [1]}}, "list of texts"),
        ({"A": {"argv": ["{x}"]}}, "may not come from a parameter"),
        ({"A": {"argv": ["x"], "timeout_s": 0}}, "expected seconds"),
        ({"A": {"argv": ["x"], "timeout_s": True}}, "expected seconds"),
        ({"A": {"argv": ["x"], "parameters": {"a": "("}}}, "regular expressions"),
        ({"A": {"argv": ["x"], "parameters": ["a"]}}, "regular expressions"),
    ],
)
def test_exec_settings_are_refused_when_wrong(commands: Any, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        Harness(ExecWorker, {"commands": commands} if commands is not None else {})


# example settings


@pytest.mark.parametrize("name", ["mq.json", "mq.yaml"])
def test_example_bus_settings_load_when_read(name: str) -> None:
    assert mq_settings(str(CONF / name)).masked_url() == "amqp://guest:***@localhost:5672/"


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (MegafrobberWorker, "megafrobber"),
        (NoopWorker, "noop"),
        (SleepWorker, "sleep"),
        (OutputWorker, "output"),
        (ExecWorker, "exec"),
        (NoopWorker, "worker"),
    ],
)
def test_example_worker_settings_load_when_read(kind: Any, name: str) -> None:
    kind(str(CONF / "mq.json"), config_file=str(CONF / f"{name}.yaml"))


def test_example_shows_every_property_when_read() -> None:
    text = (CONF / "worker.yaml").read_text(encoding="utf-8")
    for name in PROPERTIES:
        assert f"{name}:" in text
    assert set(load_mapping(CONF / "worker.yaml")) <= set(PROPERTIES)
