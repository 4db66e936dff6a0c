"""Where a program in Conductor's style connects to, and what it is told about addresses that are not used."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from reworker.conductor import AuthenticationSettings, Configuration
from reworker.conductor.addresses import SERVER_VARIABLE
from reworker.config import MQ_VARIABLE, MqSettings
from reworker.errors import ConfigError


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(MQ_VARIABLE, raising=False)
    monkeypatch.delenv(SERVER_VARIABLE, raising=False)


def said(configuration: Configuration, caplog: pytest.LogCaptureFixture) -> str:
    with caplog.at_level(logging.WARNING):
        configuration.explain()
    return caplog.text


def test_http_address_alone_is_refused_with_what_to_do() -> None:
    configuration = Configuration(server_api_url="http://me:hunter22@conductor:8080/api", debug=True)
    with pytest.raises(ConfigError) as error:
        configuration.explain()
    text = str(error.value)
    assert "http://me:***@conductor:8080/api is no message bus, and is not used" in text
    assert "set REWORKER_MQ, or Configuration(mq=...)" in text
    with pytest.raises(ConfigError, match="mq: say where these workers get their tasks"):
        Configuration().explain()


def test_log_names_the_bus_that_was_set_beside_an_http_address(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SERVER_VARIABLE, "https://conductor/api")
    monkeypatch.setenv(MQ_VARIABLE, "amqp://rabbit1/v")
    text = said(Configuration(), caplog)
    assert "https://conductor/api is not used" in text
    assert "rabbit1" in text


@pytest.mark.parametrize(
    ("arguments", "source"),
    [
        ({}, None),
        ({"server_api_url": "amqp://rabbit1/"}, "amqp://rabbit1/"),
        ({"base_url": "amqps://rabbit1/"}, "amqps://rabbit1/"),
        ({"base_url": "http://a", "server_api_url": "amqp://b/"}, "amqp://b/"),
        ({"mq": "mq.json", "server_api_url": "amqp://b/"}, "mq.json"),
        ({"mq": {"server": "c"}}, {"server": "c"}),
        ({"mq": MqSettings()}, MqSettings()),
    ],
)
def test_bus_is_where_the_program_says(arguments: Any, source: Any, caplog: pytest.LogCaptureFixture) -> None:
    configuration = Configuration(**arguments)
    assert configuration.mq_source == source
    if source is not None:
        assert not said(configuration, caplog)


def test_arguments_of_the_sdks_are_taken_and_others_refused() -> None:
    key = AuthenticationSettings("key", "hunter22")
    assert "hunter22" not in repr(key)
    configuration = Configuration("http://a", False, key, auth_token_ttl_min=45, log_level=logging.DEBUG)
    assert configuration.log_level == "DEBUG"
    assert Configuration.get_logging_formatted_name("a.b") == "a.b"
    with pytest.raises(TypeError, match="unknown option server_url"):
        Configuration(server_url="http://a")
