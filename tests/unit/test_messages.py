"""Messages: encoding, decoding, headers, limits and schemas."""

import datetime
import json

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reworker import messages
from reworker.errors import MessageError, MessageTooLarge, UndecodableMessage

STEP = {"group": "web", "parameters": {"command": "noop", "subcommand": "Run", "hosts": ["h1"]}}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), json_values, max_size=4))
def test_decode_object_returns_what_json_dumped(value):
    assert messages.decode_object(json.dumps(value)) == value
    assert messages.decode_object(json.dumps(value, ensure_ascii=False).encode()) == value


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[1, 2]",
        b"null",
        b"12",
        b'"text"',
        b"true",
        b"\xff\xfe",
        b'{"a": NaN}',
        b'{"a": 1e400}',
        b'{"a": Infinity}',
        b'{"a": 1} {"b": 2}',
        b'{"a":' * 5000,
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
        '{"a": "\ud800"}',
        b'{"a": "\\ud800"}',
    ],
)
def test_decode_object_refuses_what_is_no_json_object(body):
    with pytest.raises(UndecodableMessage) as caught:
        messages.decode_object(body)
    assert "JSON" in caught.value.reason or "nested" in caught.value.reason


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": 1, "a": 2}',
        b'{"a": {"b": "x", "b": "y"}}',
        b'{"a": "\\u0022", "b": {"c": 1, "c": "\\""}}',
        b'{"a": [{"k": 1}, {"k": 1, "k": 1}]}',
    ],
)
def test_decode_object_refuses_a_key_that_stands_twice(body):
    with pytest.raises(UndecodableMessage, match="stands twice"):
        messages.decode_object(body)


@pytest.mark.parametrize("body", [b'{"a": "\\u0022b\\u0022"}', b'{"a": "say \\"a\\"", "b": {"a": 1}}'])
def test_decode_object_accepts_escaped_quotes_and_equal_keys_of_different_objects(body):
    assert messages.decode_object(body) == json.loads(body)


def test_decode_object_says_when_the_check_for_repeated_keys_goes_too_deep():
    depth = 985
    body = b'{"a":' * depth + b'"\\u0022"' + b"}" * depth
    with pytest.raises(UndecodableMessage, match="recursion"):
        messages.decode_object(body)


def test_decode_object_refuses_other_content_encodings():
    with pytest.raises(UndecodableMessage, match="gzip"):
        messages.decode_object(b"{}", "gzip")
    assert messages.decode_object(b"{}", "UTF-8") == {}


def test_undecodable_message_keeps_200_bytes():
    with pytest.raises(UndecodableMessage) as caught:
        messages.decode_object(b"x" * 1000)
    assert caught.value.excerpt == b"x" * 200


def test_step_of_reads_a_level_1_message_and_ignores_unknown_keys():
    step = messages.step_of({**STEP, "later": 1, "notify": {"failed": {"irc": ["#ops"]}}})
    assert step.group == "web"
    assert step.parameters["command"] == "noop"
    assert step.notify == {"failed": {"irc": ["#ops"]}}
    assert step.dynamic == {}


def test_step_of_shares_nothing_with_the_message():
    message = {**STEP, "group": "web", "dynamic": {"a": 1}, "notify": {}}
    step = messages.step_of(message)
    assert (step.group, step.dynamic, step.notify) == ("web", {"a": 1}, {})
    step.parameters["x"] = step.dynamic["y"] = 1
    assert "x" not in message["parameters"]
    assert message["dynamic"] == {"a": 1}


def test_step_of_takes_null_dynamic_and_notify_as_empty():
    step = messages.step_of({**STEP, "dynamic": None, "notify": None, "group": None})
    assert (step.dynamic, step.notify, step.group) == ({}, {}, "")


@pytest.mark.parametrize(
    "change",
    [
        {"parameters": None},
        {"parameters": [1]},
        {"dynamic": 3},
        {"dynamic": []},
        {"notify": {"failed": ["x"]}},
        {"notify": []},
        {"group": 1},
        {"group": False},
    ],
)
def test_step_of_names_the_field_that_is_wrong(change):
    with pytest.raises(UndecodableMessage, match=next(iter(change))):
        messages.step_of({**STEP, **change})


def test_step_of_refuses_missing_parameters():
    with pytest.raises(UndecodableMessage, match="parameters"):
        messages.step_of({"group": "web"})


@pytest.mark.parametrize("status", ["started", "running", "completed", "failed", "unknown", "cancelled"])
def test_decode_reply_accepts_every_status(status):
    assert messages.decode_reply(messages.encode({"status": status})).status == status


@pytest.mark.parametrize(
    ("value", "seconds"), [(5, 5.0), ("2.5", 2.5), (None, None), (-1, None), ("soon", None), ([], None)]
)
def test_decode_reply_reads_when_the_next_try_is(value, seconds):
    body = messages.encode({"status": "running", "again_in_s": value})
    assert messages.decode_reply(body).again_in_s == seconds


@pytest.mark.parametrize("status", ["Started", "", 1, None, ["completed"], "errored"])
def test_decode_reply_names_a_status_it_does_not_know(status):
    with pytest.raises(MessageError, match="status"):
        messages.decode_reply(messages.encode({"status": status}))
    with pytest.raises(MessageError, match="status None"):
        messages.decode_reply(b"{}")


