"""Every error the project raises, first split by whose fault it is.

::

    ReworkerError
      ConfigError             a setting is missing or wrong (key, path)
        QueueNotFound         a queue that somebody wants to look into is not there
      MessageError            the sender's fault
        UndecodableMessage    not the JSON object it should be
        MissingParameter      a parameter the step needs is not there
        MessageTooLarge       over the protocol's limit
      BusError                the network's or the broker's fault
        CannotConnect         nobody answers, or the login is refused
        ConnectionLost        the connection went away; reconnecting
        TopologyMismatch      a queue or exchange exists with other arguments
        Unroutable            no queue is bound for a routing key
        PublishNotConfirmed   the broker did not confirm within the deadline
      PlaybookInvalid         line, path and reason, with a suggestion
      NotResumable            a deployment cannot be continued like this
      IllegalTransition       a bug; nothing was changed
      StorageError            the database's fault
        StorageUnavailable    locked, full or gone for the moment; nothing was changed
        DeploymentNotFound
        StaleVersion          another transaction was faster; nothing was changed
        PlaybookNotFound
        TokenNotFound
      AlreadySettled          a delivery was settled twice
      LetterNotFound          no dead letter has this id
      LetterStays             a dead letter cannot be sent back; it lies where it was
      AccessError             who asks may not
        NotAuthenticated      no token, or none that counts
        Forbidden             the token is not for this
        LoginFailed           a provider of OpenID Connect let nobody in
          ProviderAway        it gives no answer, or none that makes sense
      ServerAway              no answer from a server of ours
      NothingChanged          a server of ours says why a request had no effect
      KeyReused               an idempotency key came with another request before
      JobError                raised by plugin code to choose an outcome
        JobFailed
        JobRetry
        JobUnknown
        JobTimeout
        JobCancelled
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

#: bytes of an undecodable body that are kept for the report.
BODY_EXCERPT_BYTES = 200


class ReworkerError(Exception):
    """Base of all errors of this project."""


class ConfigError(ReworkerError):
    """A setting is missing, unknown or has a wrong value.

    Args:
        reason: what is wrong and what to do about it.
        key: name of the setting, for example ``server``.
        path: file, variable or argument the value came from.
    """

    def __init__(self, reason: str, *, key: str = "", path: str = "") -> None:
        self.reason, self.key, self.path = reason, key, path
        where = f"{path}: " if path else ""
        what = f"{key}: " if key else ""
        super().__init__(f"{where}{what}{reason}")


class QueueNotFound(ConfigError):
    """A queue that somebody wants to look into is not there."""


class MessageError(ReworkerError):
    """A message breaks the protocol; its sender has to be told."""


class UndecodableMessage(MessageError):
    """A body is not the JSON object that the protocol asks for.

    Args:
        reason: what was expected and what was found.
        body: the body as received; its first 200 bytes are kept in `excerpt`.
    """

    def __init__(self, reason: str, body: bytes | str = b"") -> None:
        raw = body.encode("utf-8", "replace") if isinstance(body, str) else body
        self.reason = reason
        self.excerpt = raw[:BODY_EXCERPT_BYTES]
        super().__init__(f"{reason}; the body begins {self.excerpt!r}" if raw else reason)


class MissingParameter(MessageError):
    """A parameter that the step needs is missing.

    Args:
        name: the missing parameter.
        required: every parameter the step needs.
    """

    def __init__(self, name: str, required: tuple[str, ...] = ()) -> None:
        self.name, self.required = name, required
        wanted = f"; required: {', '.join(required)}" if required else ""
        super().__init__(f"parameter {name!r} is missing{wanted}")


class MessageTooLarge(MessageError):
    """A message is over its limit and was not published.

    Args:
        kind: what it is, for example ``step``.
        size_bytes: its encoded size.
        limit_bytes: the protocol's limit.
    """

    def __init__(self, kind: str, size_bytes: int, limit_bytes: int) -> None:
        self.kind, self.size_bytes, self.limit_bytes = kind, size_bytes, limit_bytes
        super().__init__(f"a {kind} of {size_bytes} bytes is over the limit of {limit_bytes}; send less data")


class BusError(ReworkerError):
    """The network or the broker failed us."""


class CannotConnect(BusError):
    """No broker answers, or it refuses the login.

    Args:
        url: the broker's address, password masked.
        reason: the last refusal.
        attempts: how many connections were tried.
    """

    def __init__(self, url: str, reason: str, attempts: int = 1) -> None:
        self.url, self.reason, self.attempts = url, reason, attempts
        tried = "1 try" if attempts == 1 else f"{attempts} tries"
        super().__init__(f"cannot connect to {url} ({tried}): {reason}")


class ConnectionLost(BusError):
    """The connection or channel went away; the bus is reconnecting."""


class TopologyMismatch(BusError):
    """A queue or exchange exists with other arguments than ours, is missing, or is not ours to use.

    Args:
        name: the queue or exchange.
        reply_code: the broker's AMQP reply code, for example 406.
        expected: what we declare.
        found: the broker's text, which names what it has.
    """

    def __init__(self, name: str, reply_code: int, expected: str, found: str) -> None:
        self.name, self.reply_code, self.expected, self.found = name, reply_code, expected, found
        advice = _topology_advice(reply_code, found)
        super().__init__(f"{name}: broker answered {reply_code} ({found}); we expect {expected}. {advice}")


def _topology_advice(reply_code: int, found: str) -> str:
    """Return what to do about a refusal; the broker's text tells apart what shares a code."""
    if reply_code == 404:
        return "Start what declares it, or make it with `reworker topology apply`"
    if reply_code == 405:
        return "Another connection owns it: end that program, or use another name"
    if reply_code == 403 and "reserved prefix" not in found:
        return (
            "Give the user the rights that `reworker topology permissions` prints; a worker needs fewer "
            "with `declare: verify`, once `reworker topology apply` was run"
        )
    if reply_code == 406 and "invalid " in found:
        return "The broker does not take this: change our settings"
    return "Delete or rename the object, or change our settings to match it"


