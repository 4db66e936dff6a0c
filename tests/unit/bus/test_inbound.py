from __future__ import annotations

from typing import Any

import pika.frame
import pika.spec
import pytest
from pika.exceptions import InvalidFrameError

from reworker.bus import frames
from reworker.bus.contract import Properties
from reworker.bus.inbound import FrameReader

LARGEST = 4096


class Sink:
    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.last: tuple[Any, ...] = ()

    def on_deliver(self, *values: Any) -> None:
        self.last = values
        self.bodies.append(values[-1])


def method(channel: int, value: Any) -> bytes:
    return pika.frame.Method(channel, value).marshal()


def delivery(channel: int, tag: int, body: bytes) -> bytes:
    deliver = pika.spec.Basic.Deliver("consumer", tag, True, "e", "key")
    header = frames.header_frame(channel, len(body), Properties(correlation_id="c"))
    return method(channel, deliver) + header + frames.body_frames(channel, body, LARGEST)


class Setup:
    def __init__(self) -> None:
        self.passed: list[bytes] = []
        self.confirms: list[tuple[int, bool, bool]] = []
        self.sink = Sink()
        self.reader = FrameReader(self.passed.append)
        self.reader.delivery_sinks[3] = self.sink
        self.reader.confirm_channel = 1
        self.reader.on_confirm = lambda *values: self.confirms.append(values)


@pytest.fixture
def setup() -> Setup:
    return Setup()


def test_delivery_reaches_its_sink(setup: Setup) -> None:
    data = delivery(3, 17, b"body")
    assert setup.reader.read(data, LARGEST) == len(data)
    tag, redelivered, exchange, routing_key, properties, body = setup.sink.last
    assert (tag, redelivered, exchange, routing_key, body) == (17, True, "e", "key", b"body")
    assert properties.correlation_id == "c"
    assert setup.passed == []


@pytest.mark.parametrize("size_bytes", [0, 5000, 20_000])
def test_delivery_is_put_together_from_any_number_of_frames(setup: Setup, size_bytes: int) -> None:
    body = bytes(index % 256 for index in range(size_bytes))
    setup.reader.read(delivery(3, 1, body), LARGEST)
    assert setup.sink.bodies == [body]


def test_stream_cut_anywhere_gives_the_same(setup: Setup) -> None:
    stream = delivery(3, 1, b"one") + method(1, pika.spec.Basic.Ack(4, True)) + delivery(3, 2, b"two")
    rest = b""
    for place in range(len(stream)):
        rest += stream[place : place + 1]
        rest = rest[setup.reader.read(rest, LARGEST) :]
    assert rest == b""
    assert setup.sink.bodies == [b"one", b"two"]
    assert setup.confirms == [(4, True, True)]


@pytest.mark.parametrize("body", [b"", b"x" * 300])
def test_deliveries_read_together_are_the_same_as_read_one_by_one(setup: Setup, body: bytes) -> None:
    pieces = [delivery(3, tag, body) for tag in (1, 2, 3)]
    together = b"".join(pieces)
    assert setup.reader.read(together, LARGEST) == len(together)
    assert setup.sink.bodies == [body] * 3
    assert setup.sink.last[0] == 3


@pytest.mark.parametrize("frame_number", [1, 2])
def test_delivery_is_refused_when_a_frame_of_its_content_has_no_end(setup: Setup, frame_number: int) -> None:
    header = frames.header_frame(3, 4, Properties(correlation_id="c"))
    parts = [method(3, pika.spec.Basic.Deliver("consumer", 1, True, "e", "key")), header]
    parts.append(frames.body_frames(3, b"body", LARGEST))
    parts[frame_number] = parts[frame_number][:-1] + b"\x00"
    with pytest.raises(InvalidFrameError, match="end marker"):
        setup.reader.read(b"".join(parts), LARGEST)
    assert setup.sink.bodies == []


def test_delivery_is_refused_when_its_body_is_over_the_negotiated_size(setup: Setup) -> None:
    with pytest.raises(InvalidFrameError, match="negotiated"):
        setup.reader.read(delivery(3, 1, b"x" * 100), 90)
    assert setup.sink.bodies == []


def test_deliveries_of_two_channels_may_interleave(setup: Setup) -> None:
    other = setup.reader.delivery_sinks[4] = Sink()
    first, second = delivery(3, 1, b"first"), delivery(4, 1, b"second")
    cut = len(method(3, pika.spec.Basic.Deliver("consumer", 1, True, "e", "key")))
    setup.reader.read(first[:cut] + second + first[cut:], LARGEST)
    assert (setup.sink.bodies, other.bodies) == ([b"first"], [b"second"])


def test_delivery_is_dropped_whole_when_its_sink_goes_amid_it(setup: Setup) -> None:
    data = delivery(3, 1, b"body")
    cut = len(method(3, pika.spec.Basic.Deliver("consumer", 1, True, "e", "key")))
    setup.reader.read(data[:cut], LARGEST)
    del setup.reader.delivery_sinks[3]
    setup.reader.read(data[cut:], LARGEST)
    assert (setup.sink.bodies, setup.passed) == ([], [])


def test_confirms_are_taken_only_on_the_publishing_channel(setup: Setup) -> None:
    nack, other = method(1, pika.spec.Basic.Nack(2)), method(5, pika.spec.Basic.Ack(2))
    setup.reader.read(nack + other, LARGEST)
    assert setup.confirms == [(2, False, False)]
    assert setup.passed == [other]


def test_everything_else_is_passed_on(setup: Setup) -> None:
    returned = pika.spec.Basic.Return(312, "NO_ROUTE", "e", "key")
    header, body = frames.header_frame(1, 1, Properties()), frames.body_frames(1, b"x", LARGEST)
    others = [method(1, returned), header, body, pika.frame.Heartbeat().marshal()]
    setup.reader.read(b"".join(others), LARGEST)
    assert setup.passed == others


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x01\x00\x01\x7f\xff\xff\xff\x00", "negotiated"),
        (b"\x01\x00\x01\x00\x00\x00\x04abcd\x00", "end marker"),
    ],
)
def test_what_is_no_frame_is_refused(setup: Setup, data: bytes, words: str) -> None:
    with pytest.raises(InvalidFrameError, match=words):
        setup.reader.read(data, LARGEST)
