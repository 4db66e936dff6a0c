"""What pages show is what it says it is: Python compiles, playbooks are valid, settings load, JSON parses."""

import ast
import json
import textwrap

import pytest
import yaml

from reworker.fsm.parsing import problems
from tests.docs.pages import PAGES, ROOT, all_blocks, blocks_of

#: reasons not to run a command.
REASONS = {"the tests have this environment already", "shows how it is written", "writes to /etc"}


def ids(blocks):
    return [block.place for block in blocks]


PYTHON = all_blocks("python")
PLAYBOOKS = [block for block in all_blocks("yaml") if block.text.startswith("group:")]
OTHER_YAML = [block for block in all_blocks("yaml") if not block.text.startswith("group:")]
JSON = all_blocks("json")


@pytest.mark.parametrize("block", PYTHON, ids=ids(PYTHON))
def test_python_block_compiles(block):
    ast.parse(textwrap.dedent(block.text), block.place)


@pytest.mark.parametrize("block", PLAYBOOKS, ids=ids(PLAYBOOKS))
def test_playbook_is_valid_unless_wrong_on_purpose(block):
    found = problems(block.text, block.place)
    assert bool(found) == ("wrong on purpose" in block.word), found


@pytest.mark.parametrize("block", OTHER_YAML, ids=ids(OTHER_YAML))
def test_yaml_block_parses(block):
    assert yaml.safe_load(block.text) is not None


@pytest.mark.parametrize("block", JSON, ids=ids(JSON))
def test_json_block_parses(block):
    assert json.loads(block.text) is not None


def test_block_is_the_file_that_it_shows():
    shown = [block for page in PAGES for block in blocks_of(page) if block.verb == "same as"]
    assert shown
    for block in shown:
        assert block.text == (ROOT / block.word).read_text(), block.place


def test_command_is_run_unless_there_is_a_known_reason():
    skipped = [block for block in all_blocks("console") if block.verb == "not run"]
    assert {block.word for block in skipped} <= REASONS
