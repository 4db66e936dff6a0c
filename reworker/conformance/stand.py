"""Where a worker is tried: its queue, what it is asked to do, and how long it may take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from reworker.bus.contract import Outcome, Outgoing, Published
from reworker.bus.inspection import QueueCounts, queue_counts
from reworker.bus.interception import publish_redelivered
from reworker.clock import Clock
from reworker.config import MqSettings
from reworker.conformance.desk import Desk
from reworker.conformance.orders import Letter, Orders, step_body
from reworker.conformance.report import Support
from reworker.conformance.talk import Talk
from reworker.messages import StepHeaders
from reworker.topology import names

#: seconds between two looks at a queue.
LOOK_S = 0.2
#: tries to be faster than the worker at its own queue.
INTERCEPTION_COUNT = 5
_NO_COUNTS = QueueCounts()


class Answer(NamedTuple):
    """What one check found; see `Finding`."""

    support: Support
    seen: str
    advice: str = ""


def supported(seen: str, advice: str = "") -> Answer:
    """Return that a worker does it."""
    return Answer(Support.SUPPORTED, seen, advice)


def missing(seen: str, advice: str) -> Answer:
    """Return that it does not."""
    return Answer(Support.MISSING, seen, advice)


def untried(why: str) -> Answer:
    """Return that nobody knows."""
    return Answer(Support.UNTRIED, why)


class Stand:
    """What all checks use.

    Threads: for one. It owns nothing.

    Args:
        desk: open.
        orders: what to ask for.
        settings: of the broker.
        timeout_s: seconds that a worker may take for anything that it does at once.
    """

    def __init__(self, desk: Desk, orders: Orders, settings: MqSettings, timeout_s: float) -> None:
        self.desk, self.orders, self.timeout_s = desk, orders, timeout_s
        self._settings = settings
        #: by the exchange `re` as the core does it, once it is known that this leads to the queue.
        self.is_bound = False
        self.level_2_talks: list[Talk] = []
        #: of messages that were sent twice on purpose.
        self.doubled: set[str] = set()
        #: the worker failed the step that should end well: nothing else can be told from it.
        self.is_good_refused = False
        #: answered messages that came back when the worker had ended; None is not known.
        self.returned_count: int | None = None

    @property
    def clock(self) -> Clock:
        """The time."""
        return self.desk.clock

    @property
    def routing_key(self) -> str:
        """The routing key of the worker's command."""
        return names.step_key(self.orders.command)

    @property
    def long_wait_s(self) -> float:
        """Seconds that a long step may take in all."""
        return self.orders.long_s + self.timeout_s

    def ask(
        self,
        parameters: Mapping[str, Any] | bytes,
        headers: StepHeaders | None = None,
        *,
        wait_s: float = 0.0,
    ) -> Talk:
        """Send a step, and return what was said once it has ended or the time is over.

        Args:
            parameters: of the step; or its whole body.
            headers: of level 2; None is level 1.
            wait_s: seconds to wait for its end; 0 is `timeout_s`.
        """
        talk = self.send(parameters, headers)
        self.wait_for_end(talk, wait_s)
        return talk

    def send(self, parameters: Mapping[str, Any] | bytes, headers: StepHeaders | None = None) -> Talk:
        """Send a step, and return the talk about it at once."""
        talk = self.begin(headers)
        self.publish(self.message(talk, parameters, headers))
        return talk

    def begin(self, headers: StepHeaders | None) -> Talk:
        """Return the talk about a step that is to be sent."""
        talk = self.desk.new_talk()
        if headers is not None:
            self.level_2_talks.append(talk)
        return talk

    def message(
        self,
        talk: Talk,
        parameters: Mapping[str, Any] | bytes,
        headers: StepHeaders | None = None,
        *,
        has_reply_to: bool = True,
    ) -> Outgoing:
        """Return the message of a step."""
        address = self.address(talk, headers) if has_reply_to else {}
        body = parameters if isinstance(parameters, bytes) else step_body(self.orders, parameters, address)
        letter = Letter(
            own_id=talk.own_id,
            reply_to=self.desk.reply_to if has_reply_to else None,
            headers=headers,
            at_s=self.clock.now().timestamp(),
            routing_key=self.routing_key,
        )
        return letter.carry(body)

    def address(self, talk: Talk, headers: StepHeaders | None) -> Mapping[str, Any]:
        """Return what the body of a step says of its properties, for tools that show nothing but bodies."""
        headers = headers or StepHeaders()
        return {
            "id": talk.own_id,
            "reply_to": self.desk.reply_to,
            "idempotent": headers.is_idempotent,
            **({"heartbeat_s": headers.heartbeat_s} if headers.heartbeat_s else {}),
        }

    def publish(self, message: Outgoing) -> Published:
        """Publish a step; straight to the queue where the binding is missing."""
        if not self.is_bound and message.exchange == names.EXCHANGE:
            message = self._straight(message)
        return self.desk.publish(message, deadline_s=self.timeout_s)

    def _straight(self, message: Outgoing) -> Outgoing:
        """Return a message that goes to the worker's queue, however that is bound."""
        return Outgoing("", self.orders.queue, message.body, message.properties)

    def is_routed(self) -> bool:
        """Send a good step as the core does, and tell whether a queue takes it."""
        talk = self.begin(None)
        result = self.desk.publish(self.message(talk, self.orders.good), deadline_s=self.timeout_s)
        self.is_bound = result.outcome is Outcome.CONFIRMED
        if self.is_bound:
            self.wait_for_end(talk)
        return self.is_bound

    def send_redelivered(self, parameters: Mapping[str, Any], headers: StepHeaders | None) -> Talk | None:
        """Send a step that the worker gets as redelivered; None when it was faster each time."""
        for _ in range(INTERCEPTION_COUNT):
            talk = self.begin(headers)
            self.doubled.add(talk.own_id)
            message = self._straight(self.message(talk, parameters, headers))
            queue = self.orders.queue
            if publish_redelivered(self._settings, queue, message, timeout_s=self.timeout_s):
                return talk
            self.wait_for_end(talk)
        return None

    def wait_for_end(self, talk: Talk, timeout_s: float = 0.0) -> bool:
        """Wait until a step has its final reply; return whether it has."""
        return self.desk.wait(lambda: bool(talk.end), timeout_s or self.timeout_s)

    def wait_for_start(self, talk: Talk) -> bool:
        """Wait until a step was begun; return whether it was."""
        return self.desk.wait(lambda: talk.started_count > 0, self.timeout_s)

    def counts(self) -> QueueCounts | None:
        """Return who reads the queue and what waits in it; None when there is none."""
        return queue_counts(self._settings, [self.orders.queue]).get(self.orders.queue)

    def wait_for_counts(self, *, waiting: int | None = None, consumers: bool | None = None) -> QueueCounts:
        """Wait until so many messages are ready and somebody, or nobody, reads it; return the counts."""
        end_mono_s = self.clock.mono_s() + self.timeout_s
        while True:
            found = self.counts() or _NO_COUNTS
            is_there = (waiting is None or found.message_count == waiting) and (
                consumers is None or bool(found.consumer_count) == consumers
            )
            if is_there or self.clock.mono_s() >= end_mono_s:
                return found
            self.desk.wait(lambda: False, LOOK_S)
