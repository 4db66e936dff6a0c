"""What only the embedded broker has: its store, its controls for tests, its command, and that it stays up."""

from __future__ import annotations

import os
import random
import signal
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pika
import pytest
from pika.exceptions import AMQPConnectionError

from reworker.broker.server import Broker, BrokerThread
from reworker.errors import ConfigError
from tests.contract.broker_kit import Peer
from tests.contract.raw_client import HEADER, RawClient
from tests.support.ports import free_port
from tests.support.waiting import wait_until

SERVE = (
    "import sys; from reworker.broker.server import serve; sys.exit(serve(port={port}, store_path={path!r}))"
)


@pytest.fixture
def own() -> Iterator[BrokerThread]:
    """A broker that the test may break."""
    with BrokerThread(port=free_port()) as broker:
        yield broker


@pytest.fixture
def connect() -> Iterator[Callable[[str], Peer]]:
    """A function that opens clients; they are closed in the end, whatever became of their broker."""
    made: list[Peer] = []

    def open_peer(url: str) -> Peer:
        made.append(Peer(url))
        return made[-1]

    yield open_peer
    for peer in made:
        peer.abandon()


def start(process: Callable[..., Any], path: Path | None = None, port: int = 0) -> tuple[Any, int]:
    """Start the broker as a process and return it with its port."""
    child = process("-c", SERVE.format(port=port or free_port(), path=path and str(path)))
    match = child.wait_for_line(r"listening on amqp://guest:\*\*\*@127\.0\.0\.1:(\d+)/")
    return child, int(match[1])


def publish_confirmed(peer: Peer, queue: str, body: bytes, **props: Any) -> None:
    peer.channel.basic_publish(
        "", queue, body, pika.BasicProperties(delivery_mode=2, **props), mandatory=True
    )


# The store


def test_durable_things_survive_when_the_broker_is_killed(
    tmp_path: Path, process: Callable[..., Any], connect: Callable[[str], Peer]
) -> None:
    child, port = start(process, tmp_path / "store")
    peer = connect(f"amqp://guest:guest@127.0.0.1:{port}/%2F")
    peer.channel.confirm_delivery()
    peer.channel.exchange_declare("kept", "topic", durable=True)
    peer.channel.queue_declare("kept", durable=True, arguments={"x-max-priority": 3})
    peer.channel.queue_bind("kept", "kept", "a.#")
    peer.channel.queue_declare("lost")
    peer.channel.basic_publish(
        "kept", "a.b", b"persistent", pika.BasicProperties(delivery_mode=2, headers={"a": 1})
    )
    peer.channel.basic_publish("kept", "a.b", b"transient")
    publish_confirmed(peer, "kept", b"urgent", priority=3)
    assert peer.take("kept", auto_ack=False).body == b"urgent"
    os.kill(child.pid, signal.SIGKILL)
    start(process, tmp_path / "store", port)
    again = connect(peer.url)
    assert again.depth("kept") == 2
    got = [again.take("kept") for _ in range(2)]
    assert [(one.body, one.method.redelivered, one.props.headers) for one in got] == [
        (b"urgent", True, None),
        (b"persistent", False, {"a": 1}),
    ]
    again.channel.basic_publish("kept", "a.c", b"bound")
    assert again.take("kept").body == b"bound"
    assert not again.exists("lost")


def test_every_confirmed_message_survives_when_the_broker_is_killed(
    tmp_path: Path, process: Callable[..., Any], connect: Callable[[str], Peer]
) -> None:
    child, port = start(process, tmp_path / "store")
    url = f"amqp://guest:guest@127.0.0.1:{port}/%2F"
    peer = connect(url)
    peer.channel.confirm_delivery()
    peer.channel.queue_declare("q", durable=True)
    confirmed = 0

    def publish_for_ever() -> None:
        nonlocal confirmed
        while True:
            publish_confirmed(peer, "q", b"%d" % confirmed)
            confirmed += 1

    killer = threading.Timer(0.4, os.kill, (child.pid, signal.SIGKILL))
    killer.start()
    with pytest.raises(AMQPConnectionError):
        publish_for_ever()
    killer.join()
    start(process, tmp_path / "store", port)
    kept = [int(body) for body in connect(url).drain("q")]
    assert kept[:confirmed] == list(range(confirmed))
    assert len(kept) <= confirmed + 1


def test_dead_letter_is_in_exactly_one_queue_when_the_broker_is_killed(
    tmp_path: Path, process: Callable[..., Any], connect: Callable[[str], Peer]
) -> None:
    child, port = start(process, tmp_path / "store")
    url = f"amqp://guest:guest@127.0.0.1:{port}/%2F"
    peer = connect(url)
    peer.channel.confirm_delivery()
    peer.channel.queue_declare("dead", durable=True)
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
    peer.channel.queue_declare("q", durable=True, arguments=arguments)
    for number in range(200):
        publish_confirmed(peer, "q", b"%d" % number)
    peer.consume("q")
    peer.wait_got(200)
    for tag in range(1, 201):
        peer.channel.basic_reject(tag, requeue=False)
    os.kill(child.pid, signal.SIGKILL)
    start(process, tmp_path / "store", port)
    again = connect(url)
    assert sorted(int(body) for body in again.drain("q") + again.drain("dead")) == list(range(200))


