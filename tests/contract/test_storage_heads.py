"""What tells followers that deployments have changed: the contract of these reads, on each engine."""

from __future__ import annotations

from contextlib import closing

from reworker.clock import SystemClock
from reworker.core.service import Service
from reworker.storage.opening import open_logs, open_storage
from tests.support.api import playbook


def test_heads_change_with_their_deployments_and_moving_ones_are_found(any_database_url: str) -> None:
    with closing(open_storage(any_database_url)) as storage, closing(open_logs(any_database_url)) as logs:
        service, reader = Service(storage, logs, SystemClock()), storage.reader
        first, second, third = (service.submit(playbook(hosts=f"[h{number}]")) for number in range(3))
        before = {one.id: one for one in reader.heads([first, second, "0" * 24])}
        assert before.keys() == {first, second}
        assert (before[first].group, before[first].environment, before[first].status) == (
            "web",
            "",
            "running",
        )
        service.pause(first)
        after = {one.id: one for one in reader.heads([first, second])}
        assert after[first].version > before[first].version
        assert after[second] == before[second]
        assert reader.heads([]) == []
        assert [one.id for one in reader.moving(["paused"], "f" * 24, limit=10)] == [first]
        assert [one.id for one in reader.moving([], first, limit=10)] == [third, second]
        assert [one.id for one in reader.moving(["paused"], second, limit=10)] == [third, first]
        assert len(reader.moving(["running"], "", limit=1)) == 1
        assert len(reader.heads([first, *(f"{number:024x}" for number in range(1200)), second])) == 2
