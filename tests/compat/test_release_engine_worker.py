"""The library as the plugins of the 2014 Release Engine and their test-suites use it.

Facts, not code: every name, call shape and count here is one that those suites rely on.
"""

from __future__ import annotations

import inspect
import json
import logging
import sys
import warnings
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pika
import pytest

import reworker.worker
from reworker import output, utils
from reworker.worker import Worker

MQ = {"server": "127.0.0.1", "port": 5672, "vhost": "/", "user": "guest", "password": "secret"}
STEP = {"group": "g", "parameters": {}, "dynamic": {}, "notify": {"started": {"irc": ["#a"]}}}


class TalkingWorker(Worker):
    dynamic = ("cart", "environment")

    def process(self, channel: Any, basic_deliver: Any, properties: Any, body: Any, output: Any) -> None:
        self.ack(basic_deliver)
        output.info("working")
        self.notify("slug", "text", "started", "c1")


class NeedyWorker(TalkingWorker):
    def process(self, channel: Any, basic_deliver: Any, properties: Any, body: Any, output: Any) -> None:
        output.info(body["dynamic"]["cart"])


@pytest.fixture(autouse=True)
def connection() -> Iterator[mock.MagicMock]:
    with mock.patch("pika.SelectConnection") as patched:
        yield patched


def opened(kind: type[Worker] = TalkingWorker, **arguments: Any) -> Worker:
    """Build and open a worker the way the suites do: with mocks that have almost no attributes."""
    worker = kind(MQ, logger=mock.MagicMock(logging.getLogger("x")), **arguments)
    worker._on_open(mock.MagicMock("pika.SelectConnection"))
    channel = mock.MagicMock("pika.channel.Channel")
    for name in ("basic_consume", "basic_ack", "basic_publish", "basic_reject"):
        setattr(channel, name, mock.MagicMock(name=name))
    worker._on_channel_open(channel)
    return worker


def message(**more: Any) -> dict[str, Any]:
    properties = mock.MagicMock(pika.spec.BasicProperties, correlation_id=1, reply_to="amq.gen-x")
    return {
        "channel": mock.MagicMock(),
        "basic_deliver": mock.MagicMock(delivery_tag=7),
        "properties": properties,
        "body": json.dumps({**STEP, **more}),
    }


def test_connection_class_is_called_once_and_nothing_else_when_built(connection: mock.MagicMock) -> None:
    worker = Worker(MQ)
    assert connection.call_count == 1
    assert (worker._queue, worker._consumer_tag, worker._config) == ("worker.worker", None, {})
    assert worker._connection is connection.return_value
    assert worker._closing is False


def test_channel_is_asked_of_our_connection_when_opened(connection: mock.MagicMock) -> None:
    worker = opened()
    connection.return_value.channel.assert_called_once()
    assert worker._channel is not None
    assert worker._consumer_tag is worker._channel.basic_consume.return_value


def test_queue_is_named_by_class_or_configuration_when_built(tmp_path: Any) -> None:
    assert TalkingWorker(MQ)._queue == "worker.talkingworker"
    path = tmp_path / "worker.json"
    path.write_text('{\n\t"queue": "talk",\n\t"a": "test"\n}', encoding="utf-8")
    worker = TalkingWorker(MQ, config_file=str(path))
    assert (worker._queue, worker._config["a"]) == ("worker.talk", "test")
    worker._config["b"] = 1


def test_unknown_argument_is_one_warning_when_given() -> None:
    worker = opened(output_dir="/tmp/logs", other=1)
    assert worker.app_logger.warn.call_count == 1  # type: ignore[attr-defined]  # it is a mock here


@pytest.mark.parametrize("name", ["debug", "info", "warn", "warning", "error", "fatal"])
def test_app_logger_has_the_method_when_plugins_call_it(name: str, caplog: pytest.LogCaptureFixture) -> None:
    with warnings.catch_warnings(record=True) as warned, caplog.at_level(logging.DEBUG):
        getattr(Worker(MQ).app_logger, name)("text")
    assert [record.message for record in caplog.records] == ["text"]
    assert warned == []


