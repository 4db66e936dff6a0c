"""A virtual host: its exchanges, queues and bindings, and the way of a message through them. No I/O."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from reworker.broker import properties
from reworker.broker.arguments import UNSAID, queue_options
from reworker.broker.codec import Table, decode_table, text
from reworker.broker.consumers import Consumer
from reworker.broker.dead_letter import dead_lettered, is_cycle
from reworker.broker.errors import BrokerError, not_found, precondition_failed, refused
from reworker.broker.model import (
    EXCHANGE_TYPES,
    Binding,
    Entry,
    Exchange,
    Message,
    Runtime,
    check_bind_arguments,
)
from reworker.broker.queues import Queue

if TYPE_CHECKING:
    from reworker.broker.store import Store

#: the exchanges every vhost has. Source: AMQP 0-9-1, 3.1.3, and RabbitMQ.
PREDECLARED = {
    "": "direct",
    "amq.direct": "direct",
    "amq.fanout": "fanout",
    "amq.topic": "topic",
    "amq.headers": "headers",
    "amq.match": "headers",
}


class VHost:
    """Everything under one vhost name.

    Args:
        name: the vhost's name.
        runtime: time and the backlog.
        store: keeps what is durable, or None.
    """

    def __init__(self, name: str, runtime: Runtime, store: Store | None = None) -> None:
        self.name, self.runtime = name, runtime
        self.store = store
        self.exchanges = {name: Exchange(name, kind) for name, kind in PREDECLARED.items()}
        self.queues: dict[str, Queue] = {}
        #: who consumes direct replies, by the token in the reply address.
        self.reply_sinks: dict[str, Callable[[Message], None]] = {}
        self._bindings_to: dict[tuple[str, str], set[Binding]] = {}
        self._dying: deque[tuple[Queue, Message, str]] = deque()
        self._is_burying = False

    # Looking up

    def exchange(self, name: str) -> Exchange:
        """Return an exchange; raises 404."""
        found = self.exchanges.get(name)
        if found is None:
            raise not_found("exchange", name, self.name)
        return found

    def queue(self, name: str, owner: object) -> Queue:
        """Return a queue that this connection may use; raises 404, or 405 when it is another's."""
        found = self.queues.get(name)
        if found is None:
            raise not_found("queue", name, self.name)
        if found.owner is not None and found.owner is not owner:
            raise self._locked(name)
        return found

    def _locked(self, name: str) -> BrokerError:
        """Return the error for another connection's exclusive queue."""
        return BrokerError(
            405,
            f"cannot obtain exclusive access to locked queue '{name}' in vhost '{self.name}'. It could be "
            "originally declared on another connection or the exclusive property value does not match that "
            "of the original declaration.",
        )

    # Exchanges

    def declare_exchange(self, wanted: Exchange) -> None:
        """Add an exchange, or check that the one of that name is the same; raises 403, 406, 503."""
        if wanted.kind not in EXCHANGE_TYPES:
            raise BrokerError(503, f"unknown exchange type '{wanted.kind}'")
        found = self.exchanges.get(wanted.name)
        if found is None:
            if wanted.name.startswith("amq."):
                raise refused(f"exchange name '{wanted.name}' contains reserved prefix 'amq.*'")
            if "alternate-exchange" in wanted.arguments and wanted.alternate is None:
                raise precondition_failed(
                    f"invalid arg 'alternate-exchange' for exchange '{wanted.name}' in vhost '{self.name}'"
                )
            self.exchanges[wanted.name] = wanted
            if wanted.durable and self.store:
                self.store.definitions.add_exchange(self.name, wanted)
            return
        for word, field in (("type", "kind"), ("durable",) * 2, ("auto_delete",) * 2, ("internal",) * 2):
            self._must_equal(word, "exchange", wanted.name, getattr(wanted, field), getattr(found, field))
        self._must_equal("alternate-exchange", "exchange", wanted.name, wanted.alternate, found.alternate)

    def _must_equal(self, word: str, kind: str, name: str, received: object, current: object) -> None:
        if received != current:
            raise precondition_failed(
                f"inequivalent arg '{word}' for {kind} '{name}' in vhost '{self.name}': "
                f"received {_shown(received)} but current is {_shown(current)}"
            )

    def delete_exchange(self, name: str, *, if_unused: bool = False) -> None:
        """Delete an exchange with its bindings; raises 403, 406. An unknown one is no error."""
        if name.startswith("amq."):
            raise refused(f"deletion of system exchange '{name}' in vhost '{self.name}' not allowed")
        found = self.exchanges.get(name)
        if found is None:
            return
        if if_unused and found.bindings:
            raise precondition_failed(f"exchange '{name}' in vhost '{self.name}' in use")
        del self.exchanges[name]
        if found.durable and self.store:
            self.store.definitions.remove_exchange(self.name, name)
        for binding in list(found.bindings):
            self._drop_binding(binding)
        self._unbind_all("exchange", name)

    # Bindings

    def bind(self, binding: Binding, arguments: Table) -> None:
        """Add a binding; both ends exist. Raises 404, 406."""
        source = self.exchange(binding.source)
        check_bind_arguments(source.kind, arguments)
        if binding in source.bindings:
            return
        source.add(binding)
        self._bindings_to.setdefault((binding.kind, binding.destination), set()).add(binding)
        if self.store and source.durable and self._is_durable(binding):
            self.store.definitions.add_binding(self.name, binding)

    def _is_durable(self, binding: Binding) -> bool:
        ends: dict[str, Queue] | dict[str, Exchange] = (
            self.queues if binding.kind == "queue" else self.exchanges
        )
        end = ends.get(binding.destination)
        return end is not None and end.durable and getattr(end, "owner", None) is None

    def unbind(self, binding: Binding) -> None:
        """Remove a binding; an unknown one, or unknown ends, are no error."""
        source = self.exchanges.get(binding.source)
        if source and binding in source.bindings:
            self._drop_binding(binding)
            self._reap(source)

    def _drop_binding(self, binding: Binding) -> None:
        source = self.exchanges.get(binding.source)
        if source:
            source.remove(binding)
        self._bindings_to[binding.kind, binding.destination].discard(binding)
        if self.store:
            self.store.definitions.remove_binding(self.name, binding)

    def _unbind_all(self, kind: str, name: str) -> None:
        gone = self._bindings_to.pop((kind, name), set())
        for binding in gone:
            source = self.exchanges.get(binding.source)
            if source is None:
                continue
            source.remove(binding)
            if self.store:
                self.store.definitions.remove_binding(self.name, binding)
            self._reap(source)

    def _reap(self, exchange: Exchange) -> None:
        if exchange.auto_delete and not exchange.bindings and self.exchanges.get(exchange.name) is exchange:
            self.delete_exchange(exchange.name)

    # Queues

    def declare_queue(self, wanted: Queue) -> Queue:
        """Add a queue, or return the equal one of that name; raises 403, 405, 406."""
        name, found = wanted.name, self.queues.get(wanted.name)
        if found is None:
            self.queues[name] = wanted
            wanted.touch()
            if wanted.durable and wanted.owner is None and self.store:
                wanted.store_id = self.store.definitions.add_queue(self.name, wanted)
            return wanted
        if found.owner is not wanted.owner:
            raise self._locked(name)
        for word in ("durable", "auto_delete"):
            self._must_equal(word, "queue", name, getattr(wanted, word), getattr(found, word))
        for key in sorted(wanted.arguments.keys() | found.arguments.keys(), key=str):
            received, current = (one.arguments.get(key, UNSAID.get(key)) for one in (wanted, found))
            self._must_equal(key, "queue", name, received, current)
        found.touch()
        return found

    def new_queue(
        self, name: str, arguments: Table, *, durable: bool, auto_delete: bool, owner: object | None
    ) -> Queue:
        """Return a queue for `declare_queue`; an empty name becomes one of the server's. Raises 406."""
        name = name or f"amq.gen-{secrets.token_urlsafe(16)}"
        options = queue_options(arguments, name, self.name)
        if options.is_quorum and (not durable or owner is not None or auto_delete):
            wrong = "durable" if not durable else "exclusive" if owner is not None else "auto-delete"
            raise precondition_failed(
                f"invalid property '{wrong}' for queue '{name}' in vhost '{self.name}': quorum queues are "
                "durable, not exclusive and not auto-delete"
            )
        return Queue(name, self, options, arguments, durable=durable, auto_delete=auto_delete, owner=owner)

    def delete_queue(self, queue: Queue) -> int:
        """Delete a queue, tell its consumers and return how many messages it had waiting."""
        count = queue.ready_count
        self.queues.pop(queue.name, None)
        if queue.store_id and self.store:
            self.store.remove_queue(queue.store_id)
            queue.store_id = 0
        for consumer in queue.close():
            consumer.sink.cancel_notify(consumer)
        self._unbind_all("queue", queue.name)
        return count

    def unsubscribe(self, queue: Queue, consumer: Consumer) -> None:
        """Remove a consumer, and its queue when that was an auto-delete queue's last."""
        if queue.unsubscribe(consumer) and not queue.is_deleted:
            self.delete_queue(queue)

    # Messages

    def _route(
        self, exchange: Exchange, message: Message, *, carbon_keys: tuple[str, ...] = ()
    ) -> list[Queue]:
        """Return the queues a message goes to, each once, by way of bound and alternate exchanges."""
        if exchange.name == "" and not carbon_keys:
            queue = self.queues.get(message.routing_key)
            return [queue] if queue else []
        found: dict[str, Queue] = {}
        seen, todo = {exchange.name}, [exchange]
        while todo:
            at = todo.pop()
            for key in (message.routing_key, *carbon_keys):
                names = self._collect(at, key, message.props, found)
                todo.extend(
                    self.exchanges[name] for name in names if name not in seen and name in self.exchanges
                )
                seen.update(names)
        return list(found.values())

    def _collect(self, exchange: Exchange, key: str, props: bytes, found: dict[str, Queue]) -> list[str]:
        if exchange.name == "":
            if key in self.queues:
                found[key] = self.queues[key]
            return []
        bindings = exchange.route(key, props)
        for binding in bindings:
            if binding.kind == "queue":
                found[binding.destination] = self.queues[binding.destination]
        if not bindings and exchange.alternate is not None:
            return [exchange.alternate]
        return [binding.destination for binding in bindings if binding.kind == "exchange"]

    def publish(self, exchange: Exchange, message: Message) -> tuple[bool, bool]:
        """Route a message into its queues.

        Returns:
            (whether any queue was found, whether every one of them took it).
        """
        carbon_keys, message = _carbon_copies(message) if b"CC" in message.props else ((), message)
        queues = self._route(exchange, message, carbon_keys=carbon_keys)
        taken = True
        for queue in queues:
            taken = queue.push(message) and taken
        return bool(queues), taken

    def dead_letter(self, queue: Queue, message: Message, reason: str) -> None:
        """Send a message that died in `queue` to its dead-letter exchange, if it has one.

        One after the other, so that a long chain of full queues is no deep recursion.
        """
        if queue.options.dead_letter_exchange is None:
            return
        self._dying.append((queue, message, reason))
        if self._is_burying:
            return
        self._is_burying = True
        try:
            while self._dying:
                self._bury(*self._dying.popleft())
        finally:
            self._is_burying = False

    def _bury(self, queue: Queue, message: Message, reason: str) -> None:
        exchange = self.exchanges.get(queue.options.dead_letter_exchange or "")
        if exchange is None:
            return
        dead = dead_lettered(message, queue.name, queue.options, reason, int(self.runtime.unix_s()))
        carbon_keys, dead = _carbon_copies(dead) if b"CC" in dead.props else ((), dead)
        for target in self._route(exchange, dead, carbon_keys=carbon_keys):
            if not is_cycle(dead, target.name):
                target.push(dead)

    def keep(self, queue: Queue, entry: Entry) -> None:
        """Store an entry, or its new delivery state."""
        if self.store and queue.store_id:
            self.store.keep(queue.store_id, entry)

    def forget(self, queue: Queue, entry: Entry) -> None:
        """Remove an entry from the store."""
        if self.store and queue.store_id:
            self.store.forget(queue.store_id, entry)


