"""Job requests from the bus: a deployment of a stored playbook is started, and the sender told its id.

On a thread of its own, because reading a large playbook takes seconds that replies must not wait for.
"""

from __future__ import annotations

import hashlib
import logging
import queue
import threading
from collections.abc import Callable, Collection
from functools import partial

import msgspec
from msgspec import MsgspecError

from reworker import messages
from reworker.bus.contract import Delivery, Verdict
from reworker.clock import Clock
from reworker.core import submission
from reworker.core.counters import Counters
from reworker.core.dead_letters import DeadLetters
from reworker.core.inbound import storable_id
from reworker.core.outgoing import answer_row
from reworker.core.service import Service
from reworker.errors import (
    ConfigError,
    MessageError,
    PlaybookInvalid,
    PlaybookNotFound,
    ReworkerError,
    StaleVersion,
    StorageUnavailable,
    UndecodableMessage,
)
from reworker.ids import is_id, new_id
from reworker.logs import escaped
from reworker.storage.contract import Changes, OutboxRow, Storage

logger = logging.getLogger(__name__)

#: seconds before a request is tried again while the database is away.
RETRY_S = 1.0
#: characters of a sender's name that are kept.
ACTOR_CHARACTERS = 200


class JobDesk:
    """Takes job requests one by one; `put` is called on the bus's I/O thread.

    A request is acknowledged after its deployment, and the answer to it, are stored. One that cannot be
    read is answered and goes to the dead letters; one that is refused is answered and acknowledged.

    Args:
        accepted: users of the broker whose requests count; empty is everybody's. Who may reply to anybody may
            write into the queue of requests: the broker vouches for the user that a message names.
    """

    def __init__(
        self,
        service: Service,
        storage: Storage,
        dead: DeadLetters,
        clock: Clock,
        counters: Counters,
        *,
        wake: Callable[[], None],
        accepted: Collection[str] = (),
    ) -> None:
        self._service, self._storage, self._dead = service, storage, dead
        self._clock, self._counters, self._wake = clock, counters, wake
        self._accepted = frozenset(accepted)
        self._queue: queue.SimpleQueue[Delivery | None] = queue.SimpleQueue()
        self._held: Delivery | None = None
        self._stopping = threading.Event()

    def put(self, delivery: Delivery) -> None:
        """Take a delivery; returns at once."""
        self._queue.put(delivery)

    def run(self) -> None:
        """Take requests until `stop`; the body of the desk's thread."""
        while not self._stopping.is_set():
            try:
                self.turn(None)
            except Exception:  # the thread's top: it must live, whatever it meets
                logger.exception("a job request met an error of our own")

    def stop(self) -> None:
        """Let `run` return after its present request."""
        self._stopping.set()
        self._queue.put(None)

    def turn(self, wait_s: float | None = 0.0) -> bool:
        """Handle one request; return whether there was one.

        Args:
            wait_s: how long to wait for it; None is for ever.
        """
        delivery, self._held = self._held or self._take(wait_s), None
        if delivery is None:
            return False
        try:
            self._handle(delivery)
        except (StorageUnavailable, StaleVersion) as error:
            logger.error("a job request waits for the database: %s", error)
            self._held = delivery
            if wait_s != 0:
                self._stopping.wait(RETRY_S)
        except Exception as error:  # one request must not stop the others
            logger.exception("a job request could not be handled")
            self._give_up(delivery, f"it could not be handled: {error}")
        return True

    def _give_up(self, delivery: Delivery, reason: str) -> None:
        """Set a request aside that met an error of ours, and tell its sender if that is possible."""
        try:
            self._refuse(self._answer(delivery, None, reason))
        except (ReworkerError, UnicodeError, MsgspecError) as error:
            logger.error("nor could it be answered: %s", error)
        self._dead.refuse(delivery, reason)

    def _take(self, wait_s: float | None) -> Delivery | None:
        try:
            return self._queue.get(wait_s != 0, wait_s)
        except queue.Empty:
            return None

    def _handle(self, delivery: Delivery) -> None:
        self._counters.add("jobs")
        answer = partial(self._answer, delivery)
        try:
            self._require_accepted(delivery)
            request = job_request(delivery)
        except MessageError as error:
            self._refuse(answer(None, str(error)))
            self._dead.refuse(delivery, str(error))
            return
        try:
            draft = self._draft(request)
            own_id = self._service.start(draft, _origin(delivery, request), answer=answer)
        except (PlaybookNotFound, PlaybookInvalid, ConfigError) as error:
            self._refuse(answer(None, str(error)))
            logger.warning("job request of playbook %.40r refused: %s", request.playbook_id, error)
        else:
            logger.info("deployment %s of playbook %s started", own_id, request.playbook_id)
        delivery.settle(Verdict.ACK)

    def _require_accepted(self, delivery: Delivery) -> None:
        user = delivery.properties.user_id
        if self._accepted and user not in self._accepted:
            who = (
                f"the broker's user {user[:ACTOR_CHARACTERS]!r}" if user else "nobody the broker vouches for"
            )
            raise MessageError(
                f"job requests of {who} are not accepted here; accepted are those that name "
                f"{', '.join(sorted(self._accepted))} as their user_id (accept_jobs_from)"
            )

    def _draft(self, request: messages.JobRequest) -> submission.Draft:
        row = self._service.library.playbook(request.playbook_id) if is_id(request.playbook_id) else None
        if row is None or row.group != request.group:
            raise PlaybookNotFound(request.playbook_id[:40], request.group[:40])
        return self._service.library.draft(row.text, request.dynamic, f"playbook {row.id}")

    def _answer(self, delivery: Delivery, own_id: str | None, error: str = "") -> OutboxRow | None:
        reply_to = delivery.properties.reply_to
        if not reply_to:
            return None
        now, own = self._clock.now(), delivery.properties.correlation_id
        answer = messages.JobAnswer(own_id, escaped(error) or msgspec.UNSET)
        correlation_id = own if own and escaped(own) == own else None  # what is no text cannot be stored
        return answer_row(f"answer.{new_id(now)}", now, reply_to, answer, correlation_id)

    def _refuse(self, answer: OutboxRow | None) -> None:
        self._counters.add("jobs_refused")
        if answer is None:
            return
        with self._storage.begin() as unit:
            unit.save(Changes(outbox_added=[answer]))
        self._wake()


