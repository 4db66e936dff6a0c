"""``reworker schema``."""

from __future__ import annotations

import json

import click
import jsonschema
import pytest
import yaml
from click.testing import CliRunner

from reworker.cli.main import cli
from reworker.errors import ConfigError
from reworker.published.document import document
from reworker.published.schemas import message_schemas


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(cli, arguments)


def test_schema_prints_the_document_in_either_form(run):
    whole = json.loads(json.dumps(document()))
    assert yaml.safe_load(run("schema").output) == whole
    assert json.loads(run("schema", "--format", "json").output) == whole
    assert run("schema", "--format", "yaml").output == run("schema").output
    assert "&id" not in run("schema").output


@pytest.mark.parametrize("name", list(message_schemas()))
def test_schema_prints_that_of_one_message(run, name):
    found = json.loads(run("schema", "--message", name).output)
    jsonschema.Draft7Validator.check_schema(found)
    assert found["$schema"] == "http://json-schema.org/draft-07/schema#"


def test_schema_guesses_which_message_is_meant(run):
    for name, hint in (("stepp", "did you mean 'step'?"), ("zzz", "known: step, step-headers, reply")):
        error = run("schema", "--message", name).exception
        assert isinstance(error, ConfigError)
        assert f"no message {name!r}; {hint}" in str(error)


def test_schema_writes_all_files(run, tmp_path):
    folder = tmp_path / "deep" / "docs"
    assert run("schema", "--output", str(folder)).output == f"13 files in {folder}\n"
    assert (folder / "asyncapi.yaml").read_text(encoding="utf-8") == run("schema").output
    for name in message_schemas():
        found = (folder / "schemas" / f"{name}.json").read_text(encoding="utf-8")
        assert found == run("schema", "--message", name).output
    assert len(list(folder.rglob("*.*"))) == 13


def test_schema_says_why_nothing_can_be_written(run, tmp_path):
    file = tmp_path / "file"
    file.touch()
    error = run("schema", "--output", str(file)).exception
    assert isinstance(error, ConfigError)
    assert f"cannot write into {file}" in str(error)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("megafrobber", "--message", "step"), "found WORKER and --message"),
        (("--message", "step", "--output", "x"), "found --message and --output"),
        (("--message", "step", "--format", "json"), "--format is of the whole document"),
        (("--output", "x", "--format", "json"), "which --output does not print"),
        (("--format", "toml"), "'toml' is not one of"),
    ],
)
def test_schema_refuses_what_does_not_go_together(run, words, reason):
    result = run("schema", *words)
    assert isinstance(result.exception, click.UsageError | SystemExit)
    assert reason in f"{result.exception} {result.output}"