def test_restart_keeps_what_is_durable_and_forgets_the_rest(
    tmp_path: Path, connect: Callable[[str], Peer]
) -> None:
    broker = BrokerThread(port=free_port(), store_path=tmp_path / "store")
    broker.start()
    port = broker.port
    peer = connect(broker.url())
    peer.channel.queue_declare("kept", durable=True)
    peer.channel.queue_declare("purged", durable=True)
    peer.channel.queue_declare("deleted", durable=True)
    peer.channel.confirm_delivery()
    for queue in ("kept", "purged", "deleted"):
        publish_confirmed(peer, queue, b"x")
    peer.channel.queue_purge("purged")
    peer.channel.queue_delete("deleted")
    broker.stop()
    broker.start()
    queues = broker.inspect()["vhosts"]["/"]["queues"]
    assert {name: queue["ready"] for name, queue in queues.items()} == {"kept": 1, "purged": 0}
    assert broker.port == port
    broker.stop()


def test_store_is_refused_when_another_broker_has_it(tmp_path: Path) -> None:
    with BrokerThread(store_path=tmp_path / "store"), pytest.raises(ConfigError, match="another broker"):
        BrokerThread(store_path=tmp_path / "store").start()


def test_store_is_refused_when_it_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "store").write_bytes(b"not a database" * 1000)
    with pytest.raises(ConfigError, match="cannot be used"):
        BrokerThread(store_path=tmp_path / "store").start()


def test_restart_without_a_store_forgets_everything(
    own: BrokerThread, connect: Callable[[str], Peer]
) -> None:
    connect(own.url()).channel.queue_declare("q", durable=True)
    own.stop()
    own.start()
    assert own.inspect()["vhosts"]["/"]["queues"] == {}


# Controls for tests


def test_inspect_tells_depths_consumers_and_bindings(
    own: BrokerThread, connect: Callable[[str], Peer]
) -> None:
    peer = connect(own.url())
    peer.channel.queue_declare("q")
    peer.channel.queue_bind("q", "amq.topic", "a.*")
    peer.publish("q")
    peer.take("q", auto_ack=False)
    tag = peer.consume("q")
    state = own.inspect()
    vhost = state["vhosts"]["/"]
    assert (vhost["queues"]["q"]["unacked"], vhost["queues"]["q"]["consumers"]) == (1, [tag])
    assert {"source": "amq.topic", "kind": "queue", "destination": "q", "routing_key": "a.*"} in vhost[
        "bindings"
    ]
    assert state["connections"][0]["channels"] == 1


def test_client_notices_when_connections_are_dropped(
    own: BrokerThread, connect: Callable[[str], Peer]
) -> None:
    peer = connect(own.url())
    assert own.drop_connections() == 1
    with pytest.raises(AMQPConnectionError):
        peer.channel.queue_declare("q")


def test_publisher_is_told_when_it_is_blocked_and_when_it_may_go_on(
    own: BrokerThread, connect: Callable[[str], Peer]
) -> None:
    peer, told = connect(own.url()), []
    peer.connection.add_on_connection_blocked_callback(lambda _, frame: told.append(frame.method.reason))
    peer.connection.add_on_connection_unblocked_callback(lambda *_: told.append("go on"))
    own.block("because")
    peer.publish("nobody")
    peer.wait(lambda: told == ["because"])
    own.unblock()
    peer.wait(lambda: told == ["because", "go on"])


def test_publisher_waits_while_the_backlog_is_full(connect: Callable[[str], Peer]) -> None:
    with BrokerThread(max_backlog_bytes=100_000) as broker:
        peer, reader, told = connect(broker.url()), connect(broker.url()), []
        peer.connection.add_on_connection_blocked_callback(lambda *_: told.append("wait"))
        peer.connection.add_on_connection_unblocked_callback(lambda *_: told.append("go on"))
        reader.channel.queue_declare("q")
        for _ in range(12):
            peer.publish("q", b"x" * 10_000)
        peer.wait(lambda: told == ["wait"])
        while not told[1:]:
            reader.get("q")
            peer.connection.process_data_events(0.01)
        assert told == ["wait", "go on"]


def test_paused_broker_answers_when_it_is_resumed(own: BrokerThread) -> None:
    with RawClient(own.url()) as client:
        client.socket.settimeout(0.2)
        own.pause()
        with pytest.raises(TimeoutError):
            client.call(1, pika.spec.Queue.Declare(queue="q"))
        client.socket.settimeout(30)
        own.resume()
        assert client.method().NAME == "Queue.DeclareOk"


