"""A bus that plays the core for workers in processes of their own."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from reworker.bus.connection import PikaBus
from reworker.bus.contract import (
    Delivery,
    ExchangeSpec,
    Outcome,
    Outgoing,
    Properties,
    Published,
    QueueSpec,
    TopologySpec,
    Verdict,
)
from reworker.config import mq_settings
from reworker.messages import StepHeaders, encode, headers_of_step
from tests.support.processes import Process
from tests.support.waiting import wait_until

SCRIPTED = ("-m", "reworker.testing.scripted")
READY = r"consuming worker\."


class FakeCore:
    """Sends steps and keeps the replies."""

    def __init__(self, url: str) -> None:
        self.bus = PikaBus(mq_settings(url), name="test core")
        self.replies: list[Delivery] = []
        self.dead: list[Delivery] = []

    def __enter__(self) -> FakeCore:
        self.bus.open(timeout_s=30)
        queues = (QueueSpec("re.replies"), QueueSpec("re.dead"))
        self.bus.declare(TopologySpec(exchanges=(ExchangeSpec("re"),), queues=queues))
        self.bus.consume("re.replies", lambda one: self._keep(one, self.replies), prefetch=0)
        self.bus.consume("re.dead", lambda one: self._keep(one, self.dead), prefetch=0)
        return self

    def __exit__(self, *_: object) -> None:
        self.bus.close()

    def _keep(self, delivery: Delivery, place: list[Delivery]) -> None:
        place.append(delivery)
        delivery.settle(Verdict.ACK)

    def send(self, number: int, level: int = 2, key: str = "worker.scripted", **parameters: Any) -> str:
        """Publish a step; return its attempt id."""
        options = {"headers": headers_of_step(StepHeaders())} if level == 2 else {}
        body = {"group": "g", "parameters": {"subcommand": "Play", "hosts": ["web1"], **parameters}}
        return self.send_raw(f"{number:024x}.1", encode(body), key, **options)

    def send_raw(self, attempt: str, body: bytes, key: str = "worker.scripted", **options: Any) -> str:
        """Publish any body."""
        results: list[Published] = []
        properties = Properties(
            **{"correlation_id": attempt, "reply_to": "re.replies", "delivery_mode": 2, **options}
        )
        self.bus.publish(Outgoing("re", key, body, properties), results.append)
        wait_until(lambda: results)
        assert results[0].outcome is Outcome.CONFIRMED, results[0]
        return attempt

    def send_control(self, key: str, body: dict[str, Any]) -> None:
        """Publish a control message."""
        self.bus.publish(Outgoing("re.control", key, encode(body), Properties()))

    def statuses(self, attempt: str) -> list[str]:
        """Return the statuses that have arrived for an attempt."""
        mine = [one for one in list(self.replies) if one.properties.correlation_id == attempt]
        return [json.loads(one.body)["status"] for one in mine]

    def wait(self, attempt: str, *statuses: str) -> None:
        """Wait until an attempt has answered so."""
        wait_until(lambda: self.statuses(attempt) == list(statuses), 30, f"{statuses} of {attempt}")

    def wait_for(self, attempt: str, status: str) -> None:
        """Wait until an attempt has answered so, among others: it may be over before anybody looks."""
        wait_until(lambda: status in self.statuses(attempt), 30, f"{status} of {attempt}")

    def hear_all(self) -> None:
        """Wait until every reply that is in the queue by now has been heard."""
        last = "the last reply"
        self.bus.publish(Outgoing("", "re.replies", encode({"status": ""}), Properties(correlation_id=last)))
        wait_until(lambda: self.statuses(last), 30, last)
        found = [one.properties.correlation_id for one in self.replies]
        del self.replies[found.index(last)]


def start_scripted(process: Callable[..., Process], url: str, *arguments: str, **variables: str) -> Process:
    """Start the scripted worker with these variables set, and wait until it consumes."""
    environment = {"REWORKER_OUTPUT_LEVEL": "INFO", **variables}
    started = process(*SCRIPTED, url, *arguments, environment=environment)
    started.wait_for_line(READY)
    return started
