"""Many worker processes in one: each answers a ping in its own name, over a real broker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from reworker.bus.connection import PikaBus
from reworker.bus.contract import (
    BindingSpec,
    Delivery,
    ExchangeSpec,
    Outgoing,
    Properties,
    QueueSpec,
    TopologySpec,
    Verdict,
)
from reworker.config import mq_settings
from reworker.messages import Pong, RunningJob, encode
from tests.support.waiting import wait_until

QUEUE = "re.control.crowd"


@contextmanager
def crowd(url: str, pongs: Sequence[Pong]) -> Iterator[None]:
    """Answer pings with all of these for the block; their queues are there."""
    bus = PikaBus(mq_settings(url), name="crowd")
    bus.open(timeout_s=30)

    def on_delivery(delivery: Delivery) -> None:
        delivery.settle(Verdict.ACK)
        for one in pongs:
            bus.publish(Outgoing("", delivery.properties.reply_to or "", encode(one), Properties()))

    try:
        bus.declare(
            TopologySpec(
                exchanges=(ExchangeSpec("re.control"),),
                queues=(
                    QueueSpec(QUEUE, durable=False, exclusive=True, auto_delete=True),
                    *(QueueSpec(one.queue) for one in pongs),
                ),
                bindings=(BindingSpec("re.control", QUEUE, "ping"),),
            )
        )
        consumer = bus.consume(QUEUE, on_delivery, prefetch=0)
        wait_until(lambda: consumer.is_active)
        yield
    finally:
        bus.close()


def member(number: int, name: str = "") -> Pong:
    """Return the answer of one process; `name` stands in every text of it."""
    worker = name or f"crowd{number}worker"
    job = RunningJob(f"{name}{'a' * 24}.1", f"{name}host:{number}:0", 12.5)
    return Pong(
        worker, f"worker.{worker}"[:200], f"{name}host", number, f"{name}consuming", f"{name}1.0", [job]
    )
