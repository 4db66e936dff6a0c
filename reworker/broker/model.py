"""What a broker keeps: messages, their places in queues, exchanges, bindings. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

from reworker.broker import properties
from reworker.broker.codec import Table, short
from reworker.broker.errors import precondition_failed

#: routes remembered per exchange before the memory is dropped.
MAX_REMEMBERED_ROUTES = 10_000
#: largest accepted body. Source: RabbitMQ 3.10, max_message_size.
MAX_BODY_BYTES = 128 * 1024 * 1024
#: what a waiting message costs beside its bytes, roughly; counted so that many empty ones are capped too.
MESSAGE_OVERHEAD_BYTES = 512

EXCHANGE_TYPES = frozenset({"direct", "fanout", "topic", "headers"})


class Message:
    """A published message; immutable and shared by every queue it is in.

    Args:
        exchange: the exchange it was published to.
        routing_key: its routing key.
        props: raw properties.
        body: the body.
        facts: what `properties.facts` found in `props`, when it is known already.

    Raises:
        BrokerError: 406, the expiration is not a number of milliseconds; 502, bad properties.
    """

    __slots__ = (
        "address",
        "body",
        "exchange",
        "expiration_s",
        "is_persistent",
        "priority",
        "props",
        "routing_key",
    )

    def __init__(
        self,
        exchange: str,
        routing_key: str,
        props: bytes,
        body: bytes,
        facts: properties.Facts | None = None,
    ) -> None:
        facts = facts or properties.facts(props)
        self.exchange, self.routing_key, self.props, self.body = exchange, routing_key, props, body
        self.address = short(exchange) + short(routing_key)
        self.is_persistent, self.priority = facts.is_persistent, facts.priority
        self.expiration_s = _expiration_s(facts.expiration)

    @property
    def size_bytes(self) -> int:
        """What it counts towards the backlog."""
        return len(self.body) + len(self.props) + MESSAGE_OVERHEAD_BYTES


def _expiration_s(raw: bytes | None) -> float | None:
    if raw is None:
        return None
    if not raw.isdigit() or int(raw) > 0xFFFFFFFF:
        raise precondition_failed(f"invalid expiration '{raw.decode(errors='replace')}'")
    return int(raw) / 1000


class Entry:
    """One message's place in one queue; it keeps its place when it is requeued."""

    __slots__ = ("delivery_count", "expires_mono_s", "is_redelivered", "is_stored", "message", "position")

    def __init__(self, message: Message, position: int, expires_mono_s: float | None = None) -> None:
        self.message, self.position, self.expires_mono_s = message, position, expires_mono_s
        self.is_redelivered = self.is_stored = False
        self.delivery_count = 0


class Binding(NamedTuple):
    """From an exchange to a queue or exchange of the same vhost; `arguments` are raw, so types count."""

    source: str
    kind: str
    destination: str
    routing_key: str
    arguments: bytes


