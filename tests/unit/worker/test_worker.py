"""The public class at a station: what ack, send and notify do there, and what comes too late."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from reworker import worker as workers
from reworker.bus.contract import Verdict
from reworker.bus.memory import MemoryBroker, MemoryBus
from reworker.config import MqSettings
from reworker.errors import ConfigError
from reworker.jobs.settings import PROPERTIES, worker_settings
from reworker.jobs.sources import layers_of
from reworker.pool.pool import WorkerPool
from reworker.testing import Harness, deliver
from reworker.testing.harness import CORRELATION_ID
from reworker.worker import Worker


class ChannelWorker(Worker):
    """Talks to the channel instead of to itself, and keeps state on itself like plugins do."""

    def process(self, channel: Any, basic_deliver: Any, properties: Any, body: Any, output: Any) -> None:
        self._channel = channel
        action = body["parameters"]["action"]
        if action == "publish":
            channel.basic_ack(basic_deliver.delivery_tag)
            reply = json.dumps({"status": "completed"})
            channel.basic_publish(
                exchange="", routing_key=properties.reply_to, body=reply, properties=properties
            )
        elif action == "nack":
            channel.basic_nack(basic_deliver.delivery_tag, requeue=False)
        else:
            channel.basic_reject(basic_deliver.delivery_tag, requeue=False)


@pytest.mark.parametrize(
    ("action", "statuses", "settled"),
    [
        ("publish", ["completed"], "ack"),
        ("nack", ["failed"], "dead letter"),
        ("reject", ["failed"], "dead letter"),
    ],
)
def test_channel_does_what_plugins_expect_when_they_use_it(
    action: str, statuses: list[str], settled: str
) -> None:
    harness = Harness(ChannelWorker)
    transcript = harness.run(harness.delivery({"parameters": {"action": action}}))
    assert (transcript.statuses, transcript.settled) == (statuses, settled)


class NotifyingWorker(Worker):
    def process(self, channel: Any, basic_deliver: Any, properties: Any, body: Any, output: Any) -> None:
        self.notify("slug", "text", "started", str(properties.correlation_id))
        self.notify("slug", "text", "started", str(properties.correlation_id), target="#b", exchange="other")
        self.send(properties.reply_to, str(properties.correlation_id), {"status": "completed"}, exchange="")


def test_notification_goes_to_the_exchange_given_when_sent() -> None:
    message = {"notify": {"started": {"irc": ["#a"]}}}
    transcript = deliver(NotifyingWorker, "notifying:Do", message=message)
    sent = [(one.exchange, one.routing_key) for one in transcript.sent if one.routing_key == "notify.irc"]
    assert sent == [("re", "notify.irc"), ("other", "notify.irc")]
    assert [one["target"] for one in transcript.notifications] == [["#a"], ["#b"]]


def test_absent_correlation_id_stays_absent_when_a_plugin_makes_text_of_it() -> None:
    harness = Harness(NotifyingWorker)
    transcript = harness.run(harness.delivery({"parameters": {}}, correlation_id=None))
    assert transcript.statuses == ["completed"]
    assert {one.properties.correlation_id for one in transcript.sent} == {None}


def test_ack_is_only_a_warning_when_its_job_has_ended(caplog: pytest.LogCaptureFixture) -> None:
    harness = Harness(NotifyingWorker)
    delivery = harness.delivery({"parameters": {}})
    harness.run(delivery)
    harness.worker.ack(delivery)
    assert "came after its job had ended" in caplog.text
    assert delivery.verdict is Verdict.ACK


@pytest.mark.parametrize("corr_id", [None, "other"])
def test_message_is_published_when_its_job_has_ended(
    corr_id: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    harness = Harness(NotifyingWorker)
    harness.worker.send("re.replies", corr_id, {"status": "completed"}, exchange="")
    assert harness.bus.sent[-1].properties.correlation_id == corr_id
    assert "outside of its job" in caplog.text


def test_reply_without_status_passes_when_a_plugin_sends_one() -> None:
    class Odd(Worker):
        def process(self, channel: Any, basic_deliver: Any, properties: Any, body: Any, output: Any) -> None:
            for struct in ({"status": 1}, {"note": "x"}, ["list"], {"status": "completed"}):
                self.send(properties.reply_to, properties.correlation_id, struct, exchange="")

    harness = Harness(Odd)
    transcript = harness.run(harness.delivery({"parameters": {}}))
    assert [json.loads(one.body) for one in transcript.sent if one.routing_key == "re.replies"] == [
        {"status": 1},
        {"note": "x"},
        ["list"],
        {"status": "completed"},
    ]


def test_output_worker_may_send_to_log_when_it_thinks_it_should() -> None:
    class Logging(Worker):
        def process(self, channel: Any, basic_deliver: Any, properties: Any, body: Any, output: Any) -> None:
            self.send("log", properties.correlation_id, {"status": "completed"}, exchange="")
            self.send(None, properties.correlation_id, "text", exchange="")

    harness = Harness(Logging, OUTPUT_LEVEL="INFO")
    transcript = harness.run(harness.delivery({"parameters": {}}, reply_to="log"))
    assert (transcript.sent, transcript.settled) == ([], "ack")


def test_bus_settings_may_be_given_as_such_when_built() -> None:
    assert Worker(MqSettings())._mq_settings() == MqSettings()
    assert Worker({"server": "a"})._mq_settings().servers == ("a",)


def test_run_forever_returns_at_once_when_stop_was_called_before() -> None:
    worker = Worker({"server": "memory"}, queue="worker.early")
    worker.stop()
    worker._pool = WorkerPool(MemoryBus(MemoryBroker(), name="worker"), [worker])
    runner = threading.Thread(target=worker.run_forever, daemon=True)
    runner.start()
    runner.join(5)
    assert not runner.is_alive()


class FakePool:
    def __init__(self, exit_code: int) -> None:
        self.exit_code, self.run_count = exit_code, 0

    def run(self) -> None:
        self.run_count += 1


def test_run_forever_uses_the_pool_that_is_there_when_called() -> None:
    worker, pool = Worker({"server": "a"}), FakePool(0)
    worker._pool = pool  # type: ignore[assignment]  # only its run is called
    worker.run_forever()
    assert pool.run_count == 1


def test_run_forever_ends_the_process_when_the_pool_wants_to_be_replaced() -> None:
    worker = Worker({"server": "a"})
    worker._pool = FakePool(75)  # type: ignore[assignment]  # only its run is called
    with pytest.raises(SystemExit) as end:
        worker.run_forever()
    assert end.value.code == 75


def test_public_names_are_there_when_plugins_import_them() -> None:
    names = {"Job", "Output", "Worker", "escaped", "runner", "step"}
    assert names <= set(workers.__all__)
    assert [name for name in workers.__all__ if not hasattr(workers, name)] == []


# settings


def settings(environ: dict[str, str] | None = None, file: Any = None, **constructor: Any) -> Any:
    layers = layers_of("MegafrobberWorker", constructor, ("worker.yaml", file or {}), environ or {})
    return worker_settings("MegafrobberWorker", layers)


def test_queue_and_keys_follow_the_class_when_nothing_is_set() -> None:
    made = settings()
    assert (made.queue, made.suffix) == ("worker.megafrobberworker", "megafrobberworker")
    assert made.routing_keys == ("worker.megafrobberworker", "worker.megafrobber")
    assert [one.queue for one in made.topology().bindings] == ["re.dead", made.queue, made.queue]


def test_domain_separates_queue_and_keys_when_set() -> None:
    made = settings(domain="eu", queue="frob")
    assert (made.queue, made.routing_keys) == ("worker.eu.frob", ("worker.eu.frob",))


@pytest.mark.parametrize(
    ("environ", "instances"),
    [
        ({}, 2),
        ({"conductor_worker_instances": "3"}, 3),
        ({"conductor_worker_instances": "3", "REWORKER_INSTANCES": "4"}, 4),
        ({"REWORKER_INSTANCES": "4", "conductor_worker_megafrobber_instances": "5"}, 5),
        ({"conductor_worker_megafrobber_instances": "5", "REWORKER_MEGAFROBBER_INSTANCES": "6"}, 6),
    ],
)
def test_environment_wins_over_file_over_constructor_when_set(
    environ: dict[str, str], instances: int
) -> None:
    assert settings(environ, {"instances": 2}, instances=1).instances == instances


@pytest.mark.parametrize(
    ("environ", "text"),
    [
        ({"REWORKER_INSTANCES": "many"}, "REWORKER_INSTANCES: instances: expected a whole number"),
        ({"REWORKER_ACK": "soon"}, "REWORKER_ACK: ack: expected one of late, early"),
        ({"REWORKER_DRAIN_S": "-1"}, "REWORKER_DRAIN_S: drain_s: expected a number above 0"),
        ({"REWORKER_OUTPUT_LEVEL": "loud"}, "REWORKER_OUTPUT_LEVEL: OUTPUT_LEVEL: expected one of DEBUG"),
    ],
)
def test_variable_is_named_when_its_value_is_wrong(environ: dict[str, str], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        settings(environ)


@pytest.mark.parametrize(
    ("value", "expected"), [("a, b c", ("a", "b", "c")), (["x"], ("x",)), (("y",), ("y",))]
)
def test_routing_keys_are_a_list_or_words_when_set(value: Any, expected: tuple[str, ...]) -> None:
    assert settings(routing_keys=value).routing_keys == expected


@pytest.mark.parametrize("value", [3, ["", "a"], [1], None])
def test_routing_keys_are_refused_when_no_list_of_texts(value: Any) -> None:
    with pytest.raises(ConfigError, match="constructor: routing_keys"):
        settings(routing_keys=value)


def test_every_property_has_an_upper_case_variable_when_documented() -> None:
    assert len({name.upper() for name in PROPERTIES}) == len(PROPERTIES)


def test_transcript_names_the_final_reply_when_there_is_one() -> None:
    transcript = deliver(NotifyingWorker, "notifying:Do")
    assert (transcript.final, transcript.data, transcript.message) == ({"status": "completed"}, None, None)
    assert CORRELATION_ID.endswith(".1")
