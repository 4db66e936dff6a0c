"""A worker that fails, or doubts, where it is told to; and the start of deployments that it works on."""

from __future__ import annotations

import json
from typing import Any

from reworker.core.resumption import Scope
from tests.component.core.kit import Worker, World

COMPLETED = ({"status": "started"}, {"status": "completed"})
FAILED = ({"status": "started"}, {"status": "failed", "message": "no disk left"})


class Site(Worker):
    """A worker that fails the steps it is told to; `seen` is what it was given, as ``host subcommand``."""

    def __init__(self, world: World) -> None:
        super().__init__(world.broker)
        self.failing: set[str] = set()
        self.doubtful: set[str] = set()
        self.seen: list[str] = []
        self.data: dict[str, Any] = {}

    def _on_delivery(self, delivery: Any) -> None:
        parameters = json.loads(delivery.body)["parameters"]
        name = f"{parameters.get('hosts', '-')[0]} {parameters['subcommand']}"
        self.seen.append(name)
        self.script = FAILED if name in self.failing else COMPLETED
        if name in self.doubtful:
            self.script = ({"status": "unknown", "reason": "the switch did not answer"},)
        if name in self.data:
            self.script = (COMPLETED[0], {**COMPLETED[1], "data": self.data[name]})
        super()._on_delivery(delivery)

    def take_seen(self) -> list[str]:
        """Return what it was given since the last call."""
        seen, self.seen = self.seen, []
        return seen


def submitted(world: World, text: str, **dynamic: Any) -> str:
    own_id = world.core.service.submit(text, dynamic)
    world.run()
    return own_id


def retried(world: World, own_id: str, *, start: str = "", hosts: tuple[str, ...] = (), **more: Any) -> str:
    new_id = world.core.service.retry(own_id, Scope(start, hosts), **more)
    world.run()
    return new_id
