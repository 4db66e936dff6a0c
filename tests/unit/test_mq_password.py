"""Where the password of the message bus comes from, and that a file is read each time."""

from __future__ import annotations

from pathlib import Path

import pytest

from reworker.bus.parameters import connection_parameters
from reworker.cli import letters
from reworker.config import MqSettings, mq_settings
from reworker.errors import ConfigError


def current(settings: MqSettings) -> str:
    (parameters,) = connection_parameters(settings)
    return str(parameters.credentials.password)


def test_file_is_read_for_each_connection(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("one\n")
    settings = mq_settings({"password_file": str(secret), "password": "other"})
    assert current(settings) == "one"
    secret.write_text("two\r\n")
    assert current(settings) == "two"


@pytest.mark.parametrize("source", ["amqp://u:url@h/", {"password": "plain"}, {}])
def test_environment_wins_over_url_and_file(tmp_path: Path, source: object) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of file")
    both = {"REWORKER_MQ_PASSWORD": "said", "REWORKER_MQ_PASSWORD_FILE": str(secret)}
    assert current(mq_settings(source, {"REWORKER_MQ_PASSWORD": "said"})) == "said"  # type: ignore[arg-type]  # one of its kinds
    assert current(mq_settings(source, both)) == "of file"  # type: ignore[arg-type]  # one of its kinds


def test_said_password_wins_over_a_file_of_the_settings(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of file")
    settings = mq_settings({"password_file": str(secret)}, {"REWORKER_MQ_PASSWORD": "said"})
    assert current(settings) == "said"


@pytest.mark.parametrize("content", ["", "\n"])
def test_empty_file_is_an_error_and_no_password(tmp_path: Path, content: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text("good")
    settings = mq_settings({"password_file": str(secret)})
    secret.write_text(content)
    with pytest.raises(ConfigError, match="secret is empty; write the password into it") as caught:
        current(settings)
    assert caught.value.key == "password_file"


def test_variable_is_named_when_its_file_cannot_be_read() -> None:
    with pytest.raises(ConfigError, match=r"REWORKER_MQ_PASSWORD_FILE: .*cannot read /nowhere/x"):
        mq_settings("amqp://h", {"REWORKER_MQ_PASSWORD_FILE": "/nowhere/x"})


def test_password_is_hidden_in_every_form(tmp_path: Path) -> None:
    secret = tmp_path / "file"
    secret.write_text("hidden-word")
    settings = mq_settings({"password_file": str(secret)})
    assert "hidden-word" not in f"{settings!r} {settings} {settings.current_password()!r}"


def test_dead_letters_are_looked_at_with_the_password_that_the_environment_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REWORKER_MQ_PASSWORD", "said")
    assert current(letters.browser("amqp://h", "re.dead")._settings) == "said"