def restored_vhosts(store: Store, runtime: Runtime) -> dict[str, VHost]:
    """Return the kept vhosts by name, their durable definitions and persistent messages in place."""
    vhosts = {name: _restored(name, store, runtime) for name in store.definitions.vhosts()}
    for vhost in vhosts.values():
        # first now, when every dead-letter exchange is there: this may expire messages
        vhost.store = store
        for queue in list(vhost.queues.values()):
            queue.dispatch()
    return vhosts


def _restored(name: str, store: Store, runtime: Runtime) -> VHost:
    vhost = VHost(name, runtime)
    for exchange in store.definitions.exchanges(name):
        vhost.declare_exchange(exchange)
    for kept in store.definitions.queues(name):
        arguments = decode_table(kept.arguments)
        queue = vhost.new_queue(kept.name, arguments, durable=True, auto_delete=kept.auto_delete, owner=None)
        queue.store_id = kept.store_id
        vhost.declare_queue(queue)
        for entry in store.entries(kept.store_id):
            queue.restore(entry)
    for binding in store.definitions.bindings(name):
        vhost.bind(binding, decode_table(binding.arguments))
    return vhost


def _carbon_copies(message: Message) -> tuple[tuple[str, ...], Message]:
    """Return the extra routing keys of the CC and BCC headers, and the message without BCC."""
    headers = properties.headers_of(message.props)
    keys: list[str] = []
    for name in (b"CC", b"BCC"):
        if name not in headers:
            continue
        items = properties.array_items(headers[name])
        if items is None or any(item[:1] != b"S" for item in items):
            raise precondition_failed(
                f"invalid message: the {name.decode()} header is not an array of long strings"
            )
        keys.extend(text(item[5:]) for item in items)
    if headers.pop(b"BCC", None) is not None:
        props = properties.with_headers(message.props, headers)
        message = Message(message.exchange, message.routing_key, props, message.body)
    return tuple(keys), message


def _shown(value: object) -> str:
    if value is None:
        return "none"
    return f"'{str(value).lower() if isinstance(value, bool) else value}'"


def strip_line_ends(name: str) -> str:
    """Return a name without CR and LF, as RabbitMQ takes them out of names of queues and exchanges."""
    return name.replace("\r", "").replace("\n", "")