class Unroutable(BusError):
    """The broker returned a message because no queue is bound for it.

    Args:
        exchange: exchange it was published to; empty is the default exchange.
        routing_key: its routing key.
    """

    def __init__(self, exchange: str, routing_key: str) -> None:
        self.exchange, self.routing_key = exchange, routing_key
        super().__init__(
            f"no queue is bound to exchange {exchange!r} with routing key {routing_key!r}; "
            "start the worker that declares it, or apply the topology"
        )


class PublishNotConfirmed(BusError):
    """The broker did not confirm a publish within its deadline.

    Args:
        message_id: of the message; empty when it had none.
        reason: nack, deadline or connection.
        is_sent: whether the bytes had been handed to the connection.
    """

    def __init__(self, message_id: str, reason: str, *, is_sent: bool) -> None:
        self.message_id, self.reason, self.is_sent = message_id, reason, is_sent
        super().__init__(f"publish of {message_id or 'a message'} was not confirmed: {reason}")


class PlaybookInvalid(ReworkerError):
    """A playbook cannot be used.

    Args:
        reason: what is wrong, with a suggestion where there is one.
        line: line in the document, from 1; 0 when not known.
        path: place in the document, for example ``execution[0].steps[2]``.
        source: file name.
    """

    def __init__(self, reason: str, *, line: int = 0, path: str = "", source: str = "playbook") -> None:
        self.reason, self.line, self.path, self.source = reason, line, path, source
        place = f"{source}:{line}" if line else source
        super().__init__(f"{place}: {path}: {reason}" if path else f"{place}: {reason}")


class NotResumable(ReworkerError):
    """A deployment cannot be continued, or not like this; nothing was started."""


class IllegalTransition(ReworkerError):
    """An event does not fit a state; a bug, nothing was changed."""

    def __init__(self, state: str, event: str) -> None:
        self.state, self.event = state, event
        super().__init__(f"event {event} is not possible in state {state}")


class StorageError(ReworkerError):
    """The database refused or failed."""


class StorageUnavailable(StorageError):
    """The database does not answer or cannot write at the moment; nothing was changed, try again."""


class DeploymentNotFound(StorageError):
    """No deployment has this id."""

    def __init__(self, deployment_id: str) -> None:
        self.deployment_id = deployment_id
        super().__init__(f"no deployment {deployment_id!r}; `reworker ls` lists them")


