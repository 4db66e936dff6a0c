"""The keys of a queue in a topology file, and the AMQP arguments that they stand for."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from reworker.fsm import checks
from reworker.fsm.document import Node, Problems
from reworker.topology.model import QUEUE_TYPES

#: milliseconds that the broker can count for a message or a queue. Source: RabbitMQ, 2**32 - 1.
MAX_MS = 0xFFFFFFFF
#: largest number that YAML gives us here and AMQP carries.
MAX_NUMBER = 2**63 - 1
#: source: RabbitMQ, x-max-priority.
MAX_PRIORITY = 255
#: bytes of a name or routing key. Source: AMQP 0-9-1, short string.
MAX_NAME_BYTES = 255
OVERFLOWS = ("drop-head", "reject-publish", "reject-publish-dlx")

_WORKER_NAME = re.compile(r"[^\s*#]{1,200}")

Reader = Callable[[Problems, Node, str], Any]


def name(problems: Problems, node: Node, path: str) -> str:
    """Return the name of an exchange or queue of ours; the broker keeps ``amq.`` for itself."""
    value = text(problems, node, path)
    if isinstance(node.value, str) and not value:
        problems.add("must not be empty", node.line, path)
    if value.startswith("amq."):
        problems.add(
            f"{checks.shown(value)} is reserved: the broker makes what begins with amq.", node.line, path
        )
    return value


def text(problems: Problems, node: Node, path: str) -> str:
    """Return what AMQP can carry as a name or routing key; it may be empty."""
    value = checks.text(problems, node, path)
    if len(value.encode()) > MAX_NAME_BYTES or not value.isprintable():
        problems.add(f"must be one line of at most {MAX_NAME_BYTES} bytes", node.line, path)
    return value


def worker_name(problems: Problems, node: Node, path: str) -> str:
    """Return what may be a part of a worker queue's name: a wildcard would take the steps of others."""
    value = checks.text(problems, node, path)
    if not _WORKER_NAME.fullmatch(value):
        problems.add(
            f"{checks.shown(value)} is not 1 to 200 characters without spaces, * and #", node.line, path
        )
    return value


def choice(known: tuple[str, ...]) -> Reader:
    """Return a reader of one of these words."""

    def read(problems: Problems, node: Node, path: str) -> str:
        if node.value not in known:
            hint = checks.did_you_mean(str(node.value), known)
            problems.add(f"unknown value {checks.kind(node)}{hint}", node.line, path)
        return str(node.value)

    return read


def _milliseconds(problems: Problems, node: Node, path: str) -> int:
    found = round(1000 * checks.duration_s(problems, node, path))
    if found > MAX_MS:
        problems.add(f"is longer than the broker can count, {MAX_MS // 1000} s", node.line, path)
    return found


def _number(least: int, most: int = MAX_NUMBER) -> Reader:
    return lambda problems, node, path: checks.whole(problems, node, path, least=least, most=most)


#: key -> AMQP argument and how its value is read.
ARGUMENTS: dict[str, tuple[str, Reader]] = {
    "type": ("x-queue-type", choice(QUEUE_TYPES)),
    "dead_letter_exchange": ("x-dead-letter-exchange", text),
    "dead_letter_key": ("x-dead-letter-routing-key", text),
    "message_ttl": ("x-message-ttl", _milliseconds),
    "expires": ("x-expires", _milliseconds),
    "max_length": ("x-max-length", _number(0)),
    "max_length_bytes": ("x-max-length-bytes", _number(0)),
    "overflow": ("x-overflow", choice(OVERFLOWS)),
    "max_priority": ("x-max-priority", _number(1, MAX_PRIORITY)),
    "delivery_limit": ("x-delivery-limit", _number(0)),
    "consumer_timeout": ("x-consumer-timeout", _milliseconds),
    "single_active_consumer": ("x-single-active-consumer", checks.flag),
}
#: every key that becomes an argument; ``arguments`` takes those that have no key here.
KEYS = (*ARGUMENTS, "arguments")


def arguments_of(problems: Problems, entries: Mapping[str, Node], path: str) -> dict[str, Any]:
    """Return the AMQP arguments that the keys of one queue ask for.

    Args:
        problems: takes what is wrong.
        entries: keys of the queue; others than `KEYS` are left alone.
        path: of the queue in the document.
    """
    found: dict[str, Any] = {}
    for key, (argument, read) in ARGUMENTS.items():
        if key in entries:
            found[argument] = read(problems, entries[key], f"{path}.{key}")
    if "arguments" in entries:
        here = f"{path}.arguments"
        for argument, node in checks.mapping(problems, entries["arguments"], here, "arguments").items():
            if argument in found:
                problems.add(f"{argument} is given twice", node.line, here)
            elif node.value is None:
                problems.add(f"{checks.shown(argument)} has no value", node.line, here)
            found.setdefault(argument, node.plain())
    return found


def refuse_impossible(
    problems: Problems, arguments: Mapping[str, Any], *, is_lasting: bool, line: int, path: str
) -> None:
    """Add a problem for each argument that no broker takes together with the others.

    Args:
        problems: takes them.
        arguments: all of a queue.
        is_lasting: it is durable and not deleted by itself.
        line: of the queue in the file.
        path: of the queue in the document.
    """
    is_quorum = arguments.get("x-queue-type") == "quorum"
    if is_quorum and not is_lasting:
        problems.add("a quorum queue is always durable and never auto_delete", line, path)
    if is_quorum and "x-max-priority" in arguments:
        problems.add("quorum queues have no max_priority", line, path)
    if not is_quorum and "x-delivery-limit" in arguments:
        problems.add("only quorum queues count deliveries: add type: quorum", line, path)
    if "x-dead-letter-routing-key" in arguments and "x-dead-letter-exchange" not in arguments:
        problems.add("dead_letter_key needs dead_letter_exchange", line, path)
