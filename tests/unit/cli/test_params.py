"""What a playbook takes, as people and programs are shown it."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner

from reworker.cli.params import params

PLAYBOOK = """\
group: web
name: banner
params:
  color: {type: string, enum: [red, blue], default: red, description: of the banner}
  count: {type: [integer, "null"]}
execution:
  - hosts: [a]
    steps:
      - noop:Run: {dynamic: [color, other]}
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    made = tmp_path / "play.yaml"
    made.write_text(PLAYBOOK)
    return str(made)


def test_values_are_shown_with_type_default_and_description(file: str) -> None:
    found = CliRunner().invoke(params, [file])
    assert found.output.splitlines() == [
        "color  one of red, blue, default red: of the banner",
        "count  integer or null, required",
        "other  any, required",
    ]


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ("{type: string, default: ''}", "string, default ''"),
        ("{type: integer, minimum: 1, maximum: 9}", "integer from 1 to 9, required"),
        ("{type: integer, minimum: 0}", "integer, at least 0, required"),
        ("{type: number, maximum: 2.5, default: 1}", "number, at most 2.5, default 1"),
    ],
)
def test_bounds_and_empty_defaults_are_told(schema: str, words: str, tmp_path: Path) -> None:
    made = tmp_path / "play.yaml"
    rest = "execution: [{hosts: [a], steps: ['noop:Run']}]"
    made.write_text(f"group: a\nname: b\nparams: {{x: {schema}}}\n{rest}\n")
    assert CliRunner().invoke(params, [str(made)]).output == f"x  {words}\n"


def test_values_are_one_schema_when_json_is_asked(file: str) -> None:
    schema = json.loads(CliRunner().invoke(params, [file, "-o", "json"]).output)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    assert validator.is_valid({"count": 1, "other": "x"})
    assert not validator.is_valid({"count": "many", "other": "x"})
    assert not validator.is_valid({"count": 1})


def test_playbook_without_values_says_so(tmp_path: Path) -> None:
    made = tmp_path / "play.yaml"
    made.write_text("group: a\nname: b\nexecution: [{hosts: [a], steps: ['noop:Run']}]\n")
    assert CliRunner().invoke(params, [str(made)]).output == "it takes no values\n"
