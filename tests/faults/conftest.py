"""Fixtures of the fault tests: moments from a seed that is printed, and a whole system of processes."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reworker.bus.limits import PER_CONSUMER, RABBITMQ, Product
from reworker.drill.worker import ONCE
from tests.conftest import fresh_vhost, require_server
from tests.support import rabbitmq as rabbitmq_server
from tests.support.lanes import Lanes
from tests.support.ports import free_port
from tests.support.postgres import PostgresServer
from tests.support.processes import Process
from tests.support.rabbitmq_homes import home_of, wanted_version
from tests.support.system import READY_S, BrokerProcess, System
from tests.support.waiting import wait_until

#: at how many moments each fault strikes.
MOMENT_COUNT = int(os.environ.get("REWORKER_FAULT_MOMENTS", "12"))
#: seconds that a test may take per moment, on a busy day.
MOMENT_S = 6
#: seconds of the long steps, more than their test asks for: the core notes the start when it hears of it;
#: and between heartbeats of the connections meanwhile.
LONG_STEP_S, LONG_STEP_HEARTBEAT_S = 96, 10
#: long steps by name: the type of the worker's queue, and what the worker believes of the server's patience.
LONG_STEPS = {
    "classic": ("classic", rabbitmq_server.SESSION_ACK_TIMEOUT_S),
    "quorum": ("quorum", rabbitmq_server.SESSION_ACK_TIMEOUT_S),
    "untold": ("classic", None),
    "lost": ("quorum", 2),
}


def needs_long_step(item: pytest.Item) -> bool:
    """Tell whether a test looks at the long steps."""
    return "long_steps" in getattr(item, "fixturenames", ())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of the long steps last: they run beside the others. More moments take longer."""
    items.sort(key=needs_long_step)
    for item in items:
        if "moment_count" in getattr(item, "fixturenames", ()) and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(MOMENT_S * max(MOMENT_COUNT, 20)))