class PlaybookNotFound(StorageError):
    """No stored playbook has this id; or, when somebody named a group, none of that group has."""

    def __init__(self, playbook_id: str, group: str | None = None) -> None:
        self.playbook_id = playbook_id
        of_group = "" if group is None else f" of the group {group!r}"
        super().__init__(f"no playbook {playbook_id!r}{of_group} is stored")


class TokenNotFound(StorageError):
    """No token has this id."""

    def __init__(self, token_id: str) -> None:
        self.token_id = token_id
        super().__init__(f"no token {token_id[:60]!a}; `reworker token ls` lists them")


class StaleVersion(StorageError):
    """Another transaction was faster; nothing was changed: read again, and try again at once.

    A row changed between reading and writing it, or the server ended ours so that the other could go on.
    """


class AlreadySettled(ReworkerError):
    """A delivery was settled twice; a bug in the caller."""


class LetterNotFound(ReworkerError):
    """No dead letter has this id."""

    def __init__(self, letter_id: str, queue: str) -> None:
        self.letter_id, self.queue = letter_id, queue
        super().__init__(f"no dead letter {letter_id!r} in {queue}; `reworker dead ls` lists them")


class LetterStays(ReworkerError):
    """A dead letter cannot be sent back, and lies where it was.

    Args:
        reason: why.
        needs: what it would take: ``force`` or ``queue``, an argument of `core.letter_box.Return`; empty is
            neither.
    """

    def __init__(self, reason: str, *, needs: str = "") -> None:
        self.needs = needs
        super().__init__(reason)


class AccessError(ReworkerError):
    """Who asks may not; nothing was done."""


class NotAuthenticated(AccessError):
    """There is no token, or it is unknown, expired or revoked: which of these is not said."""


class Forbidden(AccessError):
    """The token counts, but not for this, or not there."""


class LoginFailed(AccessError):
    """A login through a provider of identities came to nothing; nobody is logged in."""


class ProviderAway(LoginFailed):
    """The provider of identities gives no answer, or none that makes sense."""


class ServerAway(ReworkerError):
    """A server of ours does not answer, or cannot at the moment."""

    def __init__(self, url: str, reason: str) -> None:
        self.url, self.reason = url, reason
        super().__init__(f"{url} gives no answer: {reason}")


class NothingChanged(ReworkerError):
    """A request had no effect; the text says why."""


class KeyReused(ReworkerError):
    """An idempotency key was used before, for a request with another body."""

    def __init__(self, key: str, deployment_id: str) -> None:
        self.key, self.deployment_id = key, deployment_id
        super().__init__(
            f"the idempotency key {key!r} has started deployment {deployment_id} from another request; "
            "use a new key for a new request"
        )


class JobError(ReworkerError):
    """Raised by plugin code to choose how its job ends.

    Args:
        message: text for the reply.
        data: JSON-able details for the reply.
    """

    def __init__(self, message: str = "", data: Any = None) -> None:
        self.message, self.data = message, data
        super().__init__(message)


class JobFailed(JobError):
    """The job failed; the reply says why."""


class JobUnknown(JobError):
    """It cannot be known whether the job took effect."""


class JobTimeout(JobError):
    """The job ran past its time limit."""


class JobCancelled(JobError):
    """The job was told to stop and did."""


class JobRetry(JobError):
    """The job wants to be run again.

    Args:
        delay_s: seconds to wait before the next try; a sequence has those before the second try, the third
            and so on, and its last one counts for all further ones.
        message: why.
        changes: top-level keys of the message that the next try finds changed: what is left to do.
    """

    def __init__(
        self,
        delay_s: float | Sequence[float] = 0.0,
        message: str = "",
        *,
        changes: Mapping[str, Any] | None = None,
    ) -> None:
        self.delays_s = (delay_s,) if isinstance(delay_s, int | float) else tuple(delay_s) or (0.0,)
        self.changes = changes
        super().__init__(message)

    def delay_after_s(self, tries: int) -> float:
        """Return the seconds to wait after so many tries."""
        return self.delays_s[min(tries, len(self.delays_s)) - 1]
