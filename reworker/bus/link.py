"""Keeps one connection to the broker: connects, notices the loss, connects again, says so once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import pika
from pika.adapters.utils.connection_workflow import (
    AMQPConnectionWorkflowFailed,
    AMQPConnectorAMQPHandshakeError,
    AMQPConnectorPhaseErrorBase,
)
from pika.exceptions import (
    AMQPConnectionError,
    AuthenticationError,
    ConnectionClosed,
    ConnectionClosedByBroker,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
)

from reworker import backoff
from reworker.bus.reactor import Reactor
from reworker.bus.tls import tls_words
from reworker.bus.transport import WireConnection
from reworker.clock import Clock
from reworker.errors import ConfigError

logger = logging.getLogger(__name__)

#: smallest and largest pause between two tries, seconds.
RETRY_BASE_S, RETRY_CAP_S = 0.2, 30.0
#: seconds between two tries at most while the broker is not away for long, and part of the time for which it
#: is that a pause may have later: whoever comes back late is late by a tenth of the outage.
PROMPT_S, SHARE_OF_OUTAGE = 1.5, 0.1
_GUESSES = (ProbableAuthenticationError, ProbableAccessDeniedError)


class Owner(Protocol):
    """Who uses the connection."""

    def on_up(self, connection: WireConnection) -> None:
        """Use a fresh connection."""
        ...

    def on_down(self, reason: str) -> None:
        """Stop using it: it is lost."""
        ...

    def on_refused(self, reason: str) -> None:
        """Note that the broker refuses us."""
        ...

    def on_stopped(self) -> None:
        """Note that the link has ended, after `stop`."""
        ...


class Link:
    """The connection, repaired for ever until stopped; only on the I/O thread.

    Args:
        reactor: the I/O thread.
        parameters: gives pika's, one per server, for each try: files that they come from may have changed.
        url: for the log, password masked.
        owner: told what happens.
        clock: for the log.
        rand: randomness of the pauses.
    """

    def __init__(
        self,
        reactor: Reactor,
        parameters: Callable[[], Sequence[pika.ConnectionParameters]],
        url: str,
        owner: Owner,
        clock: Clock,
        rand: Callable[[], float],
    ) -> None:
        self.connection: WireConnection | None = None
        self.reconnect_count = 0
        self.last_error = ""
        self.failed_count = 0
        self._reactor, self._parameters, self.url = reactor, parameters, url
        self._owner, self._clock, self._rand = owner, clock, rand
        self._workflow: Any = None
        self._cancel_retry: Callable[[], object] | None = None
        self._is_stopping = False
        self._was_up = False
        self._lost_mono_s = clock.mono_s()

    def start(self) -> None:
        """Begin to connect."""
        self._cancel_retry = None
        try:
            parameters = list(self._parameters())
        except ConfigError as error:  # a file is being changed, or was spoilt: the next try may find it well
            self._on_failure(error)
            return
        self._workflow = WireConnection.create_connection(
            parameters, on_done=self._on_attempt_done, custom_ioloop=self._reactor.loop
        )

    def stop(self) -> None:
        """Close in good order; `on_stopped` follows."""
        self._is_stopping = True
        if self._cancel_retry is not None:
            self._cancel_retry()
        if self._workflow is not None:
            self._abort_attempt()
        elif self.connection is None:
            self._owner.on_stopped()
        elif self.connection.is_open:
            self.connection.close()

    def _abort_attempt(self) -> None:
        try:
            self._workflow.abort()
        except AssertionError:
            # pika 1.4 forgets that it cannot drop its timers before the connection amid a handshake;
            # closing the connection is what it meant to do next.
            self._workflow._connector._amqp_conn.close()

    def abort(self, reason: str) -> None:
        """Cut the connection now; it is treated as lost."""
        if self.connection is not None and not self.connection.is_closed:
            self.connection._terminate_stream(AMQPConnectionError(reason))

    def _on_attempt_done(self, result: Any) -> None:
        self._workflow = None
        if isinstance(result, BaseException):
            self._on_failure(result)
            return
        connection: WireConnection = result
        self.connection = connection
        connection.join_writes()
        connection.on_input = self._reactor.mark_awake
        connection.add_on_close_callback(self._on_closed)
        if self._is_stopping:
            connection.close()
            return
        self._report_up(connection)
        self._owner.on_up(connection)

    def _report_up(self, connection: WireConnection) -> None:
        if self._was_up:
            self.reconnect_count += 1
            away_s = self._clock.mono_s() - self._lost_mono_s
            tries = self.failed_count + 1
            logger.info("reconnected to %s after %d tries in %.1f s", self.url, tries, away_s)
        else:
            server = connection.server_properties or {}
            words = f"{server.get('product', 'a broker')} {server.get('version', '')}".strip()
            logger.info("connected to %s (%s)", self.url, words)
        self._was_up = True
        self.failed_count = 0

    def _on_failure(self, error: BaseException) -> None:
        if self._is_stopping:
            self._owner.on_stopped()
            return
        self.failed_count += 1
        reason = reason_of(error)
        next_step = "" if is_refusal(error) and not self._was_up else "; trying on"
        if reason != self.last_error:
            logger.warning("cannot connect to %s: %s%s", self.url, reason, next_step)
        self.last_error = reason
        if is_refusal(error):
            self._owner.on_refused(reason)
        self._retry(self.failed_count)

    def _on_closed(self, _connection: Any, error: Exception) -> None:
        self.connection = None
        if self._is_stopping:
            self._owner.on_down("the bus is closed")
            self._owner.on_stopped()
            return
        self.last_error = reason_of(error)
        self._lost_mono_s = self._clock.mono_s()
        logger.warning("connection to %s lost: %s; reconnecting", self.url, self.last_error)
        self._owner.on_down(self.last_error)
        self._retry(1)

    def _retry(self, attempt: int) -> None:
        if not self._is_stopping:
            away_s = self._clock.mono_s() - self._lost_mono_s
            pause_s = backoff.delay_s(attempt, base_s=RETRY_BASE_S, cap_s=cap_s(away_s), rand=self._rand)
            self._cancel_retry = self._reactor.call_later(pause_s, self.start)


def cap_s(away_s: float) -> float:
    """Return the longest pause between two tries after so many seconds without the broker.

    A restart takes a broker some ten seconds: doubled pauses had grown to as much again by then.
    """
    return min(RETRY_CAP_S, max(PROMPT_S, away_s * SHARE_OF_OUTAGE))


def root_of(error: BaseException) -> BaseException:
    """Return what is at the bottom of pika's nested connection errors."""
    while True:
        if isinstance(error, AMQPConnectionWorkflowFailed) and error.exceptions:
            refused = [one for one in error.exceptions if isinstance(one, AMQPConnectorAMQPHandshakeError)]
            error = (refused or list(error.exceptions))[-1]
        elif isinstance(error, AMQPConnectorPhaseErrorBase):
            error = error.exception
        elif len(error.args) == 1 and isinstance(error.args[0], BaseException):
            error = error.args[0]
        else:
            return error


def reason_of(error: BaseException) -> str:
    """Return a connection error in one line, for people."""
    root = root_of(error)
    if isinstance(root, ConfigError):
        return str(root)
    if words := tls_words(root):
        return words
    if isinstance(root, ConnectionClosed):
        return f"the broker closed it: {root.reply_code} {root.reply_text}"
    text = " ".join(str(part) for part in root.args) or str(root)
    return f"{text} ({type(root).__name__})" if text else type(root).__name__


def is_refusal(error: BaseException) -> bool:
    """Tell whether the broker answered and refuses the login or the virtual host.

    pika guesses this of any connection that ends during the handshake; only the broker's own word counts.
    """
    root = root_of(error)
    is_said = ConnectionClosedByBroker.__name__ in str(root)
    return isinstance(root, AuthenticationError) or (isinstance(root, _GUESSES) and is_said)