class Exchange:
    """Names where its messages go. `route` remembers what it found until a binding changes."""

    def __init__(
        self,
        name: str,
        kind: str,
        *,
        durable: bool = True,
        auto_delete: bool = False,
        internal: bool = False,
        arguments: Table | None = None,
    ) -> None:
        self.name, self.kind = name, kind
        self.durable, self.auto_delete, self.internal = durable, auto_delete, internal
        self.arguments = arguments if arguments is not None else Table()
        alternate = self.arguments.get("alternate-exchange")
        self.alternate = alternate if isinstance(alternate, str) else None
        self.bindings: dict[Binding, None] = {}
        self._by_key: dict[str, list[Binding]] = {}
        self._remembered: dict[str, tuple[Binding, ...]] = {}

    def add(self, binding: Binding) -> None:
        """Add a binding; the same one twice is one."""
        if binding not in self.bindings:
            self.bindings[binding] = None
            self._by_key.setdefault(binding.routing_key, []).append(binding)
            self._remembered.clear()

    def remove(self, binding: Binding) -> None:
        """Remove a binding that exists."""
        del self.bindings[binding]
        same_key = self._by_key[binding.routing_key]
        same_key.remove(binding)
        if not same_key:
            del self._by_key[binding.routing_key]
        self._remembered.clear()

    def route(self, key: str, props: bytes) -> Iterable[Binding]:
        """Return the bindings that take a message with this routing key and these raw properties."""
        if self.kind == "direct":
            return self._by_key.get(key, ())
        if self.kind == "fanout":
            return self.bindings
        if self.kind == "headers":
            return self._route_headers(props)
        found = self._remembered.get(key)
        if found is None:
            words = _words(key)
            matching = [
                self._by_key[pattern] for pattern in self._by_key if _topic_matches(_words(pattern), words)
            ]
            found = tuple(binding for bindings in matching for binding in bindings)
            if len(self._remembered) >= MAX_REMEMBERED_ROUTES:
                self._remembered.clear()
            self._remembered[key] = found
        return found

    def _route_headers(self, props: bytes) -> list[Binding]:
        headers = properties.headers_of(props)
        return [binding for binding in self.bindings if _headers_match(binding.arguments, headers)]


def _words(key: str) -> list[str]:
    return key.split(".") if key else []


def _topic_matches(pattern: list[str], words: list[str]) -> bool:
    """Match word by word, keeping every reachable place in the pattern: linear for any number of #."""
    places = _through_hashes(pattern, {0})
    for word in words:
        ahead = {at + 1 for at in places if at < len(pattern) and pattern[at] in (word, "*")}
        staying = {at for at in places if at < len(pattern) and pattern[at] == "#"}
        places = _through_hashes(pattern, ahead | staying)
    return len(pattern) in places


def _through_hashes(pattern: list[str], places: set[int]) -> set[int]:
    found = set(places)
    for place in places:
        at = place
        while at < len(pattern) and pattern[at] == "#":
            at += 1
            found.add(at)
    return found


def _headers_match(arguments: bytes, headers: dict[bytes, bytes]) -> bool:
    wanted = properties.fields(arguments)
    mode = wanted.get(b"x-match", properties.text_value(b"all"))[5:]
    checked = {
        key: value for key, value in wanted.items() if mode.endswith(b"-with-x") or not key.startswith(b"x-")
    }
    checked.pop(b"x-match", None)
    # a void value asks for the presence of the header only
    hits = (key in headers and (value == b"V" or headers[key] == value) for key, value in checked.items())
    return any(hits) if mode.startswith(b"any") else all(hits)


def check_bind_arguments(kind: str, arguments: Table) -> None:
    """Refuse an x-match that no headers exchange knows.

    Raises:
        BrokerError: 406.
    """
    mode = arguments.get("x-match", "all")
    if kind == "headers" and mode not in ("all", "any", "all-with-x", "any-with-x"):
        raise precondition_failed(f"Invalid x-match field value {mode!r}; expected all or any")


class Timer(Protocol):
    """A pending call that can be taken back; asyncio's TimerHandle is one."""

    def cancel(self) -> None:
        """Take the call back; safe twice and after it ran."""
        ...


class Backlog:
    """Bytes of all waiting and unsettled messages of a broker, against their limit."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes, self.size_bytes = limit_bytes, 0

    @property
    def is_full(self) -> bool:
        """Whether publishers must wait."""
        return self.size_bytes > self.limit_bytes


class Runtime(Protocol):
    """What the model asks of the server around it; tests pass a fake one."""

    backlog: Backlog

    def mono_s(self) -> float:
        """Return monotonic seconds."""
        ...

    def unix_s(self) -> float:
        """Return seconds since 1970."""
        ...

    def call_later(self, delay_s: float, call: Callable[[], None]) -> Timer:
        """Run `call` on the loop after `delay_s` seconds."""
        ...

    def jitter_s(self) -> float:
        """Return how many seconds to put off what a broker may reorder; 0 when jitter is off."""
        ...
