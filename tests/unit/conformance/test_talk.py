"""What was said about one step, and the report that comes of it."""

from __future__ import annotations

import json

import pytest

from reworker.conformance.orders import Letter, Orders, cancel_message, largest_body, step_body
from reworker.conformance.report import Finding, Report, Support
from reworker.conformance.talk import Heard, Talk
from reworker.messages import STEP_LIMIT_BYTES, StepHeaders

ORDERS = Orders("worker.frob", "frob", {"subcommand": "add", "a": 1})
ADDRESS = {"id": "x.1", "reply_to": "q"}


def talk_of(*replies):
    """Return a talk in which these came: a status, or a status and a message id."""
    talk = Talk("x.1", 10.0)
    for number, one in enumerate(replies):
        status, message_id = one if isinstance(one, tuple) else (one, None)
        value = None if status is None else {"status": status, "message": f"{status}  it is"}
        talk.heard.append(Heard(value, "x.1", message_id, None, {}, 11.0 + number))
    return talk


@pytest.mark.parametrize(
    ("replies", "finals", "summary"),
    [
        ((), [], "nothing came"),
        (("running",), [], "heartbeats only, and nothing more"),
        (("started",), [], "started, and nothing more"),
        (("started", "running", "completed"), ["completed"], "started, completed in 3.0 s"),
        (("failed",), ["failed"], "failed in 1.0 s: failed it is"),
        (("completed", "failed"), ["completed", "failed"], "completed, failed in 1.0 s"),
        ((("completed", "m"), ("completed", "m")), ["completed"], "completed, completed in 2.0 s"),
        ((("completed", "m"), ("completed", "n")), ["completed"] * 2, "completed, completed in 1.0 s"),
        ((None, "Started"), [], "no JSON object, Started, and nothing more"),
    ],
)
def test_talk_says_what_came(replies, finals, summary):
    talk = talk_of(*replies)
    assert [one.status for one in talk.finals] == finals
    assert talk.summary() == summary
    assert talk.end == (finals[0] if finals else "")


def finding(check, support, *, is_required=True, level=1):
    return Finding(check, level, is_required, support, "seen")


def test_report_is_of_a_worker_when_nothing_required_is_missing():
    done = finding("completed", Support.SUPPORTED)
    optional = finding("cancel", Support.MISSING, is_required=False, level=2)
    report = Report("q", [done, optional, finding("failed", Support.UNTRIED)])
    assert report.is_worker
    assert report.missing == []
    assert (report.counts(1), report.counts(2)) == ((1, 0, 1), (0, 1, 0))


def test_report_is_of_no_worker_when_something_required_is_missing_or_nothing_was_seen():
    done = finding("completed", Support.SUPPORTED)
    assert Report("q", [done, finding("order", Support.MISSING)]).missing == ["order"]
    assert not Report("q", [done, finding("order", Support.MISSING)]).is_worker
    assert not Report("q", [finding("completed", Support.UNTRIED)]).is_worker


def test_step_is_as_large_as_the_protocol_allows():
    assert len(largest_body(ORDERS, ADDRESS)) == STEP_LIMIT_BYTES
    assert len(largest_body(ORDERS, {})) == STEP_LIMIT_BYTES


def test_step_says_in_its_body_where_to_answer():
    body = json.loads(step_body(ORDERS, ORDERS.good, ADDRESS))
    assert body["attempt"] == ADDRESS
    assert body["parameters"] == {"command": "frob", "hosts": ["localhost"], "subcommand": "add", "a": 1}
    assert "attempt" not in json.loads(step_body(ORDERS, ORDERS.unknown, {}))


@pytest.mark.parametrize(("headers", "has_id"), [(None, False), (StepHeaders(), True)])
def test_message_has_headers_at_level_2_alone(headers, has_id):
    letter = Letter(own_id="x.1", reply_to="q", headers=headers, at_s=5.0, routing_key="worker.frob")
    properties = letter.carry(b"{}").properties
    assert (properties.correlation_id, properties.reply_to) == ("x.1", "q")
    assert (properties.message_id == "x.1", bool(properties.headers)) == (has_id, has_id)


def test_cancel_message_names_the_attempt():
    message = cancel_message(ORDERS, "x.1")
    assert (message.exchange, message.routing_key) == ("re.control", "cancel.frob")
    assert json.loads(message.body)["attempt"] == "x.1"
