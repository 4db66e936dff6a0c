"""`deliver()`: one message to a worker, in memory and on this thread, and everything it answered."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reworker.bus import frames
from reworker.bus.contract import (
    PUBLISH_DEADLINE_S,
    DeclareMode,
    Outcome,
    Outgoing,
    Properties,
    Published,
    TopologySpec,
    Verdict,
)
from reworker.bus.received import PropertiesView
from reworker.clock import Clock, SystemClock
from reworker.errors import AlreadySettled, JobError
from reworker.execution import execute
from reworker.ids import attempt_id
from reworker.jobs.attempt import Attempt
from reworker.jobs.station import Station
from reworker.messages import FINAL_STATUSES, StepHeaders, encode, headers_of_step
from reworker.output import Output
from reworker.topology.names import DEAD_EXCHANGE, NOTIFY_PREFIX, OUTPUT_KEY, REPLY_QUEUE, step_key
from reworker.topology.refusal import REASON_HEADER
from reworker.worker import Worker

#: correlation id of what is delivered unless the test gives another.
CORRELATION_ID = attempt_id("0123456789abcdef01234567", 1)


@dataclass
class Transcript:
    """What a worker made of one message.

    Args:
        replies: bodies of its replies, in order.
        output: its lines of output.
        notifications: bodies of its notifications, with the routing key under ``key``.
        sent: all messages, as they went to the bus.
        settled: how the delivery was settled: ``ack``, ``requeue``, ``dead letter``, or None.
        refused: why it went to the dead letters; empty when it did not, or when the broker moved it.
        error: what the worker's code raised, other than a `JobError`.
    """

    replies: list[dict[str, Any]] = field(default_factory=list)
    output: list[str] = field(default_factory=list)
    notifications: list[dict[str, Any]] = field(default_factory=list)
    sent: list[Outgoing] = field(default_factory=list)
    settled: str | None = None
    refused: str = ""
    error: BaseException | None = None

    @property
    def statuses(self) -> list[Any]:
        """Statuses of the replies, in order; None for a reply that is no object."""
        return [reply.get("status") if isinstance(reply, dict) else None for reply in self.replies]

    @property
    def final(self) -> dict[str, Any] | None:
        """The final reply, if there was one."""
        pairs = zip(self.statuses, self.replies, strict=True)
        return next((reply for status, reply in pairs if status in FINAL_STATUSES), None)

    @property
    def data(self) -> Any:
        """`data` of the final reply."""
        return (self.final or {}).get("data")

    @property
    def message(self) -> Any:
        """`message` of the final reply."""
        return (self.final or {}).get("message")


class RecordingBus:
    """Takes every message and answers at once; queues named in `gone` do not exist.

    Args:
        outcome: how publishes end; for what happens when the broker does not take them.
    """

    def __init__(self, outcome: Outcome = Outcome.CONFIRMED) -> None:
        self.sent: list[Outgoing] = []
        self.declared: list[TopologySpec] = []
        self.gone: set[str] = set()
        self.outcome = outcome
        self._held: list[Callable[[], None]] | None = None

    def publish(
        self,
        message: Outgoing,
        on_done: Callable[[Published], None] | None = None,
        *,
        deadline_s: float = PUBLISH_DEADLINE_S,
    ) -> None:
        """See `bus.contract.Bus.publish`; what AMQP cannot carry is refused here too."""
        frames.publish_frame(1, message.exchange, message.routing_key)
        frames.header_frame(1, len(message.body), message.properties)
        self.sent.append(message)
        if on_done is None:
            return
        is_gone = message.exchange == "" and message.routing_key in self.gone
        result = Published(Outcome.RETURNED if is_gone else self.outcome)
        if self._held is None:
            on_done(result)
        else:
            self._held.append(lambda: on_done(result))

    def declare(self, topology: TopologySpec, mode: DeclareMode = DeclareMode.DECLARE) -> None:
        """See `bus.contract.Bus.declare`."""
        self.declared.append(topology)

    def hold_confirms(self) -> None:
        """From here on, keep confirms back."""
        self._held = []

    def release_confirms(self) -> None:
        """Give the confirms that were kept back."""
        held, self._held = self._held or [], None
        for confirm in held:
            confirm()


@dataclass
class FakeDelivery:
    """One message as delivered; see `bus.contract.Delivery`."""

    body: bytes
    properties: PropertiesView
    routing_key: str
    exchange: str = "re"
    redelivered: bool = False
    consumer_tag: str = "test"
    delivery_tag: int = 1
    queue: str = "worker.test"
    verdict: Verdict | None = None
    is_live: bool = True

    def settle(self, verdict: Verdict) -> None:
        """Note the verdict, once."""
        if self.verdict is not None:
            raise AlreadySettled(f"delivery {self.delivery_tag} was settled twice")
        self.verdict = verdict


class Harness:
    """A worker object at a station without a broker; several messages may be delivered one after the other.

    Args:
        worker_cls: the class under test.
        config: content of the worker's configuration file.
        clock: for durations.
        properties: of the worker, as its constructor takes them.
    """

    def __init__(
        self,
        worker_cls: type[Worker],
        config: Mapping[str, Any] | None = None,
        *,
        clock: Clock | None = None,
        **properties: Any,
    ) -> None:
        self.worker = _built(worker_cls, config, properties)
        self.bus = RecordingBus()
        self.station = Station(
            bus=self.bus,
            app_id=worker_cls.__name__.lower(),
            worker_id="test:1:0",
            logger=self.worker.app_logger,
            settings=self.worker._settings,
            clock=clock or SystemClock(),
        )
        self.worker._join(self.station)
        self._tags = 0

    def delivery(
        self,
        body: bytes | Mapping[str, Any],
        *,
        routing_key: str = "",
        redelivered: bool = False,
        **properties: Any,
    ) -> FakeDelivery:
        """Return a delivery that `run` takes.

        Args:
            body: a message, or raw bytes.
            routing_key: default is the worker's own.
            redelivered: whether the broker says so.
            properties: AMQP properties; by default ``correlation_id`` and ``reply_to`` are set.
        """
        self._tags += 1
        settings = self.station.settings
        # a worker of many queues has one of this name
        key = routing_key or settings.queues_key.replace("#", "example") or settings.routing_keys[0]
        given = {"correlation_id": CORRELATION_ID, "reply_to": REPLY_QUEUE, **properties}
        return FakeDelivery(
            body=body if isinstance(body, bytes) else encode(dict(body)),
            properties=Properties(**given),
            routing_key=key,
            redelivered=redelivered,
            delivery_tag=self._tags,
            queue=key if settings.queues_key else settings.queue,
        )

    def delivery_of(self, sent: Outgoing, *, redelivered: bool = False) -> FakeDelivery:
        """Return a message that the worker sent to its own queue, as it is delivered from there."""
        self._tags += 1
        return FakeDelivery(
            body=sent.body,
            properties=sent.properties,
            routing_key=sent.routing_key,
            exchange=sent.exchange,
            redelivered=redelivered,
            delivery_tag=self._tags,
            queue=self.station.settings.queue,
        )

    def run(self, delivery: FakeDelivery) -> Transcript:
        """Execute a delivery; return what this one brought forth."""
        begin = len(self.bus.sent)
        errors: list[BaseException] = []
        execute(_Observed(self.worker, errors).worker, self.station, delivery)
        transcript = transcript_of(self.bus.sent[begin:], delivery)
        transcript.error = errors[0] if errors else None
        return transcript


class _Observed:
    """Notes what the worker's code raises, on its way to `execution`."""

    def __init__(self, worker: Worker, errors: list[BaseException]) -> None:
        self.worker, self._errors = worker, errors
        self._perform = type(worker)._perform_attempt
        worker._perform_attempt = self._observe  # type: ignore[method-assign]  # the harness looks in here

    def _observe(self, attempt: Attempt, output: Output) -> None:
        try:
            self._perform(self.worker, attempt, output)
        except BaseException as error:
            self._errors.append(error)
            raise


