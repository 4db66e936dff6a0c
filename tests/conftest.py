"""Fixtures for every test: brokers with a fresh virtual host, fresh databases, and processes.

Servers start when the first test asks for them and stop with the session.
`REWORKER_TEST_URL` names a broker to use instead of a private RabbitMQ; a
`{vhost}` in it is replaced by a fresh name (for brokers that make virtual
hosts on demand), else all tests share the one that it names.
`REWORKER_RABBITMQ` names the version of the private one, for example 4.3 (see
`tests/brokers.sh`); empty is the installed package.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import postgres as postgres_server
from tests.support import rabbitmq as rabbitmq_server
from tests.support.processes import Process
from tests.support.rabbitmq_homes import home_of, wanted_version

if TYPE_CHECKING:
    from reworker.broker.server import BrokerThread

#: how a skip for want of a server begins; counted and named at the end.
NO_SERVER = "no server: "


def is_ci() -> bool:
    """Tell whether a missing server is a failure (CI) or a skip (a laptop)."""
    return os.environ.get("CI", "").lower() in {"1", "true", "yes"}


def require_server(name: str, is_there: bool) -> None:
    """Skip the running test when a server is missing; fail it in CI."""
    if is_there:
        return
    if is_ci():
        pytest.fail(f"{name} is not installed; run tests/services.sh or tests/brokers.sh", pytrace=False)
    pytest.skip(f"{NO_SERVER}{name}")


def pytest_report_header() -> str:
    """Say which RabbitMQ this run is about."""
    version = wanted_version()
    return f"RabbitMQ: {home_of(version).version or f'{version} is missing'}"


def fresh_vhost() -> str:
    """Return a name that no other test uses."""
    return f"test-{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def rabbitmq_session() -> Iterator[list[rabbitmq_server.RabbitMQNode]]:
    """Hold the session's node, which the first test that needs it starts."""
    nodes: list[rabbitmq_server.RabbitMQNode] = []
    yield nodes
    for node in nodes:
        node.close()


@pytest.fixture
def rabbitmq(rabbitmq_session: list[rabbitmq_server.RabbitMQNode]) -> rabbitmq_server.RabbitMQNode:
    """Give the session's RabbitMQ node, running; it is shared: leave it running.

    A test that restarts or kills a node takes `mortal_rabbitmq`; one that wants other settings makes its
    own `RabbitMQNode`.
    """
    require_server(f"RabbitMQ {wanted_version()}".strip(), rabbitmq_server.is_installed())
    if not rabbitmq_session:
        rabbitmq_session.append(rabbitmq_server.session_node())
    if not rabbitmq_session[0].is_running:
        rabbitmq_session[0].start()
    return rabbitmq_session[0]


@pytest.fixture(scope="session")
def mortal_session() -> Iterator[list[rabbitmq_server.RabbitMQNode]]:
    """Hold the node that may be killed, which the first test that needs it starts."""
    nodes: list[rabbitmq_server.RabbitMQNode] = []
    yield nodes
    for node in nodes:
        node.close()


@pytest.fixture
def mortal_rabbitmq(mortal_session: list[rabbitmq_server.RabbitMQNode]) -> rabbitmq_server.RabbitMQNode:
    """Give a running RabbitMQ to a test that stops, kills or restarts it; take a fresh virtual host there.

    It is started once, for a start takes eight seconds of a processor.
    """
    require_server(f"RabbitMQ {wanted_version()}".strip(), rabbitmq_server.is_installed())
    if not mortal_session:
        mortal_session.append(rabbitmq_server.RabbitMQNode())
    if not mortal_session[0].is_running:
        mortal_session[0].start()
    return mortal_session[0]


@pytest.fixture
def rabbitmq_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Give the URL of a fresh virtual host on a real RabbitMQ; it goes with the test."""
    elsewhere = os.environ.get("REWORKER_TEST_URL")
    if elsewhere:
        yield elsewhere.replace("{vhost}", fresh_vhost())
        return
    node: rabbitmq_server.RabbitMQNode = request.getfixturevalue("rabbitmq")
    vhost = node.add_vhost(fresh_vhost())
    yield node.url(vhost)
    node.delete_vhost(vhost)


@pytest.fixture(scope="session")
def postgres_session() -> Iterator[list[postgres_server.PostgresServer]]:
    """Hold the session's server, which the first test that needs it starts."""
    servers: list[postgres_server.PostgresServer] = []
    yield servers
    for server in servers:
        server.close()


@pytest.fixture
def postgres(postgres_session: list[postgres_server.PostgresServer]) -> postgres_server.PostgresServer:
    """Give the session's PostgreSQL, running; it is shared: leave it running.

    A test that restarts or kills a server, or wants other settings, makes its own `PostgresServer`.
    """
    return _running(postgres_session)


def _running(servers: list[postgres_server.PostgresServer]) -> postgres_server.PostgresServer:
    require_server("PostgreSQL", postgres_server.is_installed())
    if not servers:
        servers.append(postgres_server.PostgresServer())
    if not servers[0].is_running:
        servers[0].start()
    return servers[0]


@pytest.fixture
def postgres_url(postgres: postgres_server.PostgresServer) -> Iterator[str]:
    """Give the URL of an empty database on a real PostgreSQL; it goes with the test."""
    name = fresh_vhost()
    yield postgres.add_database(name)
    postgres.drop_database(name)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def any_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the URL of an empty database, once of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'reworker.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def shared_database_url(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    postgres_session: list[postgres_server.PostgresServer],
) -> Iterator[str]:
    """Give the URL of a database that all tests of a module share, once of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path_factory.mktemp('shared') / 'reworker.db'}"
        return
    name = fresh_vhost()
    yield _running(postgres_session).add_database(name)
    postgres_session[0].drop_database(name)


@pytest.fixture(scope="session")
def broker_session() -> Iterator[BrokerThread]:
    """Run one embedded broker for the whole session."""
    from reworker.broker.server import BrokerThread

    with BrokerThread(auto_vhosts=True) as broker:
        yield broker


@pytest.fixture
def broker(broker_session: BrokerThread) -> BrokerThread:
    """Give the session's embedded broker, for `inspect` and the like.

    A test that stops, blocks or pauses a broker makes its own `BrokerThread`.
    """
    return broker_session


@pytest.fixture
def broker_url(broker: BrokerThread) -> str:
    """Give the URL of a fresh virtual host on the embedded broker."""
    return broker.url(fresh_vhost())


@pytest.fixture(params=["embedded", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def any_broker_url(request: pytest.FixtureRequest) -> str:
    """Give the URL of a fresh virtual host, once on each kind of broker."""
    fixture = "broker_url" if request.param == "embedded" else "rabbitmq_url"
    url: str = request.getfixturevalue(fixture)
    return url


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Give a function that starts a process; all are killed, with their children, at the end.

    ``process("-m", "reworker", "broker")`` runs this interpreter with these
    arguments; see `Process` for ``environment``, ``folder`` and ``command``.
    """
    started: list[Process] = []

    def start(*arguments: str, **options: Any) -> Process:
        options.setdefault("folder", tmp_path)
        started.append(Process(*arguments, **options))
        return started[-1]

    yield start
    for each in started:
        each.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Count and name the tests that were skipped because a server is missing."""
    missing = [report for report in terminalreporter.stats.get("skipped", []) if _is_missing_server(report)]
    if not missing:
        return
    terminalreporter.section(f"{len(missing)} skipped: a server is missing (tests/services.sh installs it)")
    for report in missing:
        terminalreporter.line(report.nodeid)


def _is_missing_server(report: pytest.TestReport) -> bool:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
    return NO_SERVER in reason
