"""What a bus on real sockets does besides the contract: logins, silence on the wire, errors of its users."""

from __future__ import annotations

import logging
import socket
import threading
import time
from typing import Any

import msgspec
import pytest

from reworker.bus.connection import PikaBus
from reworker.bus.contract import Delivery, Outcome, QueueSpec, TopologySpec, Verdict, publish_and_wait
from reworker.config import MqSettings, mq_settings
from reworker.errors import CannotConnect, ConnectionLost, TopologyMismatch
from tests.support.beds import (
    DEAD_QUEUE,
    PATIENCE_S,
    QUEUE,
    TOPOLOGY,
    Inbox,
    NetworkBed,
    Outcomes,
    consuming,
    outgoing,
    publish_all,
    wait_connected,
    wait_consuming,
)
from tests.support.ports import free_port
from tests.support.waiting import wait_until


@pytest.fixture
def bus(network_bed: NetworkBed) -> PikaBus:
    made = network_bed.new_bus()
    made.open(timeout_s=PATIENCE_S)
    made.declare(TOPOLOGY)
    return made


def changed(network_bed: NetworkBed, **values: object) -> MqSettings:
    return msgspec.structs.replace(mq_settings(network_bed.url), **values)


@pytest.mark.parametrize(
    ("wrong", "words"), [({"password": "secret-1"}, "ACCESS_REFUSED"), ({"vhost": "nowhere"}, "nowhere")]
)
def test_open_raises_at_once_when_the_broker_refuses_us(
    network_bed: NetworkBed, wrong: dict[str, object], words: str
) -> None:
    bus = PikaBus(changed(network_bed, **wrong))
    begin_mono_s = time.monotonic()
    with pytest.raises(CannotConnect, match=words) as caught:
        bus.open(timeout_s=60)
    assert time.monotonic() - begin_mono_s < 30
    assert "secret-1" not in str(caught.value)


def test_open_raises_after_its_timeout_when_nobody_listens() -> None:
    bus = PikaBus(MqSettings(servers=("127.0.0.1",), port=free_port()))
    with pytest.raises(CannotConnect, match="refused"):
        bus.open(timeout_s=0.5)


def test_open_can_be_repeated_after_it_failed(network_bed: NetworkBed) -> None:
    bus = network_bed.new_bus()
    network_bed.stop()
    with pytest.raises(CannotConnect):
        bus.open(timeout_s=0.3)
    network_bed.start()
    bus.open(timeout_s=PATIENCE_S)
    bus.declare(TOPOLOGY)
    publish_and_wait(bus, outgoing())


def test_open_takes_the_next_server_when_the_first_does_not_answer(network_bed: NetworkBed) -> None:
    dead = f"127.0.0.1:{free_port()}"
    settings = changed(network_bed, servers=(dead, f"127.0.0.1:{network_bed.proxy.port}"))
    bus = PikaBus(settings)
    bus.open(timeout_s=PATIENCE_S)
    assert bus.health().is_connected
    bus.close()


class NameServer:
    """Answers for one name, in the place of the machine's resolver.

    Args:
        addresses: of the name; none is a name that nobody knows.
    """

    NAME = "broker.test"

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self._ask_others = socket.getaddrinfo

    def __call__(self, host: object, port: int, *arguments: int, **options: int) -> list[Any]:
        if host != self.NAME:
            return self._ask_others(host, port, *arguments, **options)
        if not self.addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        families = {True: socket.AF_INET6, False: socket.AF_INET}
        kind, protocol = socket.SOCK_STREAM, socket.IPPROTO_TCP
        return [(families[":" in one], kind, protocol, "", (one, port)) for one in self.addresses]


