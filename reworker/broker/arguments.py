"""The `x-` arguments of a queue, checked and put into one record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from reworker.broker.codec import Table, raw_text
from reworker.broker.errors import precondition_failed

#: largest accepted time to live or expiry, in milliseconds. Source: RabbitMQ 3.10, 2**32 - 1.
MAX_MS = 0xFFFFFFFF
MAX_PRIORITY = 255
#: a short string's limit: what is used as a name or routing key has to fit in. Source: AMQP 0-9-1.
MAX_NAME_BYTES = 255

_TEXTS = frozenset(
    {"x-dead-letter-exchange", "x-dead-letter-routing-key", "x-overflow", "x-queue-type", "x-queue-mode"}
)
_NUMBERS = frozenset(
    {"x-message-ttl", "x-expires", "x-max-length", "x-max-length-bytes", "x-max-priority", "x-delivery-limit"}
)
_OVERFLOWS = frozenset({"drop-head", "reject-publish", "reject-publish-dlx"})
_TYPES = frozenset({"classic", "quorum"})
#: what it means when an argument is not there: a queue that says so is the same. Source: RabbitMQ 3.10, 4.3.
UNSAID = {"x-queue-type": "classic"}
#: what a type of queue refuses. Source: RabbitMQ 3.10.
_UNSUPPORTED = {"classic": ("x-delivery-limit",), "quorum": ("x-max-priority", "x-queue-mode")}


@dataclass(frozen=True)
class QueueOptions:
    """What a queue's arguments ask for; times in seconds, None where nothing was asked."""

    message_ttl_s: float | None = None
    expires_s: float | None = None
    max_length: int | None = None
    max_length_bytes: int | None = None
    max_priority: int = 0
    delivery_limit: int | None = None
    overflow: str = "drop-head"
    dead_letter_exchange: str | None = None
    dead_letter_key: str | None = None
    is_quorum: bool = False
    is_single_active: bool = False


def queue_options(arguments: Table, name: str, vhost: str) -> QueueOptions:
    """Return the options that `arguments` ask for; unknown arguments are ignored as RabbitMQ does.

    Raises:
        BrokerError: 406, a known argument has a wrong type or value.
    """
    for key, value in arguments.items():
        problem = _problem(key, value)
        if problem:
            raise precondition_failed(f"invalid arg '{key}' for queue '{name}' in vhost '{vhost}': {problem}")
    kind = arguments.get("x-queue-type", UNSAID["x-queue-type"])
    for key in _UNSUPPORTED[kind]:
        if key in arguments:
            raise precondition_failed(
                f"invalid arg '{key}' for queue '{name}' in vhost '{vhost}' of queue type rabbit_{kind}_queue"
            )
    if "x-dead-letter-routing-key" in arguments and "x-dead-letter-exchange" not in arguments:
        raise precondition_failed(
            f"invalid arg 'x-dead-letter-routing-key' for queue '{name}' in vhost '{vhost}': "
            "routing_key_but_no_dlx_defined"
        )
    return QueueOptions(
        message_ttl_s=_seconds(arguments.get("x-message-ttl")),
        expires_s=_seconds(arguments.get("x-expires")),
        max_length=arguments.get("x-max-length"),
        max_length_bytes=arguments.get("x-max-length-bytes"),
        max_priority=arguments.get("x-max-priority", 0),
        delivery_limit=arguments.get("x-delivery-limit"),
        overflow=arguments.get("x-overflow", "drop-head"),
        dead_letter_exchange=arguments.get("x-dead-letter-exchange"),
        dead_letter_key=arguments.get("x-dead-letter-routing-key"),
        is_quorum=kind == "quorum",
        is_single_active=bool(arguments.get("x-single-active-consumer", False)),
    )


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


def _problem(key: str, value: Any) -> str:
    if key in _TEXTS:
        return _text_problem(key, value)
    if key in _NUMBERS:
        return _number_problem(key, value)
    if key == "x-single-active-consumer" and not isinstance(value, bool):
        return f"{{unacceptable_type,{type(value).__name__}}}"
    return ""


def _text_problem(key: str, value: Any) -> str:
    if not isinstance(value, str):
        return f"{{unacceptable_type,{type(value).__name__}}}"
    if len(raw_text(value)) > MAX_NAME_BYTES:
        return "too long for a name"
    if key == "x-overflow" and value not in _OVERFLOWS:
        return "invalid_overflow"
    if key == "x-queue-type" and value not in _TYPES:
        return "unsupported queue type"
    return ""


def _number_problem(key: str, value: Any) -> str:
    if not isinstance(value, int) or isinstance(value, bool):
        return f"{{unacceptable_type,{type(value).__name__}}}"
    if value < 0:
        return f"{{value_negative,{value}}}"
    if key == "x-expires" and value == 0:
        return "{value_zero,0}"
    if key in ("x-message-ttl", "x-expires") and value > MAX_MS:
        return f"{{value_too_big,{value}}}"
    if key == "x-max-priority" and value > MAX_PRIORITY:
        return f"{{max_value_exceeded,{value}}}"
    return ""
