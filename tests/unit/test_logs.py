"""Logging: the line, the JSON form, the correlation id, harmless control characters."""

import io
import json
import logging

import pytest

from reworker import logs


@pytest.fixture
def root_logger():
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield root
    root.handlers[:] = handlers
    root.setLevel(level)


def test_setup_writes_the_2014_line(root_logger):
    stream = io.StringIO()
    logs.setup("INFO", stream=stream)
    logging.getLogger("frob").info("frobbed %d", 3)
    logging.getLogger("frob").debug("hidden")
    line = stream.getvalue()
    assert line.endswith(" - frob - INFO - frobbed 3\n")
    assert line.count("\n") == 1


def test_control_characters_stay_on_their_line(root_logger):
    stream = io.StringIO()
    logs.setup(stream=stream)
    logging.getLogger("frob").info("a\nb\x1b[2J\u202ec\td")
    assert stream.getvalue().endswith("a\\nb\\x1b[2J\\u202ec\td\n")


def test_traceback_follows_its_line(root_logger):
    stream = io.StringIO()
    logs.setup(stream=stream)
    try:
        raise ValueError("boom\x1b[2J")
    except ValueError:
        logging.getLogger("frob").exception("failed")
    assert "\nTraceback" in stream.getvalue()
    assert stream.getvalue().endswith("ValueError: boom\\x1b[2J\n")


def test_json_lines_carry_the_correlation_id(root_logger):
    stream = io.StringIO()
    logs.setup("DEBUG", is_json=True, stream=stream)
    token = logs.correlation_id.set("abc.1")
    try:
        logging.getLogger("frob").warning("x\ny")
        raise ValueError("boom")
    except ValueError:
        logging.getLogger("frob").exception("failed")
    finally:
        logs.correlation_id.reset(token)
    logging.getLogger("frob").debug("outside")
    first, second, third = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert (first["correlation_id"], first["message"], first["level"]) == ("abc.1", "x\ny", "WARNING")
    assert first["at"].endswith("Z")
    assert "boom" in second["error"]
    assert "correlation_id" not in third


def test_setup_twice_leaves_one_handler(root_logger):
    logs.setup()
    logs.setup()
    assert len(root_logger.handlers) == 1
