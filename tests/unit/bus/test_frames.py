from __future__ import annotations

import functools
import struct
from collections.abc import Callable
from typing import Any

import pika.frame
import pika.spec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from reworker.bus import frames, reading
from reworker.bus.contract import Envelope, FixedHeaders, Outgoing, Properties

short = st.text(max_size=60)
octets = st.integers(0, 255)
plain = st.one_of(st.text(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.none())


def tables(inner: st.SearchStrategy[object]) -> st.SearchStrategy[dict[str, object]]:
    return st.dictionaries(st.text(max_size=20), inner, max_size=4)


values = st.recursive(plain, lambda inner: st.lists(inner, max_size=3) | tables(inner), max_leaves=6)
properties = st.builds(
    Properties,
    content_type=st.none() | short,
    content_encoding=st.none() | short,
    headers=st.none() | tables(values),
    delivery_mode=st.none() | octets,
    priority=st.none() | octets,
    correlation_id=st.none() | short,
    reply_to=st.none() | short,
    expiration=st.none() | short,
    message_id=st.none() | short,
    timestamp=st.none() | st.integers(0, 2**64 - 1),
    type=st.none() | short,
    user_id=st.none() | short,
    app_id=st.none() | short,
    cluster_id=st.none() | short,
)
NAMES = Properties.__struct_fields__
#: what replies and output have.
USUAL = st.builds(
    Properties,
    content_type=short,
    headers=tables(values),
    delivery_mode=octets,
    correlation_id=short,
    reply_to=short,
    message_id=short,
    app_id=short,
)
USUAL_VALUES: dict[str, Any] = {
    "content_type": "application/json",
    "headers": {"x": 1},
    "delivery_mode": 2,
    "correlation_id": "a",
    "reply_to": "b",
    "message_id": "c",
    "app_id": "d",
}


def decoded(data: bytes) -> pika.frame.Frame:
    size, found = pika.frame.decode_frame(data)
    assert size == len(data)
    return found


@given(properties)
def test_header_frame_means_the_same_to_pika(sent: Properties) -> None:
    found = decoded(frames.header_frame(7, 12345, sent))
    assert (found.channel_number, found.body_size) == (7, 12345)
    assert {name: getattr(found.properties, name) for name in NAMES} == {
        name: getattr(sent, name) for name in NAMES
    }


@given(USUAL)
def test_header_frame_of_a_usual_message_means_the_same_to_pika(sent: Properties) -> None:
    found = decoded(frames.header_frame(7, 12345, sent))
    assert {name: getattr(found.properties, name) for name in NAMES} == {
        name: getattr(sent, name) for name in NAMES
    }


@pytest.mark.parametrize("absent", sorted(USUAL_VALUES))
def test_header_frame_of_a_message_that_has_one_less_means_the_same_to_pika(absent: str) -> None:
    sent = Properties(**{**USUAL_VALUES, absent: None})
    found = decoded(frames.header_frame(7, 12345, sent))
    assert {name: getattr(found.properties, name) for name in NAMES} == {
        name: getattr(sent, name) for name in NAMES
    }


@pytest.mark.parametrize("wrong", [{"correlation_id": "x" * 256}, {"message_id": "\u00e4" * 128}])
def test_usual_message_with_a_text_over_255_bytes_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="255 bytes, this one has 256"):
        frames.header_frame(1, 0, Properties(**{**USUAL_VALUES, **wrong}))


def enveloped(message: Outgoing, user_id: str = "") -> list[bytes]:
    """Return the frames that the envelope gives, the first time and the second."""
    return [frames.enveloped(1, b"method", message, user_id) for _ in range(2)]


@pytest.mark.parametrize("user_id", ["", "guest"])
@given(properties, short, short, st.binary(min_size=1, max_size=60))
def test_message_in_an_envelope_is_encoded_like_others_each_time(
    user_id: str, common: Properties, correlation_id: str, message_id: str, body: bytes
) -> None:
    ids = {"correlation_id": correlation_id, "message_id": message_id}
    envelope = Envelope(replace(common, correlation_id=None, message_id=None))
    sent = replace(envelope.common, **ids)
    stamped = replace(sent, user_id=user_id) if user_id else sent
    plain_frames = b"method" + frames.header_frame(1, len(body), stamped) + frames.body_frames(1, body, 4096)
    assert enveloped(Outgoing("", "q", body, sent, envelope=envelope), user_id) == [plain_frames] * 2


def test_envelope_keeps_the_senders_of_several_buses_apart() -> None:
    envelope = Envelope(Properties(app_id="a"))
    message = Outgoing(
        "", "q", b"{}", replace(envelope.common, correlation_id="c", message_id="m"), True, envelope
    )
    ours, theirs, nobodys = (enveloped(message, user_id)[1] for user_id in ("us", "them", ""))
    assert (b"\x02us" in ours, b"\x04them" in ours) == (True, False)
    assert (b"\x02us" in theirs, b"\x04them" in theirs) == (False, True)
    assert len(nobodys) == len(ours) - len(b"\x02us")


