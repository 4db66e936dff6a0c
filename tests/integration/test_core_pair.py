"""Two cores, each a process of its own, on one database: no leader, nothing lost, nothing doubled."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from reworker.core import history
from reworker.fsm.events import Decision
from tests.component.core.kit import playbook
from tests.integration.core_support import Cores, EchoWorker
from tests.support.processes import Process
from tests.support.waiting import wait_until

DEPLOYMENT_COUNT = 12
STEP_COUNT = 6
#: seconds: of the lease, and for which a core is frozen.
LEASE_S, FROZEN_S = 2.0, 4.0
#: seconds of a lease that does not end, however busy the machine is.
PEACE_S = 60.0


@pytest.fixture
def worker(broker_url: str) -> Iterator[EchoWorker]:
    made = EchoWorker(broker_url)
    yield made
    made.close()


@pytest.fixture
def cores(process: Callable[..., Process], broker_url: str, any_database_url: str) -> Iterator[Cores]:
    made = Cores(process, broker_url, any_database_url)
    yield made
    made.close()


def submit_all(cores: Cores, *, is_idempotent: bool = True) -> list[str]:
    step = {"noop:Do": {"a": 1}, "idempotent": is_idempotent}
    texts = (playbook(*[step] * STEP_COUNT, hosts=(f"web{n}",)) for n in range(DEPLOYMENT_COUNT))
    return [cores.service.submit(text) for text in texts]


def steps_done(cores: Cores, ids: list[str]) -> int:
    return sum(cores.service.deployment(one).state.completed_count for one in ids)


def are_over(cores: Cores, ids: list[str], worker: EchoWorker | None = None) -> bool:
    """Tell whether all have ended; doubts are decided as a person would who asks the worker."""
    views = [cores.service.deployment(one) for one in ids]
    for view in views:
        for attempt in view.state.attempts if view.state.status == "waiting" else ():
            has_run = worker is not None and worker.runs[f"{view.row.id}.{attempt.number}"] > 0
            decision = Decision.COMPLETE if has_run else Decision.RETRY
            cores.service.decide(view.row.id, attempt.number, decision, actor="test")
    return all(view.is_over for view in views)


def assert_sound(cores: Cores, ids: list[str]) -> None:
    assert cores.statuses(ids) == {"completed": len(ids)}
    assert all(history.problems(cores.reader, one) == [] for one in ids)
    wait_until(lambda: cores.reader.outbox_count() == 0)
    assert cores.reader.locks() == []


def test_every_step_is_done_once_when_two_cores_share_the_work(cores: Cores, worker: EchoWorker) -> None:
    for name in ("one", "two"):
        cores.start(name, lease_s=PEACE_S)
    ids = submit_all(cores)
    wait_until(partial(are_over, cores, ids), 60)
    assert_sound(cores, ids)
    assert len(worker.runs) == DEPLOYMENT_COUNT * STEP_COUNT
    assert set(worker.runs.values()) == {1}
    wait_until(lambda: {one.name for one in cores.reader.instances()} == {"one", "two"})


def test_deployments_on_one_host_take_turns_in_order_when_two_cores_run_them(
    cores: Cores, worker: EchoWorker
) -> None:
    for name in ("one", "two"):
        cores.start(name, lease_s=PEACE_S)
    ids = [cores.service.submit(playbook("noop:One", "noop:Two")) for _ in range(DEPLOYMENT_COUNT)]
    wait_until(partial(are_over, cores, ids), 60)
    assert_sound(cores, ids)
    fences = [cores.service.deployment(one).state.fence for one in ids]
    assert fences == sorted(set(fences))
    assert [one.partition(".")[0] for one in worker.runs] == [one for one in ids for _ in range(2)]


@pytest.mark.fault
def test_the_other_core_goes_on_within_the_lease_when_one_is_killed(cores: Cores, worker: EchoWorker) -> None:
    first, _ = cores.start("one", lease_s=LEASE_S), cores.start("two", lease_s=LEASE_S)
    ids = submit_all(cores)
    wait_until(lambda: steps_done(cores, ids) > DEPLOYMENT_COUNT, 60)
    first.kill9()
    wait_until(partial(are_over, cores, ids), 60)
    assert_sound(cores, ids)


@pytest.mark.fault
def test_nothing_is_doubled_when_a_core_stands_still_longer_than_its_lease(
    cores: Cores, worker: EchoWorker
) -> None:
    first, _ = cores.start("one", lease_s=LEASE_S), cores.start("two", lease_s=LEASE_S)
    ids = submit_all(cores, is_idempotent=False)
    wait_until(lambda: steps_done(cores, ids) > DEPLOYMENT_COUNT, 60)
    first.send_signal(signal.SIGSTOP)
    end_mono_s = time.monotonic() + FROZEN_S
    wait_until(lambda: are_over(cores, ids, worker) or time.monotonic() > end_mono_s)
    first.send_signal(signal.SIGCONT)
    wait_until(partial(are_over, cores, ids, worker), 60)
    assert_sound(cores, ids)
    assert set(worker.runs.values()) == {1}, "no attempt ran twice"
    assert len(worker.runs) == DEPLOYMENT_COUNT * STEP_COUNT, "none was repeated under another number"


def test_core_of_the_same_name_is_refused(cores: Cores) -> None:
    cores.start("one")
    twin = cores.launch("one")
    assert twin.wait() == 1
    assert "another core" in twin.output


@pytest.mark.postgres
def test_core_is_named_for_its_machine_when_the_database_is_on_a_server(
    process: Callable[..., Process], broker_url: str, postgres_url: str
) -> None:
    core = process("-m", "reworker", "core", "--mq", broker_url, "--db", postgres_url)
    core.wait_for_line(f"core {socket.gethostname()} runs on")