def test_base_process_is_not_implemented_when_called() -> None:
    with pytest.raises(NotImplementedError):
        opened(Worker).process(output=mock.MagicMock(), **message())
    with pytest.raises(NotImplementedError):
        opened(Worker)._process(**message())


def test_process_publishes_start_output_notification_and_end_when_driven() -> None:
    worker = opened()
    assert worker._process(**message()) is None  # type: ignore[func-returns-value]  # it is the point
    assert worker._channel.basic_publish.call_count == 4
    worker._channel.basic_ack.assert_called_once_with(7)
    last_info = worker.app_logger.info.call_args[0][0]  # type: ignore[attr-defined]  # it is a mock here
    assert last_info.startswith("Sent notification to")
    calls = [call[1] for call in worker._channel.basic_publish.call_args_list]
    assert [(one["exchange"], one["routing_key"]) for one in calls] == [
        ("re", "output"),
        ("re", "output"),
        ("re", "notify.irc"),
        ("re", "output"),
    ]


def test_missing_key_is_answered_with_the_old_text_when_driven() -> None:
    worker = opened(NeedyWorker)
    worker._process(**message())
    assert worker._channel.basic_publish.call_count == 4
    reply = worker._channel.basic_publish.call_args_list[2][1]
    assert (reply["exchange"], reply["routing_key"]) == ("", "amq.gen-x")
    text = "NeedyWorker failed due to missing key: 'cart'. Required Keys: cart,environment"
    assert json.loads(reply["body"]) == {"status": "failed", "data": text}


def test_reply_shape_is_asserted_when_send_is_patched() -> None:
    with mock.patch.object(NeedyWorker, "send") as send, mock.patch("reworker.worker.Output"):
        opened(NeedyWorker)._process(**message())
    assert send.call_args[0][:2] == ("amq.gen-x", "1")
    assert send.call_args[0][2]["status"] == "failed"
    assert send.call_args[1] == {"exchange": ""}


def test_publish_has_the_old_keywords_when_sent() -> None:
    worker = opened()
    worker.send("topic", "c1", {"test": "item"}, "re")
    keywords = worker._channel.basic_publish.call_args[1]
    assert set(keywords) == {"exchange", "routing_key", "body", "properties"}
    assert keywords["body"] == json.dumps({"test": "item"})
    assert (keywords["properties"].app_id, keywords["properties"].correlation_id) == ("talkingworker", "c1")
    assert keywords["properties"].reply_to == "log"


def test_properties_can_be_a_mock_when_pika_is_replaced() -> None:
    with mock.patch.object(reworker.worker, "pika", mock.MagicMock(pika)) as patched:
        worker = opened()
        worker.send("topic", "c1", {})
    properties = worker._channel.basic_publish.call_args[1]["properties"]
    assert properties is patched.spec.BasicProperties.return_value
    assert properties.app_id == "talkingworker"


def test_delivery_is_rejected_on_the_channel_when_driven() -> None:
    worker = opened()
    worker.reject(mock.MagicMock(delivery_tag=3))
    worker.reject(mock.MagicMock(delivery_tag=4), requeue=True)
    assert worker._channel.basic_reject.call_args_list == [
        mock.call(3, requeue=False),
        mock.call(4, requeue=True),
    ]


def test_channel_may_be_assigned_when_a_plugin_does() -> None:
    worker = opened()
    other = mock.MagicMock()
    worker._channel = other
    worker.ack(mock.MagicMock(delivery_tag=5))
    other.basic_ack.assert_called_once_with(5)


def test_send_says_what_to_do_when_the_worker_does_not_run() -> None:
    with pytest.raises(reworker.errors.ConnectionLost, match="run_forever"):  # type: ignore[attr-defined]  # a submodule of ours
        Worker(MQ).send("a", "b", {})