def test_decode_reply_survives_numbers_that_no_float_holds():
    """JSON allows them; an error of another kind than `MessageError` would cost a core the whole batch."""
    huge = b"1" + b"0" * 400
    reply = messages.decode_reply(b'{"status": "running", "percent": %b, "again_in_s": %b}' % (huge, huge))
    assert (reply.percent, reply.again_in_s) == (100.0, None)
    assert messages.decode_reply(b'{"status": "running", "percent": -%b}' % huge).percent == 0.0


def test_decode_reply_is_lenient_about_texts_and_percent():
    reply = messages.decode_reply(b'{"status": "running", "message": 5, "reason": ["x"], "percent": 120}')
    assert (reply.message, reply.reason, reply.percent) == ("5", "['x']", 100.0)
    assert messages.decode_reply(b'{"status": "running", "percent": "half"}').percent is None
    assert messages.decode_reply(b'{"status": "running", "percent": true}').percent is None


def test_decode_reports_the_field_that_is_missing():
    with pytest.raises(UndecodableMessage, match="playbook_id"):
        messages.decode(messages.JobRequest, b'{"group": "web"}')
    assert messages.decode(messages.JobRequest, b'{"group": "web", "playbook_id": "p"}').dynamic == {}


def test_encode_omits_what_is_not_set():
    assert messages.encode(messages.Reply("completed")) == b'{"status":"completed"}'
    assert messages.encode(messages.JobAnswer(None)) == b'{"id":null}'
    assert messages.encode(messages.JobAnswer(None, "no such playbook")) == (
        b'{"id":null,"error":"no such playbook"}'
    )


@pytest.mark.parametrize("value", [object(), {"a": object()}, {1j}, "\ud800"])
def test_encode_says_what_json_cannot_carry(value):
    with pytest.raises(MessageError, match="reply cannot be sent as JSON"):
        messages.encode(value, kind="reply")


def test_encode_refuses_a_value_that_contains_itself():
    loop: list = []
    loop.append(loop)
    with pytest.raises(MessageError, match="JSON"):
        messages.encode({"data": loop})


def test_encode_carries_times_and_sets():
    at = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
    assert messages.encode({"at": at, "s": {1}}) == b'{"at":"2026-01-02T00:00:00Z","s":[1]}'


def test_encode_refuses_a_message_over_its_limit():
    with pytest.raises(MessageTooLarge, match="a step of 1048587 bytes is over the limit of 1048576"):
        messages.encode({"text": "x" * (1 << 20)}, kind="step", limit_bytes=messages.STEP_LIMIT_BYTES)
    assert messages.encode({"text": "x"}, limit_bytes=100)
    with pytest.raises(MessageTooLarge, match="a message of"):
        messages.encode({"text": "x"}, limit_bytes=3)


@pytest.mark.parametrize("text", ["short", "é" * 20_000, "x" * (64 << 10)])
def test_cut_line_keeps_a_line_within_the_limit(text):
    assert messages.cut_line(text) == text


@pytest.mark.parametrize("text", ["x" * (1 << 17), "é" * (1 << 16), "\U0001f600" * 50_000, "\ud800" * 70_000])
def test_cut_line_cuts_a_long_line_with_a_mark(text):
    cut = messages.cut_line(text)
    assert len(cut.encode()) <= messages.OUTPUT_LIMIT_BYTES
    assert cut.endswith(messages.CUT_MARK)


def test_step_headers_survive_the_wire():
    headers = messages.StepHeaders(3, True, "key", 7, 60.0, 2.5, "00-abc-def-01", 20.0, 1e9)
    assert messages.step_headers_of(messages.headers_of_step(headers)) == headers
    plain = messages.StepHeaders()
    assert messages.step_headers_of(messages.headers_of_step(plain)) == plain


@pytest.mark.parametrize("table", [None, {}, {"x-reworker": 1}, {"x-attempt": 2}])
def test_step_headers_are_none_for_level_1(table):
    assert messages.step_headers_of(table) is None


@pytest.mark.parametrize("odd", ["x", -1, 0, float("inf"), float("nan"), None, [1]])
def test_step_headers_take_odd_values_as_absent(odd):
    headers = messages.step_headers_of(
        {"x-reworker": 2, "x-deadline-s": odd, "x-attempt": "1", "x-fence": True}
    )
    assert headers == messages.StepHeaders()


def test_reply_headers_name_worker_and_number():
    table = messages.headers_of_reply(messages.ReplyHeaders("host:12:0", 2))
    assert table == {"x-reworker": 2, "x-worker": "host:12:0", "x-seq": 2}


def test_schemas_are_draft_07_and_accept_our_messages():
    schemas = messages.schemas()
    job = messages.RunningJob("a.1", "h:1:0", 1.5)
    pong = messages.Pong("w", "worker.w", "h", 1, "quiet", "1", [job])
    samples = {
        "Step": STEP,
        "Reply": {"status": "completed", "data": {"a": 1}},
        "OutputLine": {"message": "hello"},
        "Notification": {"slug": "s", "message": "m", "phase": "failed", "target": ["#ops"]},
        "JobRequest": {"group": "web", "playbook_id": "5" * 24},
        "JobAnswer": {"id": None, "error": "no"},
        "Control": {"attempt": "a.1", "reason": "r"},
        "WorkerOrder": {"reason": "r"},
        "Pong": json.loads(messages.encode(pong)),
    }
    assert samples.keys() == schemas.keys()
    for name, schema in schemas.items():
        jsonschema.Draft7Validator.check_schema(schema)
        jsonschema.Draft7Validator(schema).validate(samples[name])
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.Draft7Validator(schema).validate({})
