"""Codec, properties, routing and confirms: pure functions of the broker."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable

import pika
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reworker.broker import codec, properties
from reworker.broker.arguments import QueueOptions, queue_options
from reworker.broker.confirms import Confirms
from reworker.broker.dead_letter import dead_lettered, is_cycle
from reworker.broker.errors import BrokerError
from reworker.broker.handshake import Handshake
from reworker.broker.intake import Intake
from reworker.broker.model import Binding, Exchange, Message
from reworker.broker.settings import Settings
from reworker.broker.vhost import VHost
from reworker.errors import ConfigError
from tests.unit.broker.fakes import NO_PROPS, FakeRuntime

WORDS = st.lists(st.sampled_from(["a", "b", "", "c"]), min_size=1, max_size=6).map(".".join)
PATTERNS = st.lists(st.sampled_from(["a", "b", "*", "#"]), min_size=1, max_size=6).map(".".join)


def matches(pattern: str, key: str) -> bool:
    """The topic rule as a regular expression over words that each end in a dot."""
    words = {"#": r"(?:[^.]*\.)*", "*": r"[^.]*\."}
    expression = "".join(words.get(word, re.escape(word) + r"\.") for word in pattern.split("."))
    return re.fullmatch(expression, f"{key}." if key else "") is not None


@given(PATTERNS, WORDS)
def test_topic_exchange_routes_as_the_regular_expression_does(pattern: str, key: str) -> None:
    exchange = Exchange("x", "topic")
    binding = Binding("x", "queue", "q", pattern, b"")
    exchange.add(binding)
    assert (binding in exchange.route(key, NO_PROPS)) == matches(pattern, key)


def test_topic_exchange_is_quick_when_a_pattern_is_nothing_but_hashes() -> None:
    exchange = Exchange("x", "topic")
    exchange.add(Binding("x", "queue", "q", ".".join(["#"] * 100) + ".z", b""))
    assert not list(exchange.route(".".join(["a"] * 100), NO_PROPS))


def test_exchange_forgets_a_route_when_a_binding_goes() -> None:
    exchange = Exchange("x", "topic")
    binding = Binding("x", "queue", "q", "a.*", b"")
    exchange.add(binding)
    assert list(exchange.route("a.b", NO_PROPS)) == [binding]
    exchange.remove(binding)
    assert not list(exchange.route("a.b", NO_PROPS))


HEADERS = st.dictionaries(
    st.text("abcxyz", min_size=1, max_size=5),
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.text(max_size=10),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=3), inner, max_size=3)
        ),
        max_leaves=5,
    ),
    max_size=5,
)


def encoded(**fields: object) -> bytes:
    return b"".join(pika.BasicProperties(**fields).encode())


@given(HEADERS, st.sampled_from([None, 1, 2]), st.none() | st.text("k", max_size=9))
def test_facts_are_those_that_pika_encoded(
    headers: dict[str, object], mode: int | None, key: str | None
) -> None:
    facts = properties.facts(encoded(headers=headers, delivery_mode=mode, reply_to=key, message_id="m"))
    assert facts.is_persistent == (mode == 2)
    assert facts.reply_to == (None if key is None else key.encode())


@given(HEADERS)
def test_changing_one_header_leaves_the_others_byte_for_byte(headers: dict[str, object]) -> None:
    before = properties.headers_of(encoded(headers=headers, app_id="a"))
    changed = properties.with_headers(
        encoded(headers=headers, app_id="a"), before | {b"x-new": properties.int_value(1)}
    )
    assert properties.headers_of(changed) == before | {b"x-new": properties.int_value(1)}
    assert properties.spans(changed).keys() >= {"app_id", "headers"}


def code_of(call: Callable[[], object]) -> int:
    """Return the reply code that a call is refused with, or 0."""
    try:
        call()
    except BrokerError as error:
        return error.code
    return 0


@given(st.binary(max_size=80))
def test_rubbish_properties_are_refused_and_nothing_else_happens(raw: bytes) -> None:
    assert code_of(lambda: properties.facts(raw)) in (0, 502)


@given(st.binary(max_size=80))
def test_rubbish_methods_are_refused_and_nothing_else_happens(raw: bytes) -> None:
    assert code_of(lambda: codec.decode_method(raw)) in (0, 502, 540)


def test_name_survives_when_it_is_no_text() -> None:
    assert codec.raw_text(codec.text(b"\xff\xfe")) == b"\xff\xfe"


@pytest.mark.parametrize(("size", "frames"), [(0, 1), (1, 2), (4088, 2), (4089, 3), (9000, 4)])
def test_body_is_split_by_the_frame_size(size: int, frames: int) -> None:
    raw = codec.encode_content(1, NO_PROPS, b"x" * size, 4096)
    count, at = 0, 0
    while at < len(raw):
        length = struct.unpack_from(">I", raw, at + 3)[0]
        assert raw[at + 7 + length] == 0xCE
        assert length + 8 <= 4096
        count, at = count + 1, at + length + 8
    assert count == frames


@given(st.lists(st.booleans(), max_size=30))
def test_confirms_tell_each_publish_its_own_fate(fates: list[bool]) -> None:
    confirms = Confirms(1)
    confirms.is_on = True
    for fate in fates:
        confirms.settle_next(is_taken=fate)
    raw, told = confirms.flush(), []
    for at in range(0, len(raw), 21):
        index, tag, multiple = struct.unpack_from(">IQB", raw, at + 7)
        told.extend([index == 0x003C0050] * (tag - len(told) if multiple else 1))
    assert told == fates
    assert confirms.flush() == b""


def test_intake_refuses_a_body_that_is_too_long() -> None:
    intake = Intake()
    intake.begin(b"\x00\x3c\x00\x28\x00\x00\x00\x01q\x00")
    assert intake.header(struct.pack(">HHQ", 60, 0, 3) + NO_PROPS) is None
    with pytest.raises(BrokerError, match="UNEXPECTED_FRAME"):
        intake.body(b"four")


def test_intake_refuses_a_message_that_is_too_large_before_its_body_comes() -> None:
    intake = Intake()
    intake.begin(b"\x00\x3c\x00\x28\x00\x00\x00\x01q\x00")
    with pytest.raises(BrokerError, match="larger than configured max size"):
        intake.header(struct.pack(">HHQ", 60, 0, 2**40) + NO_PROPS)


OPTIONS = QueueOptions(dead_letter_exchange="dlx", dead_letter_key="k")


def test_death_counts_are_64_bit_and_strange_headers_survive() -> None:
    strange = {b"odd": b"T" + b"\xff" * 8}
    message = Message("", "q", properties.with_headers(NO_PROPS, strange), b"")
    for _ in range(3):
        message = dead_lettered(message, "q", OPTIONS, "expired", 7)
    headers = properties.headers_of(message.props)
    [death] = properties.array_items(headers[b"x-death"]) or []
    assert properties.fields(death[1:])[b"count"] == b"l" + (3).to_bytes(8, "big")
    assert headers[b"odd"] == strange[b"odd"]


@pytest.mark.parametrize("count", [b"", b"S\x00\x00\x00\x09ninelives", b"V", b"d" + b"\xff" * 8])
def test_death_is_counted_from_nothing_when_a_client_made_the_count_up(count: bytes) -> None:
    made_up = {b"queue": properties.text_value(b"q"), b"reason": properties.text_value(b"expired")}
    if count:
        made_up[b"count"] = count
    headers = {b"x-death": properties.array_value([b"F" + properties.table(made_up)])}
    dead = dead_lettered(
        Message("", "q", properties.with_headers(NO_PROPS, headers), b""), "q", OPTIONS, "expired", 7
    )
    [death] = properties.array_items(properties.headers_of(dead.props)[b"x-death"]) or []
    assert properties.fields(death[1:])[b"count"] == properties.int_value(1)


def test_tables_in_tables_are_refused_when_they_are_too_deep() -> None:
    table = properties.table({})
    for _ in range(5000):
        table = properties.table({b"k": b"F" + table})
    assert code_of(lambda: properties.fields(table)) == 502
    assert code_of(lambda: codec.decode_table(table)) == 502


def test_dead_letter_key_is_refused_when_it_fits_in_no_frame() -> None:
    table = codec.Table({"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "k" * 256})
    assert code_of(lambda: queue_options(table, "q", "/")) == 406


def test_target_is_left_out_when_only_expiry_brought_the_message_back() -> None:
    message = Message("", "q", NO_PROPS, b"")
    expired = dead_lettered(message, "q", OPTIONS, "expired", 7)
    rejected = dead_lettered(expired, "other", OPTIONS, "rejected", 7)
    assert is_cycle(expired, "q")
    assert not is_cycle(expired, "other")
    assert not is_cycle(rejected, "q")


def test_dead_letters_of_a_circle_end() -> None:
    runtime = FakeRuntime()
    vhost = VHost("/", runtime)
    for name, other in (("a", "b"), ("b", "a")):
        table = codec.Table(
            {"x-max-length": 0, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": other}
        )
        vhost.declare_queue(vhost.new_queue(name, table, durable=False, auto_delete=False, owner=None))
    vhost.queues["a"].push(Message("", "a", NO_PROPS, b""))
    assert runtime.backlog.size_bytes == 0


def no_vhost(name: str) -> VHost:
    raise BrokerError(530, f"vhost {name} not found")


def test_handshake_refuses_a_method_out_of_turn() -> None:
    with pytest.raises(BrokerError, match="COMMAND_INVALID"):
        Handshake(Settings(), no_vhost).take(pika.spec.Connection.Open("/"))


@pytest.mark.parametrize(
    "response", [b"", b"\x00guest", b"\x00guest\x00wrong", b"x\x00y\x00z\x00", b"\xff\x00\xff\x00\xff"]
)
def test_handshake_refuses_a_login_that_is_wrong(response: bytes) -> None:
    with pytest.raises(BrokerError, match="ACCESS_REFUSED"):
        Handshake(Settings(), no_vhost).take(pika.spec.Connection.StartOk({}, "PLAIN", response, "en_US"))


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.org", "::"])
def test_settings_are_refused_when_others_could_log_in(host: str) -> None:
    with pytest.raises(ConfigError, match="can be reached"):
        Settings(host).check()
    Settings(host, password="a secret").check()


def test_settings_do_not_show_the_password() -> None:
    assert "a secret" not in repr(Settings(password="a secret"))
