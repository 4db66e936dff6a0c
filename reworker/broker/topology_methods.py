"""Handlers of the exchange and queue methods, one each."""

from __future__ import annotations

from typing import Any

from reworker.broker import replies
from reworker.broker.channel import Channel
from reworker.broker.codec import Table, spec
from reworker.broker.errors import BrokerError, precondition_failed, refused
from reworker.broker.model import Binding, Exchange
from reworker.broker.queues import Queue
from reworker.broker.vhost import strip_line_ends


def _answer(channel: Channel, method: Any, reply: Any) -> None:
    if not method.nowait:
        channel.reply(reply)


def _refuse_default(name: str) -> str:
    if name == "":
        raise refused("operation not permitted on the default exchange")
    return name


def exchange_declare(channel: Channel, method: Any) -> None:
    """Declare an exchange, or with passive check that it exists."""
    name = _refuse_default(strip_line_ends(method.exchange))
    if method.passive:
        channel.vhost.exchange(name)
    else:
        channel.vhost.declare_exchange(
            Exchange(
                name,
                method.type,
                durable=method.durable,
                auto_delete=method.auto_delete,
                internal=method.internal,
                arguments=method.arguments,
            )
        )
    _answer(channel, method, spec.Exchange.DeclareOk())


def exchange_delete(channel: Channel, method: Any) -> None:
    """Delete an exchange."""
    channel.vhost.delete_exchange(
        _refuse_default(strip_line_ends(method.exchange)), if_unused=method.if_unused
    )
    _answer(channel, method, spec.Exchange.DeleteOk())


def exchange_bind(channel: Channel, method: Any) -> None:
    """Bind an exchange to another."""
    source, target = _refuse_default(method.source), _refuse_default(method.destination)
    channel.vhost.exchange(target)
    binding = Binding(source, "exchange", target, method.routing_key, method.arguments.raw)
    channel.vhost.bind(binding, method.arguments)
    _answer(channel, method, spec.Exchange.BindOk())


def exchange_unbind(channel: Channel, method: Any) -> None:
    """Remove a binding between exchanges."""
    source, target = _refuse_default(method.source), _refuse_default(method.destination)
    channel.vhost.unbind(Binding(source, "exchange", target, method.routing_key, method.arguments.raw))
    _answer(channel, method, spec.Exchange.UnbindOk())


def _queue_name(channel: Channel, name: str) -> str:
    """Return a queue's name; an empty one means the queue declared last on this channel."""
    name = strip_line_ends(name) or channel.last_queue
    if not name:
        raise BrokerError(404, "no previously declared queue")
    return name


def find_queue(channel: Channel, name: str) -> Queue:
    """Return the queue that a method names; raises 404 and 405."""
    return channel.vhost.queue(_queue_name(channel, name), channel.link)


def queue_declare(channel: Channel, method: Any) -> None:
    """Declare a queue, or with passive check that it exists."""
    name = strip_line_ends(method.queue)
    if method.passive and name and replies.exists(channel.vhost, name):
        _answer(channel, method, spec.Queue.DeclareOk(name, 0, 1))
        return
    if method.passive:
        queue = find_queue(channel, name)
        queue.touch()
    else:
        if name.startswith("amq.") and name not in channel.vhost.queues:
            raise refused(f"queue name '{name}' contains reserved prefix 'amq.*'")
        owner = channel.link if method.exclusive else None
        wanted = channel.vhost.new_queue(
            name, method.arguments, durable=method.durable, auto_delete=method.auto_delete, owner=owner
        )
        queue = channel.vhost.declare_queue(wanted)
    channel.last_queue = queue.name
    _answer(channel, method, spec.Queue.DeclareOk(queue.name, queue.ready_count, len(queue.turns.consumers)))


def queue_bind(channel: Channel, method: Any) -> None:
    """Bind a queue to an exchange."""
    binding = _binding(channel, method)
    find_queue(channel, binding.destination)
    channel.vhost.bind(binding, method.arguments)
    _answer(channel, method, spec.Queue.BindOk())


def queue_unbind(channel: Channel, method: Any) -> None:
    """Remove a binding of a queue; unknown names are no error."""
    binding = _binding(channel, method)
    if binding.destination in channel.vhost.queues:
        find_queue(channel, binding.destination)
    channel.vhost.unbind(binding)
    channel.reply(spec.Queue.UnbindOk())


def _binding(channel: Channel, method: Any) -> Binding:
    name = _queue_name(channel, method.queue)
    key = method.routing_key
    if not method.queue and not key:
        key = name
    exchange = _refuse_default(strip_line_ends(method.exchange))
    arguments: Table = method.arguments
    return Binding(exchange, "queue", name, key, arguments.raw)


def queue_purge(channel: Channel, method: Any) -> None:
    """Drop what waits in a queue."""
    count = find_queue(channel, method.queue).purge()
    _answer(channel, method, spec.Queue.PurgeOk(count))


def queue_delete(channel: Channel, method: Any) -> None:
    """Delete a queue; an unknown one is no error."""
    name, count = _queue_name(channel, method.queue), 0
    if name in channel.vhost.queues:
        queue = find_queue(channel, name)
        for is_asked, is_wrong, word in (
            (method.if_unused, queue.turns.consumers, "in use"),
            (method.if_empty, queue.ready_count, "not empty"),
        ):
            if is_asked and is_wrong:
                raise precondition_failed(f"queue '{name}' in vhost '{channel.vhost.name}' {word}")
        count = channel.vhost.delete_queue(queue)
    _answer(channel, method, spec.Queue.DeleteOk(count))


HANDLERS = {
    spec.Exchange.Declare.INDEX: exchange_declare,
    spec.Exchange.Delete.INDEX: exchange_delete,
    spec.Exchange.Bind.INDEX: exchange_bind,
    spec.Exchange.Unbind.INDEX: exchange_unbind,
    spec.Queue.Declare.INDEX: queue_declare,
    spec.Queue.Bind.INDEX: queue_bind,
    spec.Queue.Unbind.INDEX: queue_unbind,
    spec.Queue.Purge.INDEX: queue_purge,
    spec.Queue.Delete.INDEX: queue_delete,
}
