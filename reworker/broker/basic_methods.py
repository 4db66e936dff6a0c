"""Handlers of the basic, confirm, tx and channel.flow methods, one each; publish and ack have a short cut."""

from __future__ import annotations

import secrets
from typing import Any

from reworker.broker.channel import Channel
from reworker.broker.codec import spec
from reworker.broker.consumers import Consumer
from reworker.broker.errors import BrokerError, not_implemented, precondition_failed, refused
from reworker.broker.ledger import ack, reject, requeue
from reworker.broker.queues import Queue
from reworker.broker.replies import DIRECT_REPLY_TO
from reworker.broker.topology_methods import find_queue


def basic_qos(channel: Channel, method: Any) -> None:
    """Set the prefetch of later consumers, or with global of the whole channel."""
    if method.prefetch_size:
        raise not_implemented(f"prefetch_size!=0 ({method.prefetch_size})")
    if method.global_qos:
        channel.global_prefetch = method.prefetch_count
    else:
        channel.prefetch = method.prefetch_count
    channel.reply(spec.Basic.QosOk())
    channel.wake()


def basic_consume(channel: Channel, method: Any) -> None:
    """Start a consumer."""
    tag = method.consumer_tag or f"amq.ctag-{secrets.token_urlsafe(16)}"
    if tag in channel.consumers or tag == channel.replies.tag:
        raise BrokerError(530, f"attempt to reuse consumer tag '{tag}'")
    if method.queue == DIRECT_REPLY_TO:
        channel.replies.consume(tag, no_ack=method.no_ack)
        if not method.nowait:
            channel.reply(spec.Basic.ConsumeOk(tag))
        return
    queue = find_queue(channel, method.queue)
    _check_exclusive(channel, queue, exclusive=method.exclusive)
    priority = method.arguments.get("x-priority", 0)
    if not isinstance(priority, int):
        raise precondition_failed("invalid arg 'x-priority': not a number")
    consumer = Consumer(
        tag,
        queue,
        channel,
        no_ack=method.no_ack,
        exclusive=method.exclusive,
        prefetch=channel.prefetch,
        priority=priority,
    )
    channel.consumers[tag] = consumer
    if not method.nowait:
        channel.reply(spec.Basic.ConsumeOk(tag))
    queue.subscribe(consumer)


def _check_exclusive(channel: Channel, queue: Queue, *, exclusive: bool) -> None:
    others = queue.turns.consumers
    if (exclusive and (others or queue.options.is_single_active)) or queue.turns.has_exclusive:
        raise refused(f"queue '{queue.name}' in vhost '{channel.vhost.name}' in exclusive use")
    if queue.options.is_quorum and channel.global_prefetch:
        raise not_implemented(
            f"queue '{queue.name}' in vhost '{channel.vhost.name}' does not support global qos"
        )


def basic_cancel(channel: Channel, method: Any) -> None:
    """End a consumer."""
    channel.cancel(method.consumer_tag)
    if not method.nowait:
        channel.reply(spec.Basic.CancelOk(method.consumer_tag))


def basic_get(channel: Channel, method: Any) -> None:
    """Take one message."""
    queue = find_queue(channel, method.queue)
    if queue.turns.has_exclusive:
        raise refused(f"queue '{queue.name}' in vhost '{channel.vhost.name}' in exclusive use")
    queue.touch()
    entry = queue.take()
    if entry is None:
        channel.reply(spec.Basic.GetEmpty())
    else:
        channel.deliver_get(queue, entry, no_ack=method.no_ack)


def basic_ack(channel: Channel, method: Any) -> None:
    """Settle deliveries as done."""
    channel.ledger.settle(method.delivery_tag, ack, multiple=method.multiple)


def basic_nack(channel: Channel, method: Any) -> None:
    """Settle deliveries as refused, or put them back."""
    how = requeue if method.requeue else reject
    channel.ledger.settle(method.delivery_tag, how, multiple=method.multiple)


def basic_reject(channel: Channel, method: Any) -> None:
    """Settle a delivery as refused, or put it back."""
    channel.ledger.settle(method.delivery_tag, requeue if method.requeue else reject)


def basic_recover(channel: Channel, method: Any) -> None:
    """Put everything unacknowledged back."""
    if not method.requeue:
        raise not_implemented("requeue=false")
    channel.ledger.requeue_all()
    if method.INDEX == spec.Basic.Recover.INDEX:
        channel.reply(spec.Basic.RecoverOk())


def confirm_select(channel: Channel, method: Any) -> None:
    """Turn on publisher confirms."""
    if channel.ledger.is_transactional:
        raise precondition_failed("cannot switch from tx to confirm mode")
    channel.confirms.is_on = True
    if not method.nowait:
        channel.reply(spec.Confirm.SelectOk())


def tx_select(channel: Channel, method: Any) -> None:
    """Turn on transactions."""
    if channel.confirms.is_on:
        raise precondition_failed("cannot switch from confirm to tx mode")
    channel.ledger.begin()
    channel.reply(spec.Tx.SelectOk())


def tx_commit(channel: Channel, method: Any) -> None:
    """Do what was collected since the last commit."""
    channel.ledger.commit()
    channel.reply(spec.Tx.CommitOk())


def tx_rollback(channel: Channel, method: Any) -> None:
    """Forget what was collected since the last commit."""
    channel.ledger.rollback()
    channel.reply(spec.Tx.RollbackOk())


def channel_flow(channel: Channel, method: Any) -> None:
    """Answer as RabbitMQ does: a client cannot stop the flow, prefetch is for that."""
    if not method.active:
        raise not_implemented("active=false")
    channel.reply(spec.Channel.FlowOk(active=True))


def ignore(channel: Channel, method: Any) -> None:
    """Take an answer that needs none."""


HANDLERS = {
    spec.Basic.Qos.INDEX: basic_qos,
    spec.Basic.Consume.INDEX: basic_consume,
    spec.Basic.Cancel.INDEX: basic_cancel,
    spec.Basic.CancelOk.INDEX: ignore,
    spec.Basic.Get.INDEX: basic_get,
    spec.Basic.Ack.INDEX: basic_ack,
    spec.Basic.Nack.INDEX: basic_nack,
    spec.Basic.Reject.INDEX: basic_reject,
    spec.Basic.Recover.INDEX: basic_recover,
    spec.Basic.RecoverAsync.INDEX: basic_recover,
    spec.Confirm.Select.INDEX: confirm_select,
    spec.Tx.Select.INDEX: tx_select,
    spec.Tx.Commit.INDEX: tx_commit,
    spec.Tx.Rollback.INDEX: tx_rollback,
    spec.Channel.Flow.INDEX: channel_flow,
    spec.Channel.FlowOk.INDEX: ignore,
}
