"""The demo's playbooks on the embedded broker and on RabbitMQ: the same outcome, the same events."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from typing import Any

import pytest

from reworker.cli.demo import PLAYBOOKS
from reworker.cli.wiring import LOCAL_WORKERS
from tests.support.system import System

#: fields of an event that are of its time and place.
OWN_FIELDS = frozenset({"at", "kind"})


def outcome_of(system: System, name: str) -> tuple[str, str, list[Any]]:
    """Run a playbook of the demo; return status, failure and every event with its host and step."""
    own_id = system.service.submit((files("reworker") / "demo" / name).read_text())
    (view,) = system.wait_for_rest([own_id])
    attempts = {one.row.number: (one.row.host, one.row.step) for one in system.service.attempts(own_id)}
    events = [
        (
            event.kind,
            attempts.get(event.data.get("attempt", 0)),
            {name: value for name, value in event.data.items() if name not in OWN_FIELDS},
            event.ignored,
        )
        for event in system.service.events(own_id)
    ]
    return str(view.state.status), str(view.state.failure), events


@pytest.mark.slow
@pytest.mark.rabbitmq
def test_playbooks_have_the_same_events_when_the_broker_is_another(
    new_system: Callable[[str], System], broker_url: str, rabbitmq_url: str
) -> None:
    found = []
    for url in (broker_url, rabbitmq_url):
        system = new_system(url)
        system.start_core()
        for name in LOCAL_WORKERS:
            system.start_worker(name, instances=1)
        found.append([outcome_of(system, name) for name in PLAYBOOKS])
    embedded, rabbitmq = found
    assert [status for status, _, _ in embedded] == ["completed", "failed"]
    assert embedded == rabbitmq