def test_run_forever_starts_the_loop_and_returns_when_driven() -> None:
    worker = opened()
    worker.run_forever()
    worker._connection.ioloop.start.assert_called_once_with()


def test_closed_connection_stops_the_loop_when_it_was_not_meant() -> None:
    worker = opened()
    worker._on_close(mock.MagicMock("connection"), 1, "text")
    assert worker._connection.ioloop.stop.called
    assert not worker._connection.close.called


def test_closed_connection_exits_when_it_was_meant() -> None:
    worker = opened()
    worker._closing = True
    with pytest.raises(SystemExit):
        worker._on_close(mock.MagicMock("connection"), 1, "text")
    assert worker._connection.close.called


TLS_TEXT = "?ssl=t&ssl_options={ssl_version=ssl.PROTOCOL_TLSv1}"


@pytest.mark.parametrize(
    ("changes", "port", "end"),
    [
        ({}, 5672, "?ssl=f"),
        ({"port": 15672}, 15672, "?ssl=f"),
        ({"port": None}, 5672, "?ssl=f"),
        ({"ssl": False}, 5672, "?ssl=f"),
        ({"port": None, "ssl": True}, 5671, TLS_TEXT),
        ({"port": 15672, "ssl": True}, 15672, TLS_TEXT),
    ],
)
def test_connection_text_is_that_of_2014_when_asked(changes: dict[str, Any], port: int, end: str) -> None:
    parameters, text = Worker(MQ)._parse_connect_params({**MQ, **changes})
    assert text == f"Connection params set as amqp://guest:***@127.0.0.1:{port}/{end}"
    assert parameters.port == port


def test_globals_are_there_when_suites_patch_them() -> None:
    for name in ("pika", "logging", "Output", "runner"):
        assert hasattr(reworker.worker, name)
    with mock.patch("reworker.worker.logging"), mock.patch("reworker.worker.pika"):
        Worker(MQ)


@pytest.mark.parametrize(
    ("method", "names"),
    [
        ("process", ["channel", "basic_deliver", "properties", "body", "output"]),
        ("ack", ["basic_deliver"]),
        ("reject", ["basic_deliver", "requeue"]),
        ("send", ["topic", "corr_id", "struct", "exchange", "reply_to"]),
        ("notify", ["slug", "message", "phase", "corr_id", "target", "exchange"]),
    ],
)
def test_signature_is_that_of_2014_when_called_by_keyword(method: str, names: list[str]) -> None:
    assert list(inspect.signature(getattr(Worker, method)).parameters)[1:] == names


def test_runner_builds_and_runs_the_class_once_when_called(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    path = tmp_path / "mq.json"
    path.write_text(json.dumps(MQ), encoding="utf-8")
    for arguments, config_file in (([], None), (["-w", str(path)], str(path))):
        kind = mock.Mock(Worker)
        monkeypatch.setattr(sys, "argv", ["", str(path), *arguments])
        reworker.worker.runner(kind)
        kind.assert_called_once_with(MQ, config_file=config_file)
        assert kind.return_value.run_forever.call_count == 1
    root.handlers[:] = handlers
    root.setLevel(level)


def test_output_has_the_old_attributes_when_built() -> None:
    send = mock.MagicMock()
    made = output.Output(send, 5)
    assert (made._level, made.corr_id, made.send) == (logging.INFO, 5, send)
    made.log("INFO", "text")
    send.assert_called_once_with("output", 5, {"message": "text"})
    assert output.Output(send, 5, "asdasd")._level == logging.INFO


def test_plugin_can_chain_run_forever_and_fork_when_it_overrides() -> None:
    import threading

    before = threading.active_count()
    worker = opened()
    assert threading.active_count() == before
    Worker.run_forever(worker)


def test_step_becomes_a_notification_when_converted() -> None:
    body = {"parameters": {"slug": "s", "message": "m", "phase": "p", "target": ["t"]}}
    assert utils.step_to_notification_format(body) == body["parameters"]