def test_open_takes_the_other_address_when_a_name_has_two(
    network_bed: NetworkBed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", NameServer("::1", "127.0.0.2", "127.0.0.1"))
    bus = PikaBus(changed(network_bed, servers=(NameServer.NAME,), port=network_bed.proxy.port))
    bus.open(timeout_s=PATIENCE_S)
    assert bus.health().is_connected
    bus.close()


def test_open_names_the_name_that_nobody_knows_and_connects_once_somebody_does(
    network_bed: NetworkBed, monkeypatch: pytest.MonkeyPatch
) -> None:
    name_server = NameServer()
    monkeypatch.setattr(socket, "getaddrinfo", name_server)
    bus = PikaBus(changed(network_bed, servers=(NameServer.NAME,)), rand=lambda: 0.0)
    with pytest.raises(CannotConnect, match=f"{NameServer.NAME}.*Name or service not known"):
        bus.open(timeout_s=0.5)
    opening = threading.Thread(target=bus.open, kwargs={"timeout_s": PATIENCE_S})
    opening.start()
    name_server.addresses = ("127.0.0.1",)
    opening.join(PATIENCE_S)
    assert bus.health().is_connected
    bus.close()


def test_open_gives_up_in_time_when_the_handshake_hangs(network_bed: NetworkBed) -> None:
    network_bed.proxy.freeze()
    bus = network_bed.new_bus()
    with pytest.raises(CannotConnect, match="no answer"):
        bus.open(timeout_s=0.5)


def test_declare_raises_when_the_connection_is_down_and_is_made_up_for(
    bus: PikaBus, network_bed: NetworkBed
) -> None:
    network_bed.stop()
    wait_until(lambda: not bus.health().is_connected, PATIENCE_S)
    late = TopologySpec(queues=(QueueSpec("bed.late"),))
    with pytest.raises(ConnectionLost):
        bus.declare(late)
    network_bed.start()
    wait_connected(bus, 1)
    publish_and_wait(bus, outgoing(key="bed.late", exchange=""))


def test_every_mismatch_is_tried_past_and_the_first_is_raised(bus: PikaBus) -> None:
    wrong = QueueSpec(QUEUE, arguments={"x-max-length": 1})
    with pytest.raises(TopologyMismatch) as caught:
        bus.declare(TopologySpec(queues=(wrong, QueueSpec("bed.after"))))
    assert caught.value.name == QUEUE
    publish_and_wait(bus, outgoing(key="bed.after", exchange=""))


def test_failing_callback_costs_nobody_else(bus: PikaBus, caplog: pytest.LogCaptureFixture) -> None:
    inbox = Inbox()

    def on_delivery(delivery: Delivery) -> None:
        inbox(delivery)
        raise RuntimeError("a bug of the bus's user")

    bus.consume(QUEUE, on_delivery, prefetch=5)
    publish_all(bus, [b"1", b"2"]).wait_for(2)
    assert inbox.wait_for(2)[1].body == b"2"
    assert bus.health().reconnect_count == 0
    assert "a bug of the bus's user" in caplog.text


def test_settling_an_unknown_tag_costs_only_that_channel(bus: PikaBus) -> None:
    inbox, other = consuming(bus), Inbox()
    bus.consume(DEAD_QUEUE, other, prefetch=1)
    wait_consuming(bus)
    publish_and_wait(bus, outgoing(b"1"))
    (delivery,) = inbox.wait_for(1)
    delivery.delivery_tag += 1000  # the broker closes the channel: 406
    delivery.settle(Verdict.ACK)
    again = inbox.wait_for(2)[1]
    assert (again.body, again.redelivered) == (b"1", True)
    publish_and_wait(bus, outgoing(b"2", DEAD_QUEUE, exchange=""))
    assert other.wait_for(1)[0].body == b"2"
    assert bus.health().reconnect_count == 0


def test_stale_settles_are_counted(bus: PikaBus, network_bed: NetworkBed) -> None:
    inbox = consuming(bus)
    publish_and_wait(bus, outgoing())
    (stale,) = inbox.wait_for(1)
    network_bed.cut()
    inbox.wait_for(2)
    stale.settle(Verdict.ACK)
    wait_until(lambda: bus.stale_count == 1, PATIENCE_S)


def test_loss_and_return_are_logged_once_each(
    bus: PikaBus, network_bed: NetworkBed, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "reworker")
    network_bed.stop()
    wait_until(lambda: "cannot connect" in caplog.text, PATIENCE_S)
    network_bed.start()
    wait_until(lambda: "reconnected" in caplog.text, PATIENCE_S)
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("reworker.bus")]
    assert [line.split(" to ")[0] for line in lines] == ["connection", "cannot connect", "reconnected"]
    assert not [record for record in caplog.records if record.name.startswith("pika")]


