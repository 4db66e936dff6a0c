"""Logging: the line, the JSON form, the correlation id, harmless control characters."""

import io
import json
import logging

import pytest

from reworker import logs
from reworker.bus.parameters import connection_parameters
from reworker.config import MqSettings


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


@pytest.mark.parametrize("is_json", [False, True])
@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("cannot connect to amqps://me:s3cret%21@rabbit/v", "s3cret"),
        ("postgresql://me:s3cret@db/x and redis://:s3cret@r", "s3cret"),
        ("the password is hunter22!", "hunter22!"),
        ("Authorization: token=abc123 done", "abc123"),
    ],
)
def test_secrets_are_masked_in_both_forms(root_logger, is_json, text, secret):
    stream = io.StringIO()
    redactor = logs.Redactor(["hunter22!"], [r"token=\S+"])
    logs.setup(is_json=is_json, stream=stream, redactor=redactor)
    logging.getLogger("frob").info("%s", text)
    try:
        raise ValueError(text)
    except ValueError:
        logging.getLogger("frob").exception("failed")
    assert secret not in stream.getvalue()
    assert "Traceback" in stream.getvalue()


@pytest.mark.parametrize("is_json", [False, True])
def test_new_password_is_masked_from_the_connection_on_that_uses_it(root_logger, is_json, tmp_path):
    stream, file = io.StringIO(), tmp_path / "password"
    file.write_text("first-one")
    settings = MqSettings(password_file=str(file))
    logs.setup(is_json=is_json, stream=stream, redactor=logs.Redactor([settings.current_password()]))
    for password in ("second-one", "third", "guest"):
        file.write_text(password)
        connection_parameters(settings)
    logging.getLogger("frob").info("it was first-one, second-one, is third; guest is no secret")
    assert "it was ***, ***, is ***; guest is no secret" in stream.getvalue()


def test_redactor_leaves_what_is_no_secret():
    text = "guest at http://host:8080/a@b and a colon: b@c, abc"
    assert logs.without_url_passwords(text) == text
    assert logs.Redactor(["guest", "", "abc"])(text) == text


def test_longest_secret_is_masked_whole():
    assert logs.Redactor(["abcd", "abcdefgh"])("abcdefgh abcd") == "*** ***"


def test_record_may_bring_the_id_of_its_job(root_logger):
    stream = io.StringIO()
    logs.setup(is_json=True, stream=stream)
    logging.getLogger("frob").info("late", extra={"correlation_id": "abc.2"})
    assert json.loads(stream.getvalue())["correlation_id"] == "abc.2"
