"""Frames, handshake and closing: the embedded broker answers broken clients as RabbitMQ does."""

from __future__ import annotations

import struct

import pytest
from pika import frame, spec

from tests.contract.broker_kit import BROKERS, broker_address
from tests.contract.raw_client import HEADER, RawClient


@pytest.fixture(params=BROKERS)
def url(request: pytest.FixtureRequest) -> str:
    return broker_address(request)


@pytest.mark.parametrize("hello", [b"GET / HTTP/1.1\r\n\r\n", b"AMQP\x03\x01\x00\x00"])
def test_client_is_told_the_right_header_when_its_own_is_wrong(url: str, hello: bytes) -> None:
    with RawClient(url, is_open=False) as client:
        client.socket.sendall(hello)
        assert client._read(8) == HEADER
        assert client._read(1) is None


def test_amqplain_logs_in(url: str) -> None:
    with RawClient(url, is_open=False) as client:
        client.socket.sendall(HEADER)
        assert client.method().mechanisms.split()
        login = b"\x05LOGINS\x00\x00\x00\x05guest\x08PASSWORDS\x00\x00\x00\x05guest"
        assert isinstance(
            client.call(0, spec.Connection.StartOk({}, "AMQPLAIN", login, "en_US")), spec.Connection.Tune
        )


@pytest.mark.parametrize("is_told", [True, False], ids=["told", "cut"])
def test_refused_login_is_told_when_the_client_can_hear_it(url: str, is_told: bool) -> None:
    with RawClient(url, is_open=False) as client:
        client.socket.sendall(HEADER)
        client.next()
        properties = {"capabilities": {"authentication_failure_close": True}} if is_told else {}
        answer = client.call(0, spec.Connection.StartOk(properties, "PLAIN", b"\x00guest\x00wrong", "en_US"))
        assert (answer.reply_code if answer else None) == (403 if is_told else None)


@pytest.mark.parametrize("tune", [(65535, 131072, 0), (2047, 200000, 0), (2047, 100, 0)], ids=str)
def test_tuning_is_refused_when_it_is_out_of_range(url: str, tune: tuple[int, int, int]) -> None:
    with RawClient(url, is_open=False) as client:
        client.socket.sendall(HEADER)
        client.next()
        client.call(0, spec.Connection.StartOk({}, "PLAIN", b"\x00guest\x00guest", "en_US"))
        client.send(0, spec.Connection.TuneOk(*tune))
        answer = client.call(0, spec.Connection.Open("/"))
        # RabbitMQ cuts such a client without a word
        assert answer is None or answer.reply_code == 530


def test_channel_is_refused_when_there_are_too_many(url: str) -> None:
    with RawClient(url, tune=(2, 131072, 0)) as client:
        assert isinstance(client.call(2, spec.Channel.Open()), spec.Channel.OpenOk)
        assert client.call(3, spec.Channel.Open()).reply_code == 530


def test_method_is_refused_when_its_channel_is_not_open(url: str) -> None:
    with RawClient(url) as client:
        assert client.call(9, spec.Queue.Declare(queue="q")).reply_code == 504


def test_channel_is_refused_when_it_is_open_already(url: str) -> None:
    with RawClient(url) as client:
        assert client.call(1, spec.Channel.Open()).reply_code == 504


def test_close_names_the_method_that_failed(url: str) -> None:
    with RawClient(url) as client:
        closed = client.call(1, spec.Exchange.Declare(exchange="x", type="imaginary"))
        assert (closed.class_id, closed.method_id) == (40, 10)
    with RawClient(url) as client:
        closed = client.call(1, spec.Queue.Declare(queue="nobody", passive=True))
        assert (closed.reply_code, closed.class_id, closed.method_id) == (404, 50, 10)


def test_channel_can_be_opened_again_when_its_close_was_agreed_to(url: str) -> None:
    with RawClient(url) as client:
        client.call(1, spec.Queue.Declare(queue="nobody", passive=True))
        client.send(1, spec.Queue.Declare(queue="ignored", passive=True))
        client.send(1, spec.Channel.CloseOk())
        assert isinstance(client.call(1, spec.Channel.Open()), spec.Channel.OpenOk)


def test_closing_twice_at_once_is_agreed_to(url: str) -> None:
    with RawClient(url) as client:
        client.call(1, spec.Queue.Declare(queue="nobody", passive=True))
        assert isinstance(client.call(1, spec.Channel.Close(200, "", 0, 0)), spec.Channel.CloseOk)
        client.send(1, spec.Channel.CloseOk())
        assert isinstance(client.call(1, spec.Channel.Open()), spec.Channel.OpenOk)


def test_connection_close_is_agreed_to(url: str) -> None:
    with RawClient(url) as client:
        assert isinstance(client.call(0, spec.Connection.Close(200, "bye", 0, 0)), spec.Connection.CloseOk)


def test_frame_is_refused_when_its_end_is_wrong(url: str) -> None:
    with RawClient(url) as client:
        client.send_frame(1, 1, frame.Method(1, spec.Tx.Select()).marshal()[7:-1], end=b"\x00")
        assert client.method().reply_code == 501