def test_reset_is_survived(bus: PikaBus, network_bed: NetworkBed) -> None:
    network_bed.proxy.cut(is_reset=True)
    wait_connected(bus, 1)
    publish_and_wait(bus, outgoing())


def test_every_byte_arriving_alone_changes_nothing(network_bed: NetworkBed) -> None:
    network_bed.proxy.chunk_bytes = 1
    bus = network_bed.new_bus()
    bus.open(timeout_s=PATIENCE_S)
    bus.declare(TOPOLOGY)
    inbox = consuming(bus)
    publish_and_wait(bus, outgoing(b"x" * 300))
    assert inbox.wait_for(1)[0].body == b"x" * 300


def test_large_backlog_is_written_whole_when_the_socket_is_slow(
    bus: PikaBus, network_bed: NetworkBed
) -> None:
    network_bed.proxy.freeze(down=False)
    bodies = [bytes([number]) * 400_000 for number in range(30)]
    outcomes = publish_all(bus, bodies)
    wait_until(lambda: bus.health().unconfirmed_count == 30, PATIENCE_S)
    network_bed.proxy.thaw()
    assert {result.outcome for result in outcomes.wait_for(30)} == {Outcome.CONFIRMED}
    inbox = consuming(bus, prefetch=0)
    inbox.wait_for(30)
    assert inbox.bodies == bodies


def test_callers_are_not_held_up_when_the_wire_is_frozen(bus: PikaBus, network_bed: NetworkBed) -> None:
    network_bed.proxy.freeze()
    begin_mono_s = time.monotonic()
    outcomes = publish_all(bus, [b"x" * 100_000] * 100)
    assert time.monotonic() - begin_mono_s < 5
    bus.close(deadline_s=0.1)
    assert {result.outcome for result in outcomes.results} == {Outcome.TIMED_OUT}
    assert len(outcomes.results) == 100


@pytest.mark.slow
@pytest.mark.fault
def test_frozen_connection_is_noticed_by_missing_heartbeats(network_bed: NetworkBed) -> None:
    settings = mq_settings(network_bed.proxy.url(network_bed.url) + "?heartbeat=2")
    bus = PikaBus(settings, rand=lambda: 0.0)
    bus.open(timeout_s=PATIENCE_S)
    bus.declare(TOPOLOGY)
    inbox = consuming(bus)
    network_bed.proxy.freeze()
    outcomes = Outcomes()
    bus.publish(outgoing(b"1"), outcomes, deadline_s=60)
    wait_until(lambda: not bus.health().is_connected, 30, "the loss to be noticed")
    network_bed.proxy.cut()
    network_bed.proxy.thaw()
    assert outcomes.wait_for(1)[0].outcome is Outcome.CONFIRMED
    assert inbox.wait_for(1)[0].body == b"1"
    bus.close()


@pytest.mark.slow
def test_heartbeats_go_on_when_jobs_take_long(network_bed: NetworkBed) -> None:
    bus = PikaBus(mq_settings(network_bed.url + "?heartbeat=2"))
    bus.open(timeout_s=PATIENCE_S)
    bus.declare(TOPOLOGY)
    inbox = consuming(bus)
    publish_and_wait(bus, outgoing())
    (delivery,) = inbox.wait_for(1)
    # a broker gives up after two missed heartbeats and a little
    threading.Event().wait(9)
    delivery.settle(Verdict.ACK)
    publish_and_wait(bus, outgoing())
    assert bus.health().reconnect_count == 0
    bus.close()