def job_request(delivery: Delivery) -> messages.JobRequest:
    """Return the request in a delivery; a null in it counts as absent.

    Raises:
        MessageError: too large, no JSON object, or a field is missing or wrong.
    """
    body = delivery.body
    if len(body) > messages.STEP_LIMIT_BYTES:
        raise UndecodableMessage(
            f"job request has {len(body)} bytes, the limit is {messages.STEP_LIMIT_BYTES}"
        )
    value = messages.decode_object(body, delivery.properties.content_encoding)
    present = {key: item for key, item in value.items() if item is not None}
    try:
        return msgspec.convert(present, messages.JobRequest)
    except msgspec.ValidationError as error:
        raise UndecodableMessage(f"not a job request: {error}", body) from error


def _origin(delivery: Delivery, request: messages.JobRequest) -> submission.Origin:
    """Return where a deployment comes from, so that the same message never starts a second one.

    Senders of 2014 give no message id. Two such messages may be equal and both meant, so only one that the
    broker says to deliver again is compared with what was started before.
    """
    message_id, reply_to = delivery.properties.message_id, delivery.properties.reply_to or ""
    digest = hashlib.sha256(reply_to.encode("utf-8", "replace") + b"\0" + delivery.body).hexdigest()
    return submission.Origin(
        actor=escaped((request.user_id or delivery.properties.app_id or "")[:ACTOR_CHARACTERS]),
        playbook_id=request.playbook_id,
        idempotency_key=f"{submission.JOB}{storable_id(message_id)}|{digest[:16]}" if message_id else "",
        request_digest="" if message_id else digest,
        is_redelivered=delivery.redelivered,
        source_ip=escaped((request.source_ip or "")[:ACTOR_CHARACTERS]),
    )