@pytest.fixture
def moments() -> random.Random:
    """Give the generator that chooses the moments; its seed is in the report of a failure."""
    seed = int(os.environ.get("REWORKER_FAULT_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"to choose the same moments again: REWORKER_FAULT_SEED={seed}")
    return random.Random(seed)


@pytest.fixture(scope="session")
def moment_count() -> int:
    """Tell at how many moments each fault strikes."""
    return MOMENT_COUNT


@pytest.fixture
def new_system(process: Callable[..., Process], tmp_path: Path) -> Iterator[Callable[..., System]]:
    """Give a function that makes a system on a broker's URL; nothing of it runs yet."""
    made: list[System] = []

    def new(url: str, db: str = "") -> System:
        folder = tmp_path / f"system-{len(made)}"
        folder.mkdir()
        made.append(System(process, url, folder, db))
        return made[-1]

    yield new
    for one in made:
        one.close()


@pytest.fixture
def system(new_system: Callable[..., System], any_broker_url: str) -> System:
    """Give a system on each kind of broker in turn."""
    return new_system(any_broker_url)


@pytest.fixture
def broker_process(process: Callable[..., Process], tmp_path: Path) -> BrokerProcess:
    """Give an embedded broker that can be killed."""
    return BrokerProcess(process, tmp_path)


@pytest.fixture
def embedded_lanes(process: Callable[..., Process], tmp_path: Path) -> Iterator[Lanes]:
    """Give lanes on an embedded broker that has a process and a store of its own."""
    port, store = free_port(), tmp_path / "broker.db"
    options = f"port={port}, store_path={str(store)!r}, auto_vhosts=True"
    broker = process("-c", f"from reworker.broker.server import serve; serve({options})")
    broker.wait_for_line("listening", READY_S)
    with Lanes(lambda: f"amqp://guest:guest@127.0.0.1:{port}/{fresh_vhost()}", tmp_path) as lanes:
        yield lanes


@pytest.fixture
def new_rabbitmq_url(rabbitmq: rabbitmq_server.RabbitMQNode) -> Iterator[Callable[[], str]]:
    """Give a function that makes a virtual host on a real RabbitMQ; any thread."""
    vhosts: list[str] = []
    one_at_a_time = threading.Lock()

    def new_url() -> str:
        with one_at_a_time:
            vhosts.append(rabbitmq.add_vhost(fresh_vhost()))
            return rabbitmq.url(vhosts[-1])

    yield new_url
    for vhost in vhosts:
        rabbitmq.delete_vhost(vhost)


@pytest.fixture
def rabbitmq_lanes(new_rabbitmq_url: Callable[[], str], tmp_path: Path) -> Iterator[Lanes]:
    """Give lanes on a real RabbitMQ."""
    with Lanes(new_rabbitmq_url, tmp_path) as lanes:
        yield lanes


@pytest.fixture
def server_lanes(
    new_rabbitmq_url: Callable[[], str], postgres: PostgresServer, tmp_path: Path
) -> Iterator[Lanes]:
    """Give lanes on a real RabbitMQ and a real PostgreSQL."""
    databases: list[str] = []

    def new_db() -> str:
        databases.append(fresh_vhost())
        return postgres.add_database(databases[-1])

    with Lanes(new_rabbitmq_url, tmp_path, new_db) as lanes:
        yield lanes
    for name in databases:
        postgres.drop_database(name)


@pytest.fixture(scope="session", autouse=True)
def long_steps_under_way(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    rabbitmq_session: list[rabbitmq_server.RabbitMQNode],
) -> Iterator[dict[str, System] | None]:
    """Begin the long steps with the first test of this folder, when a test will look at them."""
    is_wanted = any(map(needs_long_step, request.session.items)) and rabbitmq_server.is_installed()
    if not is_wanted:
        yield None
        return
    if not rabbitmq_session:
        rabbitmq_session.append(rabbitmq_server.session_node())
        rabbitmq_session[0].start()
    started: list[Process] = []

    def start(*arguments: str, **options: Any) -> Process:
        started.append(Process(*arguments, **options))
        return started[-1]

    systems = {
        name: _long_step(start, rabbitmq_session[0], tmp_path_factory.mktemp(f"long-step-{name}"), *how)
        for name, how in LONG_STEPS.items()
    }
    _lose_worker(systems["lost"], rabbitmq_session[0])
    yield systems
    for system in systems.values():
        system.close()
    for one in started:
        one.close()


def _long_step(
    start: Callable[..., Process],
    node: rabbitmq_server.RabbitMQNode,
    folder: Path,
    queue_type: str,
    ack_timeout_s: float | None,
) -> System:
    url = node.url(node.add_vhost(fresh_vhost()))
    system = System(start, url, folder)
    told = "" if ack_timeout_s is None else f"&ack_timeout={ack_timeout_s}"
    system.worker_url = f"{url}?heartbeat={LONG_STEP_HEARTBEAT_S}{told}"
    system.run(instances=1, REWORKER_QUEUE_TYPE=queue_type)
    system.submit(ONCE, seconds=LONG_STEP_S, hosts=["a"], step_count=1)
    return system


def _lose_worker(system: System, node: rabbitmq_server.RabbitMQNode) -> None:
    """Kill the worker when the broker has forgotten its step; where it never does, another worker gets it."""
    wait_until(system.marks, READY_S, "the step to begin")
    if not is_per_consumer():
        system.worker.wait_for_line("is acknowledged, before the broker loses patience", READY_S)
        vhost = system.url.rpartition("/")[2]
        show = ("list_queues", "-p", vhost, "--no-table-headers", "name", "messages")
        wait_until(lambda: "worker.drill\t0" in node.rabbitmqctl(*show), READY_S, "the step to be forgotten")
    system.worker.kill9()
    if is_per_consumer():
        system.start_worker(instances=1, REWORKER_QUEUE_TYPE=LONG_STEPS["lost"][0])


def is_per_consumer() -> bool:
    """Tell whether the server lets each consumer say how long it wants."""
    product = Product(RABBITMQ, home_of(wanted_version()).version)
    return product.is_rabbitmq(since=PER_CONSUMER)


@pytest.fixture
def long_steps(long_steps_under_way: dict[str, System] | None) -> dict[str, System]:
    """Give the systems that run the long steps, by the names in `LONG_STEPS`."""
    require_server("RabbitMQ", long_steps_under_way is not None)
    assert long_steps_under_way
    return long_steps_under_way
