"""What the program of a task finds out about itself."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from reworker import iron
from reworker.errors import ConfigError
from reworker.iron import IronWorker
from reworker.iron.inside import PLACES, given, read

ARGV = ["main.py", "-d", "/task/", "-e", "production", "-id", "abc", "-payload", "/task/task_payload.json"]


def test_value_is_that_of_the_arguments_when_no_variable_has_it() -> None:
    found = {name: given(name, ARGV, {}) for name in PLACES}
    assert found == {
        "task_dir": "/task/",
        "task_id": "abc",
        "payload_file": "/task/task_payload.json",
        "config_file": "",
        "schedule_id": "",
    }


@pytest.mark.parametrize("words", [["-payload=p.json"], ["--payload", "p.json"], ["--payload=p.json"]])
def test_value_is_found_when_an_argument_is_written_in_another_way(words: list[str]) -> None:
    assert given("payload_file", ["main.py", *words], {}) == "p.json"


def test_value_is_that_of_a_variable_when_there_is_one() -> None:
    environ = {"TASK_ID": "from variable", "SCHEDULE_ID": "s"}
    assert given("task_id", ARGV, environ) == "from variable"
    assert given("schedule_id", ARGV, environ) == "s"
    assert given("payload_file", ["main.py", "-payload"], {}) == ""


def test_payload_is_json_or_text_when_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "task_payload.json"
    monkeypatch.setattr(sys, "argv", ["main.py", "-payload", str(path)])
    monkeypatch.delenv("PAYLOAD_FILE", raising=False)
    assert iron.payload() is None
    path.write_text(json.dumps({"max": 10}))
    assert iron.payload() == IronWorker.payload() == {"max": 10}
    path.write_bytes("max=ü".encode())
    assert iron.payload() == "max=ü"
    path.write_text("")
    assert iron.payload() == ""


def test_file_is_named_when_it_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="it cannot be read: Is a directory"):
        read(str(tmp_path))


def test_progress_is_refused_when_the_process_runs_in_no_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TASK_ID", raising=False)
    monkeypatch.setattr(sys, "argv", ["main.py"])
    assert (iron.task_id(), iron.task_dir(), iron.schedule_id()) == ("", "", "")
    with pytest.raises(ConfigError, match="this process runs in no task"):
        iron.set_progress(50)