def test_frame_is_refused_when_it_is_larger_than_agreed(url: str) -> None:
    with RawClient(url, tune=(2047, 4096, 0)) as client:
        client.send_frame(3, 1, b"x" * 4097)
        assert client.method().reply_code == 501


def test_large_body_is_split_as_agreed(url: str) -> None:
    with RawClient(url, tune=(2047, 4096, 0)) as client:
        queue = client.call(1, spec.Queue.Declare(queue="", exclusive=True)).queue
        client.send(1, spec.Basic.Publish(exchange="", routing_key=queue))
        client.send_frame(2, 1, struct.pack(">HHQH", 60, 0, 10000, 0))
        for size in (4088, 4088, 1824):
            client.send_frame(3, 1, b"x" * size)
        assert client.call(1, spec.Basic.Get(queue=queue, no_ack=True)).NAME == "Basic.GetOk"
        sizes = [len(one.payload) for one in (client.next() for _ in range(4)) if one]
        assert sizes == [14, 4088, 4088, 1824]


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([(2, struct.pack(">HHQH", 60, 0, 1, 0))], 505),
        ([(3, b"x")], 505),
        ([(1, frame.Method(1, spec.Tx.Select()).marshal()[7:-1])], 505),
        ([(2, struct.pack(">HHQH", 50, 0, 1, 0))], 505),
    ],
    ids=["header", "body", "method", "class"],
)
def test_frame_is_refused_when_another_has_to_come(
    url: str, frames: list[tuple[int, bytes]], code: int
) -> None:
    begins_publish = frames[0][0] == 1 or frames[0][1][:2] == b"\x00\x32"
    with RawClient(url) as client:
        if begins_publish:
            client.send(1, spec.Basic.Publish(exchange="", routing_key="q"))
        for kind, payload in frames:
            client.send_frame(kind, 1, payload)
        assert client.method().reply_code == code


def test_unknown_method_is_refused(url: str) -> None:
    with RawClient(url) as client:
        client.send_frame(1, 1, b"\x00\x63\x00\x63")
        answer = client.method()
        # RabbitMQ cuts such a client without a word
        assert answer is None or answer.reply_code == 540


def test_malformed_arguments_are_refused(url: str) -> None:
    with RawClient(url) as client:
        client.send_frame(1, 1, b"\x00\x32\x00\x0a\x00\x00\xff")
        assert client.method().reply_code in (501, 502, 541)


def test_line_ends_are_taken_out_of_a_queues_name(url: str) -> None:
    with RawClient(url) as client:
        assert client.call(1, spec.Queue.Declare(queue="t-line\r\nend", exclusive=True)).queue == "t-lineend"


def test_consumer_tag_is_refused_when_it_is_taken(url: str) -> None:
    with RawClient(url) as client:
        queue = client.call(1, spec.Queue.Declare(queue="", exclusive=True)).queue
        client.call(1, spec.Basic.Consume(queue=queue, consumer_tag="t"))
        assert client.call(1, spec.Basic.Consume(queue=queue, consumer_tag="t")).reply_code == 530


def test_immediate_is_not_implemented(url: str) -> None:
    with RawClient(url) as client:
        client.send(1, spec.Basic.Publish(exchange="", routing_key="q", immediate=True))
        client.send_frame(2, 1, struct.pack(">HHQH", 60, 0, 0, 0))
        assert client.method().reply_code == 540


def test_stopping_the_flow_is_not_implemented(url: str) -> None:
    with RawClient(url) as client:
        assert client.call(1, spec.Channel.Flow(active=False)).reply_code == 540


def test_broker_sends_heartbeats_and_cuts_a_silent_client(url: str) -> None:
    with RawClient(url, tune=(2047, 131072, 1)) as client:
        beats = 0
        while (one := client.next()) is not None:
            assert one.kind == 8
            beats += 1
        assert beats >= 1


def test_properties_of_any_kind_pass_through_unchanged(url: str) -> None:
    table = b"\x01aT" + b"\xff" * 8 + b"\x01bd\x3f\xf8" + b"\x00" * 6 + b"\x01cb\xff\x01ds\x00\x01"
    props = struct.pack(">HI", 1 << 13, len(table)) + table
    with RawClient(url) as client:
        queue = client.call(1, spec.Queue.Declare(queue="", exclusive=True)).queue
        client.send(1, spec.Basic.Publish(exchange="", routing_key=queue))
        client.send_frame(2, 1, struct.pack(">HHQ", 60, 0, 0) + props)
        client.call(1, spec.Basic.Get(queue=queue, no_ack=True))
        got = client.next()
        assert got is not None
        assert got.payload[12:] == props


def test_confirms_cover_every_publish(url: str) -> None:
    with RawClient(url) as client:
        client.call(1, spec.Confirm.Select())
        publish = frame.Method(1, spec.Basic.Publish(exchange="", routing_key="nobody")).marshal()
        header = struct.pack(">BHI", 2, 1, 14) + struct.pack(">HHQH", 60, 0, 0, 0) + b"\xce"
        client.socket.sendall((publish + header) * 100)
        confirmed = 0
        while confirmed < 100:
            answer = client.method()
            assert answer.NAME == "Basic.Ack"
            assert answer.delivery_tag > confirmed
            assert answer.multiple or answer.delivery_tag == confirmed + 1
            confirmed = answer.delivery_tag