@pytest.mark.parametrize(
    ("body", "changes"),
    [
        (b"", {}),
        (b"x" * (frames.SURE_BODY_BYTES + 1), {}),
        (b"{}", {"correlation_id": None}),
        (b"{}", {"message_id": None}),
        (b"{}", {"correlation_id": "\udcff"}),
        (b"{}", {"message_id": "x" * 256}),
    ],
)
def test_message_that_an_envelope_does_not_fit_takes_the_general_way(
    body: bytes, changes: dict[str, Any]
) -> None:
    envelope = Envelope(Properties(headers={"x": 1}))
    sent = replace(envelope.common, **{"correlation_id": "c", "message_id": "m", **changes})
    assert enveloped(Outgoing("", "q", body, sent, envelope=envelope)) == [b"", b""]
    assert enveloped(Outgoing("", "q", b"{}", sent)) == [b"", b""]


@pytest.mark.parametrize(
    "change",
    [
        lambda headers: headers.update(a=2),
        lambda headers: headers.pop("a"),
        lambda headers: headers.setdefault("b", 1),
        lambda headers: headers.__setitem__("a", 2),
        lambda headers: headers.clear(),
    ],
)
def test_fixed_headers_refuse_every_change(change: Callable[[FixedHeaders], object]) -> None:
    headers = FixedHeaders(a=1)
    with pytest.raises(TypeError, match="change a copy"):
        change(headers)
    assert headers == {"a": 1}


@given(properties)
def test_read_properties_returns_what_was_written(sent: Properties) -> None:
    found = reading.read_properties(frames.header_frame(7, 0, sent), 7 + 12)
    assert {name: getattr(found, name) for name in NAMES} == {name: getattr(sent, name) for name in NAMES}
    assert isinstance(found, pika.spec.BasicProperties)


LATER = st.fixed_dictionaries(
    {
        "timestamp": st.none() | st.integers(0, 2**64 - 1),
        "type": st.none() | short,
        "user_id": st.none() | short,
        "app_id": st.none() | short,
        "cluster_id": st.none() | short,
    }
)


@given(USUAL, LATER)
def test_properties_of_steps_and_replies_are_read_with_what_comes_behind(
    sent: Properties, later: dict[str, Any]
) -> None:
    sent = replace(sent, **later)
    found = reading.read_properties(frames.header_frame(7, 0, sent), 7 + 12)
    assert {name: getattr(found, name) for name in NAMES} == {name: getattr(sent, name) for name in NAMES}


@pytest.mark.parametrize("name", ["content_type", "correlation_id", "reply_to", "message_id", "user_id"])
def test_text_that_is_no_utf8_is_kept_recognisable_among_the_properties_of_a_step(name: str) -> None:
    odd = Properties(**{**USUAL_VALUES, "timestamp": 7, "user_id": "u", name: "\udcff\udcfe"})
    found = reading.read_properties(frames.header_frame(1, 0, odd), 7 + 12)
    assert {one: getattr(found, one) for one in NAMES} == {one: getattr(odd, one) for one in NAMES}


def test_received_properties_can_be_sent_on_by_pika() -> None:
    sent = Properties(reply_to="replies", headers={"a": 1})
    found = reading.read_properties(frames.header_frame(1, 0, sent), 7 + 12)
    again = decoded(pika.frame.Header(1, 0, found).marshal())
    assert (again.properties.reply_to, again.properties.headers) == ("replies", {"a": 1})


def test_fractions_in_headers_stay_fractions() -> None:
    found = reading.read_properties(
        frames.header_frame(1, 0, Properties(headers={"x-deadline-s": 1.5})), 7 + 12
    )
    assert found.headers == {"x-deadline-s": 1.5}


def test_rare_header_types_are_left_to_pika() -> None:
    header = pika.frame.Header(1, 0, pika.BasicProperties(headers={"raw": b"\xff", "text": "t"}))
    assert reading.read_properties(header.marshal(), 7 + 12).headers == {"raw": b"\xff", "text": "t"}


def test_text_that_is_no_utf8_is_kept_recognisable() -> None:
    data = frames.header_frame(1, 0, Properties(correlation_id="XY")).replace(b"XY", b"\xff\xfe")
    assert reading.read_properties(data, 7 + 12).correlation_id == "\udcff\udcfe"


def test_text_that_is_no_utf8_goes_back_as_it_came() -> None:
    odd = Properties(correlation_id="\udcff\udcfe", headers={"k": "\udcff"})
    data = frames.header_frame(1, 0, odd)
    assert b"\x02\xff\xfe" in data
    assert reading.read_properties(data, 7 + 12).headers == {"k": "\udcff"}


