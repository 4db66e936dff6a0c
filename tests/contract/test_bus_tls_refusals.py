"""TLS and mutual TLS to both brokers: what is refused, by whom, and what the user is told."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest

from reworker.bus.connection import PikaBus
from reworker.config import MqSettings, TlsSettings
from reworker.errors import CannotConnect
from tests.support.authority import Authority, Signed
from tests.support.beds import PATIENCE_S
from tests.support.tls_listener import embedded_listener, rabbitmq_listener
from tests.support.waiting import wait_until

Listen = Callable[..., AbstractContextManager[int]]


class Papers:
    """Certificates of all kinds, good and bad."""

    def __init__(self, folder: Path) -> None:
        self.authority, self.other = Authority(folder), Authority(folder, "another")
        self.server = self.authority.sign("server")
        self.expired = self.authority.sign("expired", days=-1)
        self.elsewhere = self.authority.sign("elsewhere", host="elsewhere.example")
        self.client = self.authority.sign("client")
        self.stranger = self.other.sign("stranger")

    def tls(self, own: Signed | None = None, **more: str) -> TlsSettings:
        """Return settings that trust the authority, with a certificate of ours."""
        files = {"cert": str(own.cert), "key": str(own.key)} if own is not None else {}
        return TlsSettings(**{"ca": str(self.authority.cert), **files, **more})


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    return Papers(tmp_path_factory.mktemp("papers"))


@pytest.fixture(params=["embedded", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def listen(request: pytest.FixtureRequest) -> Listen:
    if request.param == "embedded":
        return embedded_listener
    if os.environ.get("REWORKER_TEST_URL"):
        pytest.skip("listeners are added to a node of our own only")
    return partial(rabbitmq_listener, request.getfixturevalue("rabbitmq"))


def settings_for(port: int, tls: TlsSettings, host: str = "localhost") -> MqSettings:
    return MqSettings(servers=(f"{host}:{port}",), tls=tls)


def refusal(settings: MqSettings) -> str:
    """Return why no connection is made; on a busy machine the first answer may take a while."""
    for timeout_s in (0.4, 2.0, PATIENCE_S):
        with pytest.raises(CannotConnect) as caught:
            PikaBus(settings).open(timeout_s=timeout_s)
        if "no answer in" not in str(caught.value):
            break
    return str(caught.value)


def is_connected(settings: MqSettings) -> bool:
    bus = PikaBus(settings)
    try:
        bus.open(timeout_s=PATIENCE_S)
        return bus.health().is_connected
    finally:
        bus.close()


def test_certificate_of_the_broker_is_refused_in_words_that_say_what_to_do(
    listen: Listen, papers: Papers
) -> None:
    with listen(papers.server) as port:
        by_number = settings_for(port, papers.tls(), "127.0.0.1")
        assert "set ssl.server_name" in refusal(by_number)
        stranger = papers.tls(ca=str(papers.other.cert))
        assert "set ssl.ca to the file of the authority" in refusal(settings_for(port, stranger))
        assert is_connected(settings_for(port, papers.tls(server_name="localhost"), "127.0.0.1"))
    with listen(papers.expired) as port:
        assert "certificate has expired; renew it on the broker" in refusal(settings_for(port, papers.tls()))
    with listen(papers.elsewhere) as port:
        assert "Hostname mismatch" in refusal(settings_for(port, papers.tls()))
        assert is_connected(settings_for(port, papers.tls(server_name="elsewhere.example")))


def test_own_certificate_is_wanted_and_judged_when_tls_is_mutual(listen: Listen, papers: Papers) -> None:
    with listen(papers.server, papers.authority.cert) as port:
        assert is_connected(settings_for(port, papers.tls(papers.client)))
        for own, words in (
            (None, ("the broker wants a certificate of ours", "broke off the TLS handshake")),
            (papers.stranger, ("does not know who has signed it", "broke off the TLS handshake")),
            (papers.expired, ("it has expired; renew it: ssl.cert", "broke off the TLS handshake")),
        ):
            # A broker that closes at once may take its last word back from the network.
            said = refusal(settings_for(port, papers.tls(own)))
            assert any(one in said for one in words), said


@pytest.fixture
def renewed(tmp_path: Path, papers: Papers) -> Signed:
    """Give a certificate of ours that a test may replace."""
    made = Signed(tmp_path / "own.pem", tmp_path / "own.key")
    replace(made, papers.client)
    return made


def replace(old: Signed, new: Signed) -> None:
    old.cert.write_bytes(new.cert.read_bytes())
    old.key.write_bytes(new.key.read_bytes())


@pytest.fixture
def bus_of() -> Iterator[Callable[[MqSettings], PikaBus]]:
    made: list[PikaBus] = []

    def new(settings: MqSettings) -> PikaBus:
        made.append(PikaBus(settings, rand=lambda: 0.1))
        made[-1].open(timeout_s=PATIENCE_S)
        return made[-1]

    yield new
    for bus in made:
        bus.close()


def test_bus_tries_on_when_a_certificate_expires_while_it_runs(
    papers: Papers, bus_of: Callable[[MqSettings], PikaBus]
) -> None:
    with embedded_listener(papers.server) as port:
        bus = bus_of(settings_for(port, papers.tls()))
    with embedded_listener(papers.expired, port=port):
        wait_until(lambda: "has expired" in bus.health().last_error, PATIENCE_S)
    with embedded_listener(papers.server, port=port):
        wait_until(lambda: bus.health().is_connected, PATIENCE_S)


def test_renewed_certificate_is_used_by_the_next_connection(
    papers: Papers, renewed: Signed, bus_of: Callable[[MqSettings], PikaBus]
) -> None:
    with embedded_listener(papers.server, papers.authority.cert) as port:
        bus = bus_of(settings_for(port, papers.tls(renewed)))
        replace(renewed, papers.stranger)
    with embedded_listener(papers.server, papers.authority.cert, port=port):
        wait_until(lambda: "refuse" in bus.health().last_error, PATIENCE_S)
        renewed.key.unlink()
        wait_until(lambda: "cannot read" in bus.health().last_error, PATIENCE_S)
        replace(renewed, papers.client)
        wait_until(lambda: bus.health().is_connected, PATIENCE_S)
