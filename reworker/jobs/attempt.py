"""The record of one delivery: what was asked, what has been answered, and how it will be settled.

The delivery is settled when the job is over and the bus has answered for its replies; nobody waits for that.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from reworker.bus.contract import (
    PUBLISH_DEADLINE_S,
    Delivery,
    Outcome,
    Outgoing,
    Properties,
    Published,
    Verdict,
)
from reworker.errors import JobCancelled, JobError, MessageError
from reworker.ids import delivery_key
from reworker.jobs.early import ANSWER_DEADLINE_S, acknowledge
from reworker.jobs.envelopes import meant_id, plain_properties, reply_around
from reworker.jobs.interrupt import Interrupt
from reworker.jobs.retry import Retry
from reworker.jobs.returning import LOST_HEADER, PAST_HEADERS, TRIES_HEADER, key_of, number_in
from reworker.jobs.settling import settle
from reworker.jobs.station import Station
from reworker.jobs.steps import StepMethod
from reworker.ledger import Finished
from reworker.messages import (
    FINAL_STATUSES,
    REPLY_LIMIT_BYTES,
    Reply,
    Step,
    encode,
    step_headers_of,
)
from reworker.topology.names import NO_REPLY, owes_status
from reworker.tracing import valid_traceparent

#: looked up once: a member of an enum, asked of its class, costs as much as a call.
_CONFIRMED, _RETURNED, _ACK = Outcome.CONFIRMED, Outcome.RETURNED, Verdict.ACK
#: seconds an output line waits for others to be confirmed before it is dropped.
ROOM_WAIT_S = 1.0


class Attempt:
    """One delivery on its way through `execution`; see there for the stages.

    Threads: `send`, `send_output`, `reply` and `decide` may be called from any thread of the job;
    confirms arrive on the bus's I/O thread.
    """

    __slots__ = (
        "_deliveries",
        "_is_acked_early",
        "_is_answered",
        "_is_heard",
        "_is_left",
        "_is_over",
        "_is_settled",
        "_lock",
        "_pending",
        "_refusal",
        "_verdict",
        "_wakeup",
        "body",
        "correlation_id",
        "delivery",
        "final_status",
        "has_past",
        "headers",
        "interrupt",
        "is_cancelled",
        "is_redelivered",
        "is_unanswerable",
        "key",
        "last_heartbeat_mono_s",
        "method",
        "on_settled",
        "owes_status",
        "reply_to",
        "result",
        "retry",
        "seq",
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
        table = properties.headers
        self.headers = headers = step_headers_of(table)
        #: whether a worker has left its marks on this message.
        self.has_past = bool(table) and not PAST_HEADERS.isdisjoint(table or ())
        self.owes_status = owes_status(key_of(delivery) if self.has_past else delivery.routing_key)
        #: whether another worker may have had this message before, and was lost.
        self.is_redelivered = delivery.redelivered or (self.has_past and number_in(delivery, LOST_HEADER) > 0)
        #: the same for every delivery of this attempt, and in every process of a host.
        self.key = (headers is not None and self.correlation_id) or delivery_key(
            self.correlation_id, delivery.body
        )
        parent = headers.traceparent if headers is not None else None
        self.traceparent = valid_traceparent(parent) if parent else ""
        self.body: dict[str, Any] = {}
        self.step: Step | None = None
        self.method: StepMethod | None = None
        self.retry: Retry | None = None
        self.result: Reply | None = None
        #: of the replies, the status of the final one, and the number of the last one.
        self.final_status, self.seq = "", 0
        self.is_cancelled = self.is_unanswerable = False
        self.timeout_s: float | None = None
        self.started_mono_s = self.last_heartbeat_mono_s = 0.0
        #: told once it is settled whether the bus has answered for the final reply; on any thread.
        self.on_settled: Callable[[bool], None] | None = None
        self.interrupt = Interrupt()
        self._wakeup: threading.Event | None = None
        self._lock = threading.Lock()
        self._deliveries = [delivery]
        self._verdict: Verdict | None = None
        #: a mark for each publish that the bus has not answered for.
        self._pending: set[object] = set()
        self._refusal = "its worker rejected it"
        self._is_acked_early = self._is_heard = False
        self._is_left = self._is_over = self._is_settled = False
        self._is_answered = True

    def reply(self, reply: Reply, body: bytes = b"") -> None:
        """Send a reply; a second final one is dropped with a warning.

        Args:
            reply: to send.
            body: the same, encoded, where that is known.

        Raises:
            MessageError: JSON cannot carry it, or it is too large; nothing was sent.
        """
        encoded = body or encode(reply, kind="reply", limit_bytes=REPLY_LIMIT_BYTES)
        self._post_reply(reply.status, encoded)

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
            self._publish(object(), Outgoing(exchange, str(topic), encode(struct), properties))

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

    def leave(self) -> None:
        """Leave all further answers to a copy of the message that the broker has."""
        self._is_left = True

    def is_returned(self) -> bool:
        """Tell whether the message is, or will be, in a queue once more, with what is left to say."""
        return self._is_left or self._verdict is Verdict.REQUEUE

    def refuse(self, reason: str) -> None:
        """Have the message go to the dead letters, whatever the plugin said; before `finish`."""
        self._verdict, self._refusal = Verdict.DEAD_LETTER, reason

    def adopt(self, other: Attempt) -> bool:
        """Settle another delivery of this attempt together with ours; `other` settles nothing any more.

        Returns:
            False when it is too late for that.
        """
        with self._lock:
            if not self._is_settled:
                self._deliveries.append(other.delivery)
                other._deliveries = []
            return not self._is_settled

    def ack_early(self) -> bool:
        """Acknowledge while the job goes on, for the broker would not wait; return whether that is done now.

        The core has to hear from the job first, for it misses nobody it never heard: then call again.
        """
        is_missed = self._is_heard or (self.final_status and not self._pending)
        if self.headers is not None and self.headers.heartbeat_s and self.reply_to and not is_missed:
            if not self.final_status:
                self.reply(Reply("running"))
            return False
        with self._lock:
            is_new = not self._is_settled and not self._is_acked_early
            if not self._is_settled:
                self._is_acked_early = True
                self._deliveries = [acknowledge(delivery) for delivery in self._deliveries]
        return is_new

    def finish(self) -> None:
        """The job is over: settle now, or when the last reply has been answered for."""
        self._is_over = True  # before the look: who ends the last publish looks the other way round
        if not self._pending:
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
        if self.headers is None and status == "started" and number_in(self.delivery, TRIES_HEADER):
            return  # a core of 2014 was told at the first try, and takes a second one for the next step's
        is_final = status in FINAL_STATUSES
        with self._lock:
            is_second = is_final and self.final_status != ""
            if not is_second:
                self.seq = seq = self.seq + 1
                if is_final:
                    self.final_status = status
        if is_second:
            text = "%s: a second final reply (%s after %s) was dropped"
            self.station.logger.warning(text, self.correlation_id, status, self.final_status)
            return
        try:
            if is_final and self.headers is not None:
                self.station.ledger.record(self.key, Finished(status, body))
            if self.reply_to:
                self._publish_reply(status, body, seq)
        except BaseException:  # an interruption of the job too: it has not been said, so another reply has to
            self.final_status = "" if is_final else self.final_status
            raise

    def _publish_reply(self, status: str, body: bytes, seq: int) -> None:
        if self.headers is None:
            properties, envelope = self._properties(self.correlation_id, NO_REPLY), None
        else:
            is_again, trace = self.is_redelivered, self.traceparent
            properties, envelope = reply_around(
                self.station, self.correlation_id, status, seq, traceparent=trace, is_again=is_again
            )
        message = Outgoing("", self.reply_to or "", body, properties, envelope=envelope)
        if status == "started":
            self._publish(seq, message)
        elif status in FINAL_STATUSES:
            # No redelivery would bring an answer again that was acknowledged for: it waits for the broker.
            deadline_s = ANSWER_DEADLINE_S if self._is_acked_early else PUBLISH_DEADLINE_S
            self._publish(seq, message, Attempt._on_final_sent, deadline_s)
        else:
            self._publish(seq, message, Attempt._on_beat_sent if status == "running" else None)

    def _properties(self, corr_id: Any, reply_to: str | None) -> Properties:
        return plain_properties(self.station.app_id, meant_id(corr_id, self.correlation_id), reply_to)

    def _publish(
        self,
        mark: object,
        message: Outgoing,
        on_done: Callable[[Attempt, object, Published], None] | None = None,
        deadline_s: float = PUBLISH_DEADLINE_S,
    ) -> None:
        """Publish, and settle no sooner than the bus has answered.

        Args:
            mark: no other publish of this attempt has it; a reply its number.
            message: to publish.
            on_done: told what became of it, besides `_on_sent`, which it has to call.
            deadline_s: see `contract.Bus.publish`.
        """
        try:
            self._pending.add(mark)
            done = partial(on_done or Attempt._on_sent, self, mark)
            self.station.bus.publish(message, done, deadline_s=deadline_s)
        except BaseException as error:  # an interruption of the job too: nothing may be waited for in vain
            self._pending.discard(mark)
            if not isinstance(error, TypeError | ValueError):
                raise
            raise MessageError(f"message to {message.routing_key:.60} cannot be sent: {error}") from error

    def _on_output_done(self, result: Published) -> None:
        self.station.room.release()
        if result.outcome is not Outcome.CONFIRMED:
            self.station.counts["output_unrouted"] += 1

    def _on_final_sent(self, mark: object, result: Published) -> None:
        if result.outcome is not _CONFIRMED and result.outcome is not _RETURNED:
            self._is_answered = False
        elif self.headers is None:
            self.station.recent.record(self.key, Finished(self.final_status, b""))
        self._on_sent(mark, result)

    def _on_beat_sent(self, mark: object, result: Published) -> None:
        self._is_heard = self._is_heard or result.outcome in (_CONFIRMED, _RETURNED)
        self._on_sent(mark, result)

    def _on_sent(self, mark: object, result: Published) -> None:
        if result.outcome is not _CONFIRMED:
            self._note_unsent(result)
        self._pending.discard(mark)
        if self._is_over and not self._pending:
            self._settle()

    def _note_unsent(self, result: Published) -> None:
        self.station.counts["unroutable" if result.outcome is Outcome.RETURNED else "unconfirmed"] += 1
        if not self.is_unanswerable:
            self.is_unanswerable = True
            text = "%s: a message to %s was not taken: %s %s"
            words = self.correlation_id, self.reply_to, result.outcome.value, result.reason
            self.station.logger.warning(text, *words, extra={"correlation_id": self.correlation_id or ""})

    def _settle(self) -> None:
        with self._lock:
            if self._is_settled:
                return
            self._is_settled = True
            deliveries = self._deliveries
        open_attempts, key = self.station.open_attempts, self.key
        if open_attempts.get(key) is self:
            del open_attempts[key]
        verdict = _ACK if self._is_left else self._verdict or _ACK
        for delivery in deliveries:
            if verdict is _ACK and self._is_answered:
                delivery.settle(verdict)
            elif self._is_answered:
                settle(self.station, delivery, verdict, self._refusal)
            else:
                delivery.settle(Verdict.REQUEUE)
        if self.on_settled is not None:
            self.on_settled(self._is_answered)