NESTED = functools.reduce(
    lambda field, _: b"F" + struct.pack(">I", len(field) + 2) + b"\x01k" + field, range(2000), b"V"
)


@pytest.mark.parametrize(
    "field",
    [
        b"T" + struct.pack(">Q", 2**63),
        b"f" + struct.pack(">f", float("nan")),
        b"f" + struct.pack(">f", float("inf")),
        b"A" + struct.pack(">I", 9) + b"d" + struct.pack(">d", float("nan")),
        b"A" + struct.pack(">I", 9) + b"d",
        b"?",
        NESTED,
    ],
    ids=["time", "NaN", "infinity", "list", "end", "type", "nested"],
)
def test_headers_before_one_that_cannot_be_read_are_kept(field: bytes) -> None:
    table = b"\x01aI\x00\x00\x00\x02\x01b" + field
    fields = struct.pack(">HHQH", 60, 0, 0, 1 << 13 | 1 << 10)
    data = fields + struct.pack(">I", len(table)) + table + b"\x02id"
    found = reading.read_properties(data, 12)
    assert (found.headers, found.correlation_id) == ({"a": 2}, "id")


def test_publish_frame_means_the_same_to_pika() -> None:
    method = decoded(frames.publish_frame(1, "re", "worker.höst")).method
    assert isinstance(method, pika.spec.Basic.Publish)
    assert (method.exchange, method.routing_key, method.mandatory) == ("re", "worker.höst", True)


def test_name_over_255_bytes_is_refused() -> None:
    with pytest.raises(ValueError, match="256"):
        frames.publish_frame(1, "e", "k" * 256)


@pytest.mark.parametrize(
    "wrong",
    [
        Properties(headers={"x": object()}),
        Properties(priority=256),
        Properties(timestamp=-1),
        Properties(correlation_id=5),  # type: ignore[arg-type]  # what an untyped caller may do
        Properties("a", None, {}, 2, None, "b", 5, None, "c", app_id="d"),  # type: ignore[arg-type]  # what an untyped caller may do
        Properties("a", None, {}, 256, None, "b", "r", None, "c", app_id="d"),
    ],
)
def test_property_that_amqp_cannot_carry_is_refused(wrong: Properties) -> None:
    with pytest.raises(TypeError, match="AMQP cannot carry"):
        frames.header_frame(1, 0, wrong)


@pytest.mark.parametrize("size_bytes", [0, 1, 4088, 4089, 8176, 10_000])
def test_body_is_split_at_the_negotiated_size(size_bytes: int) -> None:
    body, data, found = bytes(size_bytes), frames.body_frames(3, bytes(size_bytes), 4096), []
    while data:
        size, frame = pika.frame.decode_frame(data)
        assert size <= 4096
        found.append(frame.fragment)
        data = data[size:]
    assert b"".join(found) == body


@pytest.mark.parametrize("size_bytes", [0, 1, frames.SURE_BODY_BYTES])
def test_content_with_its_body_is_what_a_connection_with_the_smallest_frames_would_get(
    size_bytes: int,
) -> None:
    body = b"x" * size_bytes
    assert frames.with_body(3, b"head", body) == b"head" + frames.body_frames(3, body, 4096)


def test_settling_frames_mean_the_same_to_pika() -> None:
    ack = decoded(frames.ack_frame(9, 2**40, is_multiple=True)).method
    assert (type(ack), ack.delivery_tag, ack.multiple) == (pika.spec.Basic.Ack, 2**40, True)
    for is_requeued in (True, False):
        nack = decoded(frames.nack_frame(9, 3, is_requeued=is_requeued)).method
        assert isinstance(nack, pika.spec.Basic.Nack)
        assert (nack.delivery_tag, nack.multiple, nack.requeue) == (3, False, is_requeued)


@given(st.text(max_size=60), st.integers(1, 100))
def test_get_frame_is_what_pika_writes(queue: str, channel: int) -> None:
    method = pika.spec.Basic.Get(queue=queue, no_ack=False)
    assert frames.get_frame(channel, queue) == pika.frame.Method(channel, method).marshal()


@given(st.integers(0, 2**63), st.booleans(), st.text(max_size=60), st.text(max_size=60))
def test_answer_to_a_pull_is_read_as_pika_reads_it(tag: int, again: bool, exchange: str, key: str) -> None:
    method = pika.spec.Basic.GetOk(tag, again, exchange, key, 7)
    data = pika.frame.Method(1, method).marshal()
    assert reading.unpack_method_id(data, 7)[0] == frames.BASIC_GET_OK
    assert reading.read_get_ok(data, 11) == (tag, again, exchange, key)
