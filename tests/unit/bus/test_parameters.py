from __future__ import annotations

import logging
import ssl
from pathlib import Path

import pytest
from pika.exceptions import (
    ConnectionClosedByBroker,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
    StreamLostError,
)

from reworker.bus.connection import PikaBus
from reworker.bus.contract import DeclareMode
from reworker.bus.declarer import steps_of
from reworker.bus.link import is_refusal, reason_of
from reworker.bus.parameters import connection_parameters, masked_urls, quiet_pika, tls_context
from reworker.config import MqSettings, TlsSettings
from reworker.errors import ConfigError, ConnectionLost
from tests.support.beds import TOPOLOGY


def test_each_server_is_tried_in_order() -> None:
    settings = MqSettings(servers=("one", "two:5000"), heartbeat_s=7, vhost="v")
    found = connection_parameters(settings, "a name")
    assert [(one.host, one.port) for one in found] == [("one", 5672), ("two", 5000)]
    assert {(one.heartbeat, one.virtual_host) for one in found} == {(7, "v")}
    assert found[0].client_properties["connection_name"] == "a name"


def test_tls_checks_the_server_unless_told_otherwise() -> None:
    (parameters,) = connection_parameters(MqSettings(servers=("broker.example",), tls=TlsSettings()))
    context = parameters.ssl_options.context
    assert parameters.ssl_options.server_hostname == "broker.example"
    assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    trusting = tls_context(TlsSettings(verify=False))
    assert (trusting.check_hostname, trusting.verify_mode) == (False, ssl.CERT_NONE)


def test_unusable_certificate_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.pem"):
        tls_context(TlsSettings(ca=str(tmp_path / "absent.pem")))


def test_addresses_are_shown_without_the_password() -> None:
    text = masked_urls(MqSettings(servers=("one", "two"), user="u", password="secret"))
    assert text == "amqp://u:***@one:5672/ (or two:5672)"


def test_pika_is_silenced_unless_debugging() -> None:
    logger = logging.getLogger("pika")
    before = logger.level
    try:
        logger.setLevel(logging.DEBUG)
        quiet_pika()
        assert logger.level == logging.DEBUG
        logger.setLevel(logging.WARNING)
        quiet_pika()
        assert logger.level == logging.CRITICAL
    finally:
        logger.setLevel(before)


def test_steps_declare_exchanges_before_queues_before_bindings() -> None:
    steps = list(steps_of(TOPOLOGY, DeclareMode.DECLARE))
    assert [step.name for step in steps] == [
        "bed",
        "bed.dead",
        "bed.work",
        "bed.dead",
        "bed.work",
        "bed.dead",
    ]
    assert steps[0].expected == "a topic exchange, durable=True"
    assert "x-dead-letter-exchange" in steps[2].expected


def test_plain_error_is_shown_in_one_line() -> None:
    error = ConnectionRefusedError(111, "Connection refused")
    assert reason_of(error) == "111 Connection refused (ConnectionRefusedError)"
    assert not is_refusal(error)


@pytest.mark.parametrize("guess", [ProbableAuthenticationError, ProbableAccessDeniedError])
def test_only_the_brokers_own_word_is_a_refusal(guess: type[Exception]) -> None:
    """pika guesses a refusal whenever the stream ends during the handshake, as in a broker's restart."""
    assert is_refusal(guess(repr(ConnectionClosedByBroker(403, "ACCESS_REFUSED"))))
    assert not is_refusal(guess(repr(StreamLostError("Transport indicated EOF"))))


def test_bus_that_was_never_opened_can_be_asked_and_closed() -> None:
    bus = PikaBus(MqSettings())
    assert not bus.health().is_connected
    with pytest.raises(ConnectionLost):
        bus.declare(TOPOLOGY)
    bus.close()
