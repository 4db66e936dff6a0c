"""A gateway on a broker in memory, at a time that stands still, and a bus that plays the core."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from reworker.bus.contract import Delivery, Outgoing, Properties, QueueSpec, TopologySpec, Verdict
from reworker.bus.memory import MemoryBroker, MemoryBus
from reworker.gateway.contract import Completed, Offer, Poll, Result, TaskType, Update, Updated
from reworker.gateway.gateway import PollGateway
from reworker.gateway.lane import Lane
from reworker.gateway.settings import GatewaySettings
from reworker.messages import StepHeaders, encode, headers_of_step
from reworker.testing.clock import FakeClock
from tests.support.waiting import wait_until as wait_slowly

MakeWorld = Callable[..., "World"]
LEVEL_2 = StepHeaders()
IDEMPOTENT = StepHeaders(is_idempotent=True)
FROB = TaskType("frob")
HOLD_S = 5.0
#: everything here is in memory, and there within a millisecond.
wait_until = partial(wait_slowly, poll_s=0.001)


class Polled:
    """A poll and what came of it."""

    def __init__(self) -> None:
        self.done: list[Poll] = []

    def __call__(self, poll: Poll) -> None:
        self.done.append(poll)

    def wait(self) -> Poll:
        """Return the poll once it is answered."""
        wait_until(lambda: self.done, message="an answer to a poll")
        return self.done[0]

    @property
    def offers(self) -> Sequence[Offer]:
        return self.wait().offers


class World:
    """The gateway's world; `clock` goes on only by `advance`.

    Args:
        before: a world of which everything but the gateway is shared.
        settings: of the gateway.
    """

    def __init__(self, before: World | None = None, **settings: Any) -> None:
        self.broker = before.broker if before is not None else MemoryBroker()
        self.clock = before.clock if before is not None else FakeClock()
        self.replies: list[Delivery] = []
        self.core = before.core if before is not None else self._new_core()
        if before is not None:
            self.replies = before.replies
        self.bus = MemoryBus(self.broker, name="gateway", clock=self.clock)
        self.bus.open(timeout_s=1)
        self.settings = GatewaySettings(**settings)
        self.gateway = PollGateway(self.bus, self.settings, clock=self.clock)
        self.gateway.desk.open()
        self.gateway.restore()
        if before is None:
            self.empty()

    def _new_core(self) -> MemoryBus:
        core = MemoryBus(self.broker, name="core")
        core.open(timeout_s=1)
        core.declare(TopologySpec(queues=(QueueSpec("re.replies"), QueueSpec("re.output"))))
        core.consume("re.replies", self._on_reply, prefetch=0)
        return core

    def empty(self, kind: TaskType = FROB) -> None:
        """Poll once in vain, so that the queue is there."""
        polled = self.ask(kind, hold_s=HOLD_S)
        wait_until(lambda: self.broker.model.queues.get(self.queue(kind)), message="the queue")
        wait_until(lambda: self.broker.model.queues[self.queue(kind)].subscribers, message="the consumer")
        polled.first.cancel()
        wait_until(lambda: not self.broker.model.queues[self.queue(kind)].subscribers, message="its end")

    def queue(self, kind: TaskType = FROB) -> str:
        return ".".join(filter(None, ("worker", kind.domain, kind.name)))

    def _on_reply(self, delivery: Delivery) -> None:
        self.replies.append(delivery)
        delivery.settle(Verdict.ACK)

    def send(
        self, number: int = 1, headers: StepHeaders | None = LEVEL_2, key: str = "worker.frob", **more: Any
    ) -> str:
        """Publish a step and return its attempt id."""
        attempt = f"{number:024x}.1"
        parameters: dict[str, Any] = {"command": "frob", "subcommand": "Frob", "hosts": ["web1"]}
        notify = more.pop("notify", {})
        parameters.update(more)
        message = {"group": "g", "parameters": parameters, "dynamic": {"color": "red"}, "notify": notify}
        body = encode(message)
        table = headers_of_step(headers) if headers is not None else None
        properties = Properties(
            correlation_id=attempt, reply_to="re.replies", headers=table, message_id=f"m{number}"
        )
        self.core.publish(Outgoing("re", key, body, properties))
        return attempt

    def send_raw(self, body: bytes, **properties: Any) -> None:
        """Publish anything to the queue."""
        own = Properties(reply_to="re.replies", headers=headers_of_step(LEVEL_2), **properties)
        self.core.publish(Outgoing("re", "worker.frob", body, own))

    def declare_otherwise(self, queue: str) -> None:
        """Declare a queue as no worker does."""
        with self.broker.changed:
            self.broker.model.declare_queue(QueueSpec(queue, durable=False), None)

    def ask(
        self,
        kind: TaskType = FROB,
        worker: str = "a",
        *,
        count: int = 1,
        hold_s: float = 0.0,
        owner: str = "",
    ) -> Asked:
        """Poll."""
        polled = Asked()
        polled.first = self.gateway.poll(kind, worker, polled, count=count, hold_s=hold_s, owner=owner)
        return polled

    def take(self, worker: str = "a", kind: TaskType = FROB) -> Offer:
        """Poll until there is a step, write the answer and return its offer."""
        polled = self.ask(kind, worker, hold_s=HOLD_S)
        poll = polled.wait()
        assert poll.offers, "the hold was over"
        poll.written()
        return poll.offers[0]

    def report(self, offer: Offer, result: Result, **more: Any) -> list[Updated]:
        """Send an update; return where its answer arrives."""
        told: list[Updated] = []
        self.gateway.update(Update(offer.task_id, result, **more), told.append)
        return told

    def complete(self, offer: Offer, **output: Any) -> Updated:
        """Report that a step is done; return the answer."""
        told = self.report(offer, Completed(output))
        wait_until(lambda: told, message="an answer to an update")
        return told[0]

    def bodies(self, attempt: str) -> list[dict[str, Any]]:
        """Return the replies that have arrived for an attempt; like a core, drop those of one message id."""
        mine = [one for one in list(self.replies) if one.properties.correlation_id == attempt]
        found = {one.properties.message_id or number: one for number, one in enumerate(mine)}
        return [json.loads(one.body) for one in found.values()]

    def statuses(self, attempt: str) -> list[str]:
        return [one["status"] for one in self.bodies(attempt)]

    def wait(self, attempt: str, *statuses: str) -> None:
        """Wait until an attempt has been answered so."""
        wait_until(lambda: self.statuses(attempt) == list(statuses), message=f"{statuses} of {attempt}")

    def lane(self, kind: TaskType = FROB) -> Lane:
        """Return the part of the gateway that has the queue of a type."""
        return self.gateway._lanes[self.queue(kind)]

    def advance(self, seconds: float) -> None:
        """Let time pass, and do what is due."""
        self.clock.advance(seconds)
        self.gateway.timers.run_due()

    def pass_on(self, queue: str) -> None:
        """Let what waits in a retry queue go where it is meant to: its time is over."""
        with self.broker.changed:
            found = self.broker.model.queues[queue]
            while found.ready:
                stored = found.ready.popleft()
                self.broker.model.dead_letter(found, stored)

    def waiting_count(self, queue: str = "worker.frob") -> int:
        return self.broker.message_count(queue)

    def close(self) -> None:
        self.gateway.close()
        self.bus.close(deadline_s=0)
        self.core.close(deadline_s=0)


class Asked(Polled):
    """A poll with its first answer."""

    first: Poll
