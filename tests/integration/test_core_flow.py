"""A core on real brokers: the same outcome and the same list of events on each."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reworker.bus.connection import PikaBus
from reworker.bus.contract import Outgoing, Properties
from reworker.config import mq_settings
from reworker.core import history
from reworker.core.core import Core
from reworker.core.service import Service
from reworker.core.settings import CoreSettings
from reworker.storage.log import SqlLog, log_path
from reworker.storage.sql import SqlStorage
from reworker.topology import names
from tests.component.core.kit import playbook
from tests.integration.core_support import EchoWorker
from tests.support.processes import Process
from tests.support.waiting import wait_until

STEP_EVENTS = ["DispatchConfirmed", "ReplyStarted", "ReplyCompleted"]


class Site:
    """A core with threads in this process, and a bus for the test to speak through."""

    def __init__(self, url: str, folder: Path) -> None:
        self.path = folder / "core.db"
        self._buses = [PikaBus(mq_settings(url), name=name) for name in ("core", "output", "test")]
        for bus in self._buses:
            bus.open(timeout_s=30)
        self._storage, self._logs = SqlStorage(self.path), SqlLog(log_path(self.path))
        core_bus, output_bus, self.bus = self._buses
        settings = CoreSettings()
        self.core = Core(core_bus, self._storage, self._logs, settings, output_bus=output_bus)
        self.reader = self._storage.reader
        self.core.start()

    @property
    def service(self) -> Service:
        return self.core.service

    def end(self, own_id: str, timeout_s: float = 60.0) -> str:
        wait_until(lambda: self.service.deployment(own_id).is_over, timeout_s, poll_s=0.005)
        return str(self.service.deployment(own_id).state.status)

    def kinds(self, own_id: str) -> list[str]:
        return [event.kind for event in self.service.events(own_id)]

    def say(self, text: str, correlation_id: str) -> None:
        properties = Properties(correlation_id=correlation_id, delivery_mode=2)
        body = json.dumps({"message": text}).encode()
        self.bus.publish(Outgoing(names.EXCHANGE, names.OUTPUT_KEY, body, properties))

    def close(self) -> None:
        self.core.stop()
        for bus in self._buses:
            bus.close()
        self._storage.close()
        self._logs.close()


@pytest.fixture
def site(any_broker_url: str, tmp_path: Path) -> Iterator[Site]:
    made = Site(any_broker_url, tmp_path)
    yield made
    made.close()


@pytest.fixture
def worker(any_broker_url: str) -> Iterator[EchoWorker]:
    made = EchoWorker(any_broker_url)
    yield made
    made.close()


def test_events_are_the_same_on_every_broker(site: Site, worker: EchoWorker) -> None:
    own_id = site.service.submit(playbook("noop:One", "noop:Two", hosts=("a", "b", "c")), actor="ann")
    assert site.end(own_id) == "completed"
    assert site.kinds(own_id) == ["Submitted", "LocksGranted", *STEP_EVENTS * 6]
    assert history.problems(site.reader, own_id) == []
    assert site.core.health().is_well


def test_deployment_fails_within_a_second_when_no_worker_is_bound(site: Site) -> None:
    took_s = []
    for _ in range(3):  # the fastest, for this machine may be busy
        own_id = site.service.submit(playbook("ghost:Do"))
        assert site.end(own_id) == "failed"
        view = site.service.deployment(own_id)
        assert "worker.ghost" in view.state.reason
        assert view.row.ended_at is not None
        took_s.append((view.row.ended_at - view.row.created_at).total_seconds())
        assert site.kinds(own_id) == ["Submitted", "LocksGranted", "DispatchUnroutable"]
    assert min(took_s) < 1


def test_forty_steps_are_dispatched_once_each_when_all_is_well(site: Site, worker: EchoWorker) -> None:
    own_id = site.service.submit(playbook(*["noop:Do"] * 40))
    assert site.end(own_id) == "completed"
    assert len(worker.runs) == 40


def test_job_request_is_answered_by_way_of_the_broker(site: Site, worker: EchoWorker) -> None:
    stored = site.service.library.store(playbook())
    body = json.dumps({"group": "web", "playbook_id": stored.id}).encode()
    properties = Properties(reply_to="nobody.listens", message_id="job-1")
    for _ in range(2):
        site.bus.publish(Outgoing(names.EXCHANGE, names.JOB_KEY, body, properties))
    wait_until(lambda: site.core.counters.snapshot().get("published_returned", 0) == 2)
    (view,) = site.service.deployments()
    assert site.end(view.row.id) == "completed"


def test_deployment_is_done_when_submitted_by_another_process(
    site: Site, worker: EchoWorker, process: Callable[..., Process]
) -> None:
    program = (
        "import sys; from reworker.core.service import Service; from reworker.clock import SystemClock;"
        "from reworker.storage.sql import SqlStorage; from reworker.storage.log import SqlLog, log_path;"
        "path = sys.argv[1];"
        "print('id', Service(SqlStorage(path), SqlLog(log_path(path)), SystemClock()).submit(sys.argv[2]))"
    )
    other = process("-c", program, str(site.path), playbook())
    own_id = other.wait_for_line(r"id ([0-9a-f]{24})")[1]
    assert site.end(own_id) == "completed"


def test_flood_of_output_holds_up_no_deployment(site: Site, worker: EchoWorker) -> None:
    flooding = site.service.submit(playbook())
    site.end(flooding)
    for number in range(20_000):
        site.say(f"line {number}", f"{flooding}.1")
    own_id = site.service.submit(playbook(*["noop:Do"] * 20))
    assert site.end(own_id) == "completed"
    wait_until(lambda: site.core.counters.snapshot().get("lines", 0) >= 20_000, 60)
    lines = site.service.log_lines(flooding, after_no=19_998)
    assert [line.text for line in lines] == ["line 19998", "line 19999"]


def test_deployment_completes_when_the_missing_worker_has_appeared(site: Site, any_broker_url: str) -> None:
    first = site.service.submit(playbook())
    assert site.end(first) == "failed"
    worker = EchoWorker(any_broker_url)
    second = site.service.submit(playbook())
    assert site.end(second) == "completed"
    worker.close()