def deliver(
    worker_cls: type[Worker],
    step: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    hosts: Sequence[str] = ("localhost",),
    config: Mapping[str, Any] | None = None,
    message: Mapping[str, Any] | None = None,
    reraise: bool = True,
) -> Transcript:
    """Have a worker perform one step, in memory, and return everything it did.

    Args:
        worker_cls: the class under test.
        step: ``command:Subcommand``, as in a playbook.
        parameters: of the step.
        hosts: to work on.
        config: content of the worker's configuration file.
        message: further keys of the message: ``{"dynamic": {...}, "notify": {...}, "group": str}``.
        reraise: raise what the worker's code raised, other than a `JobError`; False only notes it.

    Raises:
        BaseException: see `reraise`.
    """
    command, _, subcommand = step.partition(":")
    own = {"command": command, "subcommand": subcommand, "hosts": list(hosts)}
    body = {"group": "test", "dynamic": {}, "notify": {}, **(message or {})}
    body["parameters"] = {**(parameters or {}), **own}
    harness = Harness(worker_cls, config)
    headers = headers_of_step(StepHeaders())
    delivery = harness.delivery(body, routing_key=step_key(command), headers=headers)
    transcript = harness.run(delivery)
    if reraise and transcript.error is not None and not isinstance(transcript.error, JobError):
        raise transcript.error
    return transcript


def transcript_of(sent: Sequence[Outgoing], delivery: FakeDelivery) -> Transcript:
    """Return messages sorted by what they are."""
    transcript = Transcript(settled=delivery.verdict.value if delivery.verdict else None)
    for one in sent:
        if one.exchange == DEAD_EXCHANGE:  # a copy with the reason, and the message itself acknowledged
            transcript.settled = Verdict.DEAD_LETTER.value
            transcript.refused = str((one.properties.headers or {})[REASON_HEADER])
            continue
        transcript.sent.append(one)
        body = json.loads(one.body)
        if one.exchange == "" and one.routing_key == delivery.properties.reply_to:
            transcript.replies.append(body)
        elif one.routing_key == OUTPUT_KEY:
            transcript.output.append(body["message"])
        elif one.routing_key.startswith(NOTIFY_PREFIX):
            transcript.notifications.append({"key": one.routing_key, **body})
    return transcript


def _built(
    worker_cls: type[Worker], config: Mapping[str, Any] | None, properties: Mapping[str, Any]
) -> Worker:
    if config is None:
        return worker_cls({"server": "localhost"}, **properties)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "worker.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(dict(config), file)
        return worker_cls({"server": "localhost"}, config_file=path, **properties)
