"""A gateway and its polls on a real broker."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from reworker.bus.connection import PikaBus
from reworker.config import mq_settings
from reworker.gateway.contract import Completed, Offer, Poll, Result, TaskType, Update, Updated
from reworker.gateway.gateway import PollGateway
from reworker.gateway.settings import GatewaySettings
from tests.support.waiting import wait_until

FROB = TaskType("frob")
KEY = "worker.frob"
HOLD_S = 20.0


class Desk:
    """Polls and reports as the HTTP side of a gateway does."""

    def __init__(self, gateway: PollGateway, bus: PikaBus) -> None:
        self.gateway, self.bus = gateway, bus

    def ask(
        self, worker: str = "a", kind: TaskType = FROB, *, count: int = 1, hold_s: float = HOLD_S
    ) -> list[Poll]:
        """Poll; return where the answer arrives."""
        done: list[Poll] = []
        self.gateway.poll(kind, worker, done.append, count=count, hold_s=hold_s)
        return done

    def offers(self, done: list[Poll]) -> Sequence[Offer]:
        """Wait for the answer to a poll, and say that it was written."""
        wait_until(lambda: done, HOLD_S + 10, "an answer to a poll")
        done[0].written()
        return done[0].offers

    def take(self, worker: str = "a", kind: TaskType = FROB) -> Offer:
        """Poll until there is a step."""
        (offer,) = self.offers(self.ask(worker, kind))
        return offer

    def report(self, offer: Offer, result: Result, **more: Any) -> list[Updated]:
        """Report on a step; return where the answer arrives."""
        told: list[Updated] = []
        self.gateway.update(Update(offer.task_id, result, **more), told.append)
        return told

    def complete(self, offer: Offer, **output: Any) -> Updated:
        """Report that a step is done, and wait for the answer."""
        told = self.report(offer, Completed(output))
        wait_until(lambda: told, 20, "an answer to an update")
        return told[0]

    def wait_polled(self) -> None:
        """Wait until the queue is there and somebody's poll is held."""
        wait_until(lambda: self.gateway.counts["waiting"] and self.bus.health().active_consumer_count > 1)


@contextmanager
def gateway_on(url: str, **settings: Any) -> Iterator[Desk]:
    """Run a gateway on a broker."""
    bus = PikaBus(mq_settings(url), name="test gateway", rand=lambda: 0.0)
    bus.open(timeout_s=20)
    gateway = PollGateway(bus, GatewaySettings(**settings))
    gateway.start()
    try:
        yield Desk(gateway, bus)
    finally:
        gateway.close()
        bus.close()


MakeDesk = Callable[..., Desk]
