"""Steps in domains on real brokers: workers come and go, and each step goes where one works."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reworker.bus.connection import PikaBus
from reworker.bus.contract import Outgoing, Properties, QueueSpec, TopologySpec
from reworker.bus.queue_state import QueueState
from reworker.config import mq_mapping, mq_settings
from reworker.core.core import Core
from reworker.core.settings import CoreSettings
from reworker.gateway.contract import Standing, TaskType
from reworker.pool.pool import WorkerPool
from reworker.storage.log import SqlLog, log_path
from reworker.storage.rows import AttemptRow
from reworker.storage.sql import SqlStorage
from reworker.topology import names
from reworker.worker import Job, Worker, step
from tests.component.core.kit import playbook
from tests.integration.gateway_support import gateway_on
from tests.support.waiting import wait_until

ORDER = ["blue", "green", "NO_DOMAIN"]
OVER = ("completed", "failed", "unroutable")
#: and those of a step whose domain was left a moment ago, and which lies in the queue there.
SENT = ("sent", "started", *OVER)


class MegafrobberWorker(Worker):
    """Says where it stands."""

    @step("Frob")
    def frob(self, job: Job) -> dict[str, str]:
        return {"domain": self._settings.domain}

    @step("Wait")
    def wait(self, job: Job) -> None:
        job.sleep(60)


class Site:
    """A core in this process, and workers of one type in several domains."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self._pools = url, dict[str, WorkerPool]()
        path = folder / "core.db"
        self._storage, self._logs = SqlStorage(path), SqlLog(log_path(path))
        self.bus, self._output_bus = self._opened("core"), self._opened("output")
        self.core = Core(self.bus, self._storage, self._logs, CoreSettings(), output_bus=self._output_bus)
        self.core.start()

    def _opened(self, name: str) -> PikaBus:
        bus = PikaBus(mq_settings(self.url), name=name)
        bus.open(timeout_s=30)
        return bus

    def start(self, domain: str) -> None:
        """Start a worker in a domain, as its settings say it."""
        bus = PikaBus(mq_settings(self.url), name=f"worker {domain}")
        worker = MegafrobberWorker(mq_mapping(self.url, {}), domain=domain)
        self._pools[domain] = WorkerPool(bus, [worker])
        self._pools[domain].start()
        queue = names.worker_queue("megafrobberworker", domain)
        wait_until(lambda: _consumer_count(self.state(queue)) == 1)

    def stop(self, domain: str) -> None:
        self._pools.pop(domain).stop()

    def run(self, domains: Any = ORDER, *, until: tuple[str, ...] = OVER) -> AttemptRow:
        """Run a step; return its attempt."""
        own_id = self.core.service.submit(
            playbook({"megafrobber:Frob": None, "domain": domains}, locks=False)
        )

        def attempt() -> AttemptRow | None:
            found = self.core.service.attempts(own_id)
            return found[0].row if found and found[0].row.status in until else None

        found = wait_until(attempt, 20.0, poll_s=0.005)
        assert found is not None
        return found

    def attempt(self, attempt_id: str, status: str) -> AttemptRow | None:
        """Return an attempt once it has this status."""
        (found,) = self.core.service.attempts(attempt_id.partition(".")[0])
        return found.row if found.row.status == status else None

    def expect(self, domain: str) -> None:
        """Wait until steps go to a domain, and prove by its worker's answer that they came there."""
        wait_until(lambda: self.run(until=SENT).domain == domain, 20.0, poll_s=0.1)
        found = self.run()
        assert (found.domain, found.status) == (domain, "completed")
        assert found.data == b'{"domain":"%s"}' % domain.encode()

    def state(self, queue: str) -> QueueState | None:
        found: list[QueueState | None] = []
        self.bus.look(queue, found.append, deadline_s=20.0)
        wait_until(lambda: bool(found))
        return found[0]

    def close(self) -> None:
        for domain in list(self._pools):
            self.stop(domain)
        self.core.stop()
        for bus in (self.bus, self._output_bus):
            bus.close()
        self._storage.close()
        self._logs.close()


@pytest.fixture
def site(any_broker_url: str, tmp_path: Path) -> Iterator[Site]:
    found = Site(any_broker_url, tmp_path)
    try:
        yield found
    finally:
        found.close()


def test_steps_follow_the_workers_of_three_domains_when_these_stop_and_come_back(site: Site) -> None:
    assert (site.run().domain, site.run(["blue", "green"]).status) == ("", "unroutable")
    for domain in ("", "green", "blue"):
        site.start(domain)
    site.expect("blue")
    site.stop("blue")
    site.expect("green")
    site.stop("green")
    site.expect("")
    site.start("green")
    site.expect("green")
    site.stop("green")
    site.stop("")
    wait_until(lambda: site.run(until=SENT).domain == "", 20.0, poll_s=0.1)


def test_steps_go_where_somebody_polls_until_nobody_does_for_a_while(site: Site) -> None:
    site.start("")
    site.start("blue")
    site.stop("blue")
    queue = names.worker_queue("megafrobberworker", "blue")
    marker = QueueSpec(names.polled_queue(queue), arguments={"x-message-ttl": 3000})
    site.bus.declare(TopologySpec(queues=(marker,)))
    site.expect("")

    def is_polled() -> bool:
        site.bus.publish(
            Outgoing("", marker.name, b"", Properties())
        )  # as a poll does; each lasts three seconds
        return site.run(until=SENT).domain == "blue"

    wait_until(is_polled, 20.0, poll_s=0.1)
    site.expect("")
    assert site.state(marker.name) == QueueState(is_there=True)
    assert (site.state(queue) or QueueState(is_there=False)).message_count >= 1


def test_steps_go_to_the_domain_that_is_polled_over_http(site: Site) -> None:
    site.start("")
    kind = TaskType("megafrobber", "green")
    with gateway_on(site.url) as desk:
        desk.offers(desk.ask(kind=kind, hold_s=0))
        wait_until(lambda: site.run(until=SENT).domain == "green", 20.0, poll_s=0.1)
        offer = desk.take(kind=kind)
        assert desk.complete(offer, domain="green").standing is Standing.DONE
        attempt = wait_until(lambda: site.attempt(offer.attempt_id, "completed"), 20.0)
    assert attempt is not None
    assert (attempt.domain, attempt.data) == ("green", b'{"domain":"green"}')


def test_step_in_a_domain_is_cancelled_there(site: Site) -> None:
    site.start("blue")
    own_id = site.core.service.submit(playbook({"megafrobber:Wait": None, "domain": ["red", "blue"]}))
    wait_until(lambda: "started" in [one.row.status for one in site.core.service.attempts(own_id)], 20.0)
    site.core.service.cancel(own_id)
    wait_until(lambda: site.core.service.deployment(own_id).is_over, 30.0)
    (attempt,) = site.core.service.attempts(own_id)
    assert (attempt.row.status, attempt.row.domain) == ("cancelled", "blue")


def test_look_tells_how_a_queue_stands_and_disturbs_no_publish(site: Site) -> None:
    site.start("blue")
    queue = names.worker_queue("megafrobberworker", "blue")
    for number in range(5):
        assert site.state(f"nothing.{number}") == QueueState(is_there=False)
        assert site.run("blue").status == "completed"
    assert site.bus.health().reconnect_count == 0
    site.bus.close()
    assert site.state(queue) is None


def _consumer_count(state: QueueState | None) -> int:
    return state.consumer_count if state is not None else -1
