"""The bus over TLS, to the embedded broker."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from reworker.broker.server import BrokerThread
from reworker.bus.connection import PikaBus
from reworker.bus.contract import Outcome
from reworker.config import MqSettings, TlsSettings, mq_settings
from reworker.errors import CannotConnect
from tests.support.beds import PATIENCE_S, TOPOLOGY, consuming, publish_all

#: seconds within which a server's certificate is seen, and refused, also on a busy machine.
REFUSED_S = 2.5


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Give a self-signed certificate for localhost, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    request = (
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    )
    openssl(*request.split(), "-keyout", str(key), "-out", str(cert))
    return cert, key


def openssl(*arguments: str) -> None:
    """Run the program that makes certificates."""
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


@contextmanager
def tls_broker(cert: Path, key: Path) -> Iterator[MqSettings]:
    """Run a broker that speaks only TLS; give settings that trust its certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with BrokerThread(tls=context) as broker:
        plain = mq_settings(broker.url())
        yield msgspec.structs.replace(plain, servers=("localhost",), tls=TlsSettings(ca=str(cert)))


@pytest.fixture
def settings(certificate: tuple[Path, Path]) -> Iterator[MqSettings]:
    """Give settings for a broker that speaks only TLS."""
    with tls_broker(*certificate) as made:
        yield made


def test_large_and_small_messages_pass(settings: MqSettings) -> None:
    bus = PikaBus(settings)
    bus.open(timeout_s=PATIENCE_S)
    bus.declare(TOPOLOGY)
    inbox = consuming(bus, prefetch=0)
    bodies = [b"%d" % number * (1 if number % 5 else 200_000) for number in range(1, 41)]
    outcomes = publish_all(bus, bodies)
    assert {result.outcome for result in outcomes.wait_for(40)} == {Outcome.CONFIRMED}
    inbox.wait_for(40)
    assert inbox.bodies == bodies
    bus.close()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tls": TlsSettings()}, "self-signed certificate"),
        ({"servers": ("127.0.0.1",)}, "IP address mismatch"),
    ],
)
def test_open_raises_when_the_certificate_does_not_fit(
    settings: MqSettings, change: dict[str, object], words: str
) -> None:
    bus = PikaBus(msgspec.structs.replace(settings, **change))
    with pytest.raises(CannotConnect, match=words):
        bus.open(timeout_s=REFUSED_S)


def test_open_raises_when_the_certificate_has_expired(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    expired = tmp_path / "expired.pem"
    options = ["-signkey", str(certificate[1]), "-days", "-1", "-out", str(expired)]
    openssl("x509", "-in", str(certificate[0]), *options)
    with tls_broker(expired, certificate[1]) as settings:
        bus = PikaBus(settings)
        with pytest.raises(CannotConnect, match="certificate has expired"):
            bus.open(timeout_s=REFUSED_S)


def test_open_raises_when_another_authority_has_signed(
    settings: MqSettings, certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    other = tmp_path / "other.pem"
    new_key = ["-newkey", "rsa:2048", "-nodes", "-keyout", str(tmp_path / "key.pem")]
    openssl("req", "-x509", *new_key, "-subj", "/CN=another authority", "-out", str(other))
    bus = PikaBus(msgspec.structs.replace(settings, tls=TlsSettings(ca=str(other))))
    with pytest.raises(CannotConnect, match="certificate verify failed: self-signed certificate"):
        bus.open(timeout_s=REFUSED_S)


def test_unverified_connection_is_made_when_asked_for(settings: MqSettings) -> None:
    bus = PikaBus(msgspec.structs.replace(settings, tls=TlsSettings(verify=False)))
    bus.open(timeout_s=PATIENCE_S)
    assert bus.health().is_connected
    bus.close()
