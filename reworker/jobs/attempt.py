"""The record of one delivery: what was asked, what has been answered, and how it will be settled.

The delivery is settled when the job is over and the bus has answered for its replies; nobody waits for that.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping
from typing import Any

from reworker.bus.contract import Delivery, Outcome, Outgoing, Properties, Published, Verdict
from reworker.errors import JobCancelled, JobError, MessageError
from reworker.jobs.interrupt import Interrupt
from reworker.jobs.returning import declare_delay, key_of, return_to_queue
from reworker.jobs.station import Station
from reworker.jobs.steps import StepMethod
from reworker.ledger import Finished
from reworker.messages import (
    FINAL_STATUSES,
    REPLY_LIMIT_BYTES,
    Reply,
    ReplyHeaders,
    Step,
    encode,
    headers_of_reply,
    step_headers_of,
)
from reworker.topology.names import NO_REPLY, owes_status
from reworker.tracing import valid_traceparent

#: seconds an output line waits for others to be confirmed before it is dropped.
ROOM_WAIT_S = 1.0
#: characters of a message id that is sent as it is: of four bytes each they fit into AMQP's 255 bytes.
MESSAGE_ID_CHARACTERS = 63
_JSON = "application/json"
_PERSISTENT = 2


class Attempt:
    """One delivery on its way through `execution`; see there for the stages.

    Threads: `send`, `send_output`, `reply` and `decide` may be called from any thread of the job;
    confirms arrive on the bus's I/O thread.
    """

    __slots__ = (
        "_deliveries",
        "_is_answered",
        "_is_over",
        "_is_settled",
        "_lock",
        "_pending_count",
        "_return_body",
        "_return_queue",
        "_seq",
        "_verdict",
        "_wakeup",
        "body",
        "correlation_id",
        "delivery",
        "final_status",
        "headers",
        "interrupt",
        "is_cancelled",
        "is_unanswerable",
        "last_heartbeat_mono_s",
        "method",
        "owes_status",
        "reply_to",
        "result",
        "started_mono_s",
        "station",
        "step",
        "timeout_s",
        "traceparent",
    )

    def __init__(self, station: Station, delivery: Delivery) -> None:
        properties = delivery.properties
        self.station, self.delivery = station, delivery
        self.correlation_id = properties.correlation_id
        self.reply_to = properties.reply_to if properties.reply_to != NO_REPLY else None
        self.headers = step_headers_of(properties.headers)
        self.owes_status = owes_status(key_of(delivery))
        self.traceparent = valid_traceparent(self.headers.traceparent) if self.headers is not None else ""
        self.body: dict[str, Any] = {}
        self.step: Step | None = None
        self.method: StepMethod | None = None
        self.result: Reply | None = None
        self.final_status = ""
        self.is_cancelled = self.is_unanswerable = False
        self.timeout_s: float | None = None
        self.started_mono_s = self.last_heartbeat_mono_s = 0.0
        self.interrupt = Interrupt()
        self._wakeup: threading.Event | None = None
        self._lock = threading.Lock()
        self._deliveries = [delivery]
        self._verdict: Verdict | None = None
        self._seq = self._pending_count = 0
        self._return_queue = ""
        self._return_body = delivery.body
        self._is_over = self._is_settled = False
        self._is_answered = True

    @property
    def key(self) -> str:
        """What is the same for every delivery of this attempt.

        At level 1 the steps of a deployment share a correlation id, so the body counts too.
        """
        if self.headers is not None:
            return self.correlation_id or ""
        return f"{self.correlation_id}#{hash(self.delivery.body)}"

    def reply(self, reply: Reply) -> None:
        """Send a reply; a second final one is dropped with a warning.

        Raises:
            MessageError: JSON cannot carry it, or it is too large; nothing was sent.
        """
        self._post_reply(reply.status, encode(reply, kind="reply", limit_bytes=REPLY_LIMIT_BYTES))

    def answer_again(self, finished: Finished) -> None:
        """Send the final reply of an earlier run of this attempt once more, under the same message id."""
        self._post_reply(finished.status, finished.body)

    def send(self, topic: Any, corr_id: Any, struct: Any, exchange: str, reply_to: str | None) -> None:
        """Publish what a plugin asked for; a reply of this attempt is recognised and tracked.

        Raises:
            MessageError: JSON cannot carry it, or it is too large.
        """
        if exchange == "" and topic == self.reply_to and topic is not None:
            status = struct.get("status") if isinstance(struct, Mapping) else None
            body = encode(struct, kind="reply", limit_bytes=REPLY_LIMIT_BYTES)
            self._post_reply(status if isinstance(status, str) else "", body)
        elif exchange == "" and topic in (None, "", NO_REPLY):
            self._note_final(struct)
        else:
            properties = self._properties(corr_id, reply_to)
            self._publish(Outgoing(exchange, str(topic), encode(struct), properties), self._on_sent)

    def _note_final(self, struct: Any) -> None:
        """Remember a final status that nobody asked to hear."""
        status = struct.get("status") if isinstance(struct, Mapping) else None
        if isinstance(status, str) and status in FINAL_STATUSES and not self.final_status:
            self.final_status = status

    def send_output(self, topic: str, corr_id: Any, struct: dict[str, Any]) -> None:
        """Publish a line of output; waits a little when too many are on their way, then drops it."""
        station = self.station
        if not station.room.acquire(timeout=ROOM_WAIT_S):
            station.counts["output_dropped"] += 1
            return
        properties = self._properties(corr_id, NO_REPLY)
        message = Outgoing(station.settings.exchange, topic, encode(struct), properties)
        station.bus.publish(message, self._on_output_done)

    def decide(self, verdict: Verdict) -> None:
        """Take the plugin's word on this delivery: it is remembered, or carried out with early ack."""
        with self._lock:
            is_first = self._verdict is None
            if is_first:
                self._verdict = verdict
        if not is_first:
            self.station.logger.warning("%s was acknowledged or rejected twice", self.correlation_id)
        elif self.station.settings.is_ack_early:
            self._settle()

    def give_back(self, delay_s: float, changes: Mapping[str, Any] | None = None) -> None:
        """Have this message delivered again, here or to another worker, after a delay in seconds.

        Args:
            delay_s: 0 is at once.
            changes: top-level keys that are changed in it.

        Raises:
            BusError: the broker does not let us wait.
            MessageError: JSON cannot carry the changes.
        """
        if changes:
            self._return_body = encode({**self.body, **changes})
        queue = self.delivery.queue
        self._return_queue = declare_delay(self.station.bus, queue, delay_s) if delay_s > 0 else queue
        self._verdict = Verdict.REQUEUE

    def is_returned(self) -> bool:
        """Tell whether the plugin put the delivery back to the queue."""
        return self._verdict is Verdict.REQUEUE

    def ending(self) -> str:
        """Return how the job has ended, in a word, for metrics and traces."""
        if self.final_status:
            return self.final_status
        if self._verdict is Verdict.REQUEUE:
            return "returned"
        return "failed" if self._verdict is Verdict.DEAD_LETTER else "completed"

    def override(self, verdict: Verdict) -> None:
        """Settle in another way than the plugin said; before `finish`."""
        self._verdict = verdict

    def adopt(self, other: Attempt) -> None:
        """Settle another delivery of this attempt together with ours; `other` settles nothing any more."""
        with self._lock:
            if not self._is_settled:
                self._deliveries.append(other.delivery)
                other._deliveries = []

    def finish(self) -> None:
        """The job is over: settle now, or when the last reply has been answered for."""
        with self._lock:
            self._is_over = True
            is_ready = self._pending_count == 0
        if is_ready:
            self._settle()

    def limit(self, timeout_s: float | None) -> None:
        """Let the job run no longer than so many seconds; the shortest limit holds."""
        if timeout_s is not None:
            self.timeout_s = min(timeout_s, self.timeout_s or timeout_s)

    def cancel(self) -> None:
        """Tell the job to stop: it notices when it looks; an `async def` step is cancelled where it waits."""
        with self._lock:
            self.is_cancelled = True
            if self._wakeup is not None:
                self._wakeup.set()
        self.interrupt.fire_soft(JobCancelled)

    def time_out(self, kind: type[JobError]) -> None:
        """Interrupt the job, once."""
        if self.interrupt.fired is None:
            self.interrupt.fire(kind)

    def wait(self, seconds: float) -> bool:
        """Sleep on the job's thread; return False at once when the job is cancelled."""
        with self._lock:
            if self._wakeup is None:
                self._wakeup = threading.Event()
            if self.is_cancelled:
                self._wakeup.set()
        return not self._wakeup.wait(seconds)

    def _post_reply(self, status: str, body: bytes) -> None:
        is_final = status in FINAL_STATUSES
        with self._lock:
            if is_final and self.final_status:
                is_second = True
            else:
                is_second = False
                self.final_status = status if is_final else self.final_status
                self._seq += 1
                seq = self._seq
        if is_second:
            self.station.logger.warning(
                "%s: a second final reply (%s after %s) was dropped",
                self.correlation_id,
                status,
                self.final_status,
            )
            return
        if is_final and self.headers is not None:
            self.station.ledger.record(self.key, Finished(status, body))
        if self.reply_to:
            message = Outgoing("", self.reply_to, body, self._reply_properties(status, seq))
            self._publish(message, self._on_final_sent if is_final else self._on_sent)

    def _reply_properties(self, status: str, seq: int) -> Properties:
        if self.headers is None:
            return self._properties(self.correlation_id, NO_REPLY)
        station = self.station
        suffix = status if status == "started" or status in FINAL_STATUSES else self._numbered(status)
        return Properties(
            app_id=station.app_id,
            correlation_id=self.correlation_id,
            reply_to=NO_REPLY,
            content_type=_JSON,
            delivery_mode=_PERSISTENT,
            message_id=_message_id(f"{self.correlation_id}:{suffix}"),
            headers=headers_of_reply(ReplyHeaders(station.worker_id, seq, self.traceparent)),
        )

    def _numbered(self, status: str) -> str:
        return f"{status}:{self.station.nonce}:{next(self.station.numbers)}"

    def _properties(self, corr_id: Any, reply_to: str | None) -> Properties:
        is_absent = corr_id is None or (corr_id == "None" and self.correlation_id is None)
        return Properties(
            app_id=self.station.app_id,
            correlation_id=None if is_absent else str(corr_id),
            reply_to=reply_to,
            content_type=_JSON,
            delivery_mode=_PERSISTENT,
        )

    def _publish(self, message: Outgoing, on_done: Callable[[Published], None]) -> None:
        """Publish, and settle no sooner than the bus has answered."""
        with self._lock:
            self._pending_count += 1
        try:
            self.station.bus.publish(message, on_done)
        except (TypeError, ValueError) as error:
            with self._lock:
                self._pending_count -= 1
            raise MessageError(f"message to {message.routing_key:.60} cannot be sent: {error}") from error

    def _on_output_done(self, result: Published) -> None:
        self.station.room.release()
        if result.outcome is not Outcome.CONFIRMED:
            self.station.counts["output_unrouted"] += 1

    def _on_final_sent(self, result: Published) -> None:
        if result.outcome not in (Outcome.CONFIRMED, Outcome.RETURNED):
            self._is_answered = False
        elif self.headers is None:
            self.station.recent.record(self.key, Finished(self.final_status, b""))
        self._on_sent(result)

    def _on_sent(self, result: Published) -> None:
        if result.outcome is not Outcome.CONFIRMED:
            self._note_unsent(result)
        with self._lock:
            self._pending_count -= 1
            is_ready = self._is_over and self._pending_count == 0
        if is_ready:
            self._settle()

    def _note_unsent(self, result: Published) -> None:
        self.station.counts["unroutable" if result.outcome is Outcome.RETURNED else "unconfirmed"] += 1
        if not self.is_unanswerable:
            self.is_unanswerable = True
            self.station.logger.warning(
                "%s: a message to %s was not taken: %s %s",
                self.correlation_id,
                self.reply_to,
                result.outcome.value,
                result.reason,
                extra={"correlation_id": self.correlation_id or ""},
            )

    def _settle(self) -> None:
        with self._lock:
            if self._is_settled:
                return
            self._is_settled = True
            deliveries = self._deliveries
        if self.station.open_attempts.get(self.key) is self:
            del self.station.open_attempts[self.key]
        verdict = self._verdict or Verdict.ACK
        if verdict is Verdict.DEAD_LETTER and self._is_answered:
            self.station.counts["dead_lettered"] += 1
        for delivery in deliveries:
            if verdict is Verdict.REQUEUE and self._is_answered:
                return_to_queue(
                    self.station.bus, delivery, self._return_queue, is_begun=True, body=self._return_body
                )
            else:
                delivery.settle(verdict if self._is_answered else Verdict.REQUEUE)


def _message_id(text: str) -> str:
    """Return an id of a reply that any correlation id leaves room for, the same in every run."""
    if len(text) <= MESSAGE_ID_CHARACTERS:
        return text
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