def test_slow_reader_holds_up_its_deliveries_only(own: BrokerThread, connect: Callable[[str], Peer]) -> None:
    with RawClient(own.url()) as slow:
        slow.call(1, pika.spec.Queue.Declare(queue="q"))
        slow.call(1, pika.spec.Basic.Consume(queue="q", no_ack=True))
        peer = connect(own.url())
        for _ in range(40):
            peer.publish("q", b"x" * 1_000_000)
        peer.settle_down()
        assert peer.depth("q") > 10
        bodies = 0
        while bodies < 40_000_000:
            one = slow.next()
            assert one is not None
            bodies += len(one.payload) if one.kind == 3 else 0


def test_jitter_keeps_the_order_within_a_queue(connect: Callable[[str], Peer]) -> None:
    with BrokerThread(jitter_s=0.003) as broker:
        peer = connect(broker.url())
        peer.channel.queue_declare("q")
        peer.consume("q", auto_ack=True)
        sent = [b"%d" % number for number in range(200)]
        for body in sent:
            peer.publish("q", body)
        assert peer.wait_got(200) == sent


# Its command and its limits


def test_command_says_where_it_listens_and_ends_well_when_it_is_told_to(
    process: Callable[..., Any], connect: Callable[[str], Peer]
) -> None:
    child, port = start(process)
    peer = connect(f"amqp://guest:guest@127.0.0.1:{port}/%2F")
    os.kill(child.pid, signal.SIGTERM)
    assert child.wait() == 0
    with pytest.raises(AMQPConnectionError, match="320"):
        peer.channel.queue_declare("q")


def test_broker_is_refused_when_others_could_reach_it_with_the_known_password() -> None:
    with pytest.raises(ConfigError, match="give a user and password"):
        Broker("0.0.0.0")


def test_vhosts_are_made_on_demand_only_when_they_are_for_tests(connect: Callable[[str], Peer]) -> None:
    with BrokerThread(auto_vhosts=True) as broker:
        connect(broker.url("test-x"))
        with pytest.raises(AMQPConnectionError, match="530"):
            connect(broker.url("other"))
        broker.add_vhost("other")
        connect(broker.url("other"))


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A self-signed certificate and its key in one file."""
    path = tmp_path / "server.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]
    names = [
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-keyout",
        str(path),
        "-out",
        str(tmp_path / "cert.pem"),
    ]
    subprocess.run([*command, *names], check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + (tmp_path / "cert.pem").read_bytes())
    return path


def test_tls_carries_large_bodies(certificate: Path) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    client = ssl.create_default_context(cafile=str(certificate))
    with BrokerThread(tls=server) as broker:
        parameters = pika.ConnectionParameters(
            "127.0.0.1", broker.port, ssl_options=pika.SSLOptions(client, "127.0.0.1")
        )
        connection = pika.BlockingConnection(parameters)
        channel = connection.channel()
        channel.queue_declare("q")
        channel.basic_publish("", "q", b"x" * 3_000_000)
        wait_until(lambda: channel.queue_declare("q", passive=True).method.message_count == 1)
        assert len(channel.basic_get("q", auto_ack=True)[2]) == 3_000_000
        connection.close()


# It stays up


def test_broker_stays_up_when_it_is_sent_rubbish(own: BrokerThread, connect: Callable[[str], Peer]) -> None:
    chance = random.Random(7)
    for round_number in range(60):
        with RawClient(own.url(), is_open=round_number % 3 == 0) as client:
            if round_number % 3 == 1:
                client.socket.sendall(HEADER)
            client.socket.sendall(chance.randbytes(chance.randrange(1, 4000)))
    connect(own.url())


def test_broker_stays_up_when_methods_are_rubbish(own: BrokerThread, connect: Callable[[str], Peer]) -> None:
    chance = random.Random(8)
    methods = [index.to_bytes(4, "big") for index in pika.spec.methods]
    for _ in range(300):
        with RawClient(own.url()) as client:
            payload = chance.choice(methods) + chance.randbytes(chance.randrange(0, 40))
            client.send_frame(chance.choice([1, 1, 1, 2, 3]), chance.randrange(3), payload)
    peer = connect(own.url())
    assert peer.channel.is_open


def test_broker_stays_up_when_frames_are_cut_off(own: BrokerThread, connect: Callable[[str], Peer]) -> None:
    for size in range(1, 40):
        with RawClient(own.url()) as client:
            client.socket.sendall(b"\x01\x00\x01\x00\x00\x00\x20\x00\x32\x00\x0a".ljust(40, b"\x00")[:size])
    connect(own.url())
    wait_until(lambda: len(own.inspect()["connections"]) == 1)


def test_many_connections_at_once_are_served(own: BrokerThread) -> None:
    clients = [socket.create_connection(("127.0.0.1", own.port), 30) for _ in range(400)]
    for client in clients:
        client.sendall(HEADER)
    for client in clients:
        assert client.recv(1) == b"\x01"
        client.close()
    wait_until(lambda: own.inspect()["connections"] == [])
