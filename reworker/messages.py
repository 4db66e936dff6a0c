"""The messages on the wire: frozen structs, their encoding and decoding, headers and limits.

The only place that knows JSON field names. Level 1 is the 2014 contract; level 2 adds headers and statuses.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

import msgspec

from reworker.errors import MessageError, MessageTooLarge, UndecodableMessage

#: largest step message, bytes. Source: our protocol; RabbitMQ 4 itself stops at 16 MiB.
STEP_LIMIT_BYTES = 1 << 20
#: largest reply, bytes.
REPLY_LIMIT_BYTES = 1 << 20
#: largest output line, bytes of UTF-8; a longer one is cut with `CUT_MARK`.
OUTPUT_LIMIT_BYTES = 64 << 10
#: characters of a notification's slug. Source: the 2014 contract.
SLUG_LIMIT = 80
CUT_MARK = " [cut]"

Status = Literal["started", "running", "completed", "failed", "unknown", "cancelled"]
#: statuses that end an attempt.
FINAL_STATUSES = frozenset({"completed", "failed", "unknown", "cancelled"})
STATUSES = frozenset({"started", "running"}) | FINAL_STATUSES

#: ``{phase: {transport: [target]}}``
NotifyTable = dict[str, dict[str, list[str]]]


class Step(msgspec.Struct, frozen=True):
    """Core to worker: run one step. `parameters` holds command, subcommand, hosts and the step's own."""

    group: str
    parameters: dict[str, Any]
    dynamic: dict[str, Any] = {}
    notify: NotifyTable = {}


class Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    """Worker to core: how an attempt stands. `running`, `unknown` and `cancelled` are level 2.

    `again_in_s` goes with `running`: a try has ended, and so many seconds later the message is in its queue,
    without heartbeats until somebody takes it. `unless_started`: `unknown` means not begun unless started.
    """

    status: Status
    data: Any = None
    message: str | None = None
    percent: float | None = None
    reason: str | None = None
    again_in_s: float | None = None
    unless_started: bool | None = None


class ReceivedReply(Reply, frozen=True):
    """A reply as it came in; `extra` are its other keys, and a message that is no text, or None."""

    extra: dict[str, Any] | None = None


class OutputLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of output of a job; or with `stream`, out or err, a piece of what a process has written there.

    A piece may hold several lines, and need not end with one. `piece` numbers those of an attempt from 1, by
    which one that comes twice is known; 0 is not said.
    """

    message: str
    stream: Literal["", "out", "err"] = ""
    piece: int = 0


class Notification(msgspec.Struct, frozen=True):
    """Text for people, sent to ``notify.<transport>``."""

    slug: str
    message: str
    phase: str
    target: list[str]


class JobRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """Start a deployment of a stored playbook."""

    group: str
    playbook_id: str
    dynamic: dict[str, Any] = {}
    source_ip: str | None = None
    user_id: str | None = None


class JobAnswer(msgspec.Struct, frozen=True):
    """Answer to a job request; `id` is null when it was refused."""

    id: str | None
    error: str | msgspec.UnsetType | None = msgspec.UNSET


class Control(msgspec.Struct, frozen=True):
    """To worker hosts: cancel one attempt."""

    attempt: str
    reason: str = ""


class WorkerOrder(msgspec.Struct, frozen=True):
    """To worker hosts: pause or resume all workers of a type."""

    reason: str


class RunningJob(msgspec.Struct, frozen=True):
    """A job that a worker instance performs now."""

    attempt: str
    instance: str
    seconds: float


class Pong(msgspec.Struct, frozen=True):
    """Worker host to whoever sent a ping: who it is and how it stands."""

    worker: str
    queue: str
    host: str
    pid: int
    state: str
    version: str
    running: list[RunningJob] = []


#: headers of a step that say until when it may begin: how long after its publish, and the moment itself.
QUEUE_TIMEOUT_HEADER, NOT_AFTER_HEADER = "x-queue-timeout-s", "x-not-after"
_LIMIT_HEADERS = frozenset(
    ("x-deadline-s", "x-heartbeat-s", QUEUE_TIMEOUT_HEADER, NOT_AFTER_HEADER, "traceparent")
)


class StepHeaders(msgspec.Struct, frozen=True, gc=False):
    """Level 2 headers of a step message.

    Args:
        attempt: number of the attempt, from 1.
        is_idempotent: the step may safely run twice.
        idempotency_key: the same for all attempts of one step on one host.
        fence: grows with each holder of the step's lock; 0 without a lock.
        deadline_s: seconds the step may run; None is without limit.
        heartbeat_s: seconds between `running` replies; None is none wanted.
        traceparent: W3C trace context.
        queue_timeout_s: seconds after its publish in which it has to begin; None is without limit.
        not_after_s: that moment, in seconds since 1970; set when it is published.
    """

    attempt: int = 1
    is_idempotent: bool = False
    idempotency_key: str = ""
    fence: int = 0
    deadline_s: float | None = None
    heartbeat_s: float | None = None
    traceparent: str | None = None
    queue_timeout_s: float | None = None
    not_after_s: float | None = None


class ReplyHeaders(msgspec.Struct, frozen=True, gc=False):
    """Level 2 headers of a reply: who sent it, its number within the attempt, from 1, and its trace."""

    worker: str
    seq: int
    traceparent: str = ""


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder()
T = TypeVar("T")


def decode_object(body: bytes | str, content_encoding: str | None = None) -> dict[str, Any]:
    """Return the JSON object in `body`.

    Args:
        body: UTF-8 JSON; level 1 peers may give a str.
        content_encoding: the AMQP property; anything but ``utf-8`` is refused.

    Raises:
        UndecodableMessage: not UTF-8, not JSON, not an object, NaN, too deep, or a key stands twice.
    """
    if content_encoding and content_encoding.lower() not in ("utf-8", "utf8"):
        raise UndecodableMessage(f"content encoding {content_encoding!r} is not supported, send UTF-8", body)
    try:
        raw = body.encode("utf-8") if isinstance(body, str) else body
        value = _decoder.decode(raw)
        if isinstance(value, dict) and _may_repeat_keys(raw, value):
            _refuse_repeated_keys(raw)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise UndecodableMessage(f"expected a JSON object: {error}", body) from error
    if not isinstance(value, dict):
        raise UndecodableMessage(f"expected a JSON object, found {_json_type(value)}", body)
    return value


def decode(kind: type[T], body: bytes | str, content_encoding: str | None = None) -> T:
    """Return the message of type `kind` in `body`; unknown keys are ignored.

    Raises:
        UndecodableMessage: not a JSON object, or a field is missing or has the wrong type.
    """
    value = decode_object(body, content_encoding)
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise UndecodableMessage(f"not a {kind.__name__} message: {error}", body) from error


def step_of(value: Mapping[str, Any]) -> Step:
    """Return the step in a decoded body; a null `dynamic` or `notify`, as some peers send, is empty.

    Raises:
        UndecodableMessage: `parameters` is missing or no object, or another field has the wrong type.
    """
    group, parameters, dynamic = value.get("group"), value.get("parameters"), value.get("dynamic")
    if type(group) is str and type(parameters) is type(dynamic) is dict and value.get("notify") == {}:
        return Step(group, parameters.copy(), dynamic.copy())  # most steps, in a third of the time
    present = {key: item for key, item in value.items() if item is not None or key == "parameters"}
    try:
        return msgspec.convert({"group": "", **present}, Step)
    except msgspec.ValidationError as error:
        raise UndecodableMessage(f"not a step message: {error}", encode(dict(value))) from error


def decode_reply(body: bytes | str, content_encoding: str | None = None) -> ReceivedReply:
    """Return the reply in `body`.

    Raises:
        UndecodableMessage: not a JSON object.
        MessageError: an object, but its status is not one we know.
    """
    value = decode_object(body, content_encoding)
    status = value.get("status")
    if not isinstance(status, str) or status not in STATUSES:
        known = ", ".join(sorted(STATUSES))
        raise MessageError(f"the worker's reply has status {status!r:.60}; known statuses: {known}")
    message, percent, reason = value.get("message"), value.get("percent"), value.get("reason")
    is_number = isinstance(percent, int | float) and not isinstance(percent, bool)
    return ReceivedReply(
        status=status,  # type: ignore[arg-type]  # checked against STATUSES above
        data=value.get("data"),
        message=message if message is None else str(message),
        percent=float(min(max(percent, 0.0), 100.0)) if is_number and percent is not None else None,
        reason=reason if reason is None else str(reason),
        again_in_s=_seconds_of(value.get("again_in_s")),
        unless_started=value.get("unless_started") is True or None,
        extra=_extra_of(value),
    )


def _extra_of(value: Mapping[str, Any]) -> dict[str, Any] | None:
    known = ("status", "data", "message") if isinstance(value.get("message"), str) else ("status", "data")
    extra = {key: item for key, item in value.items() if key not in known and item is not None}
    return extra or None


def encode(message: Any, *, kind: str = "", limit_bytes: int = 0) -> bytes:
    """Return the UTF-8 JSON of a message, a dict or any JSON-able value; NaN becomes null.

    Args:
        message: what to encode.
        kind: name for errors, for example ``step``.
        limit_bytes: largest size; 0 is without limit.

    Raises:
        MessageError: JSON cannot carry it.
        MessageTooLarge: over the limit.
    """
    try:
        body = _encoder.encode(message)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise MessageError(f"{kind or 'message'} cannot be sent as JSON: {error}") from error
    if limit_bytes and len(body) > limit_bytes:
        raise MessageTooLarge(kind or "message", len(body), limit_bytes)
    return body


def cut_line(text: str) -> str:
    """Return `text`, cut with a mark when its UTF-8 is over the limit of an output line."""
    if len(text) * 4 <= OUTPUT_LIMIT_BYTES:
        return text
    raw = text.encode("utf-8", "replace")
    if len(raw) <= OUTPUT_LIMIT_BYTES:
        return text
    return raw[: OUTPUT_LIMIT_BYTES - len(CUT_MARK)].decode("utf-8", "ignore") + CUT_MARK


def headers_of_step(headers: StepHeaders) -> dict[str, Any]:
    """Return the AMQP headers table of a level 2 step message."""
    table: dict[str, Any] = {
        "x-reworker": 2,
        "x-attempt": headers.attempt,
        "x-idempotent": headers.is_idempotent,
        "x-idempotency-key": headers.idempotency_key,
        "x-fence": headers.fence,
    }
    if headers.deadline_s is not None:
        table["x-deadline-s"] = str(headers.deadline_s)
    if headers.heartbeat_s is not None:
        table["x-heartbeat-s"] = str(headers.heartbeat_s)
    if headers.queue_timeout_s is not None:
        table[QUEUE_TIMEOUT_HEADER] = str(headers.queue_timeout_s)
    if headers.not_after_s is not None:
        table[NOT_AFTER_HEADER] = str(headers.not_after_s)
    if headers.traceparent:
        table["traceparent"] = headers.traceparent
    return table


def step_headers_of(table: Mapping[str, Any] | None) -> StepHeaders | None:
    """Return the level 2 headers, or None when the message is level 1; odd values count as absent."""
    if not table or table.get("x-reworker") != 2:
        return None
    number, fence = table.get("x-attempt", 1), table.get("x-fence", 0)
    plain = (
        number if type(number) is int else 1,
        table.get("x-idempotent") is True,
        str(table.get("x-idempotency-key") or ""),
        fence if type(fence) is int else 0,
    )
    if _LIMIT_HEADERS.isdisjoint(table):  # a short step that nobody traces
        return StepHeaders(*plain)
    return StepHeaders(
        *plain,
        deadline_s=seconds_in(table, "x-deadline-s"),
        heartbeat_s=seconds_in(table, "x-heartbeat-s"),
        queue_timeout_s=seconds_in(table, QUEUE_TIMEOUT_HEADER),
        not_after_s=seconds_in(table, NOT_AFTER_HEADER),
        traceparent=str(table["traceparent"]) if table.get("traceparent") else None,
    )


def headers_of_reply(headers: ReplyHeaders) -> dict[str, Any]:
    """Return the AMQP headers table of a level 2 reply."""
    table: dict[str, Any] = {"x-reworker": 2, "x-worker": headers.worker, "x-seq": headers.seq}
    if headers.traceparent:
        table["traceparent"] = headers.traceparent
    return table


def schemas() -> dict[str, dict[str, Any]]:
    """Return the JSON Schema (draft-07) of each message, by name."""
    kinds = (Step, Reply, OutputLine, Notification, JobRequest, JobAnswer, Control, WorkerOrder, Pong)
    return {kind.__name__: _schema(kind) for kind in kinds}


def _schema(kind: type) -> dict[str, Any]:
    (top,), definitions = msgspec.json.schema_components([kind], ref_template="#/definitions/{name}")
    own = definitions.pop(kind.__name__, top)
    extra = {"definitions": definitions} if definitions else {}
    return {"$schema": "http://json-schema.org/draft-07/schema#", **own, **extra}


def seconds_in(table: Mapping[str, Any] | None, header: str) -> float | None:
    """Return the seconds that a header holds, as text or number; odd values count as absent."""
    return _seconds_of(table[header]) if table and header in table else None


def _seconds_of(value: Any) -> float | None:
    """AMQP tables carry floats poorly between clients, so seconds travel as text; numbers are taken too."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return seconds if 0 < seconds < float("inf") else None


def _json_type(value: Any) -> str:
    names = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _may_repeat_keys(raw: bytes, value: dict[str, Any]) -> bool:
    """Tell cheaply whether a key may stand twice: the decoder keeps the last one, so quotes go missing."""
    again = _encoder.encode(value)  # as our own messages were
    return again != raw and (raw.count(b'"') != again.count(b'"') or b"\\u0022" in raw)


def _refuse_repeated_keys(raw: bytes) -> None:
    def check(pairs: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise UndecodableMessage(f"the key {key!r} stands twice in one object", raw)
            seen.add(key)

    json.loads(raw, object_pairs_hook=check)
