"""PostgreSQL under a core at work: restarted, away, cut at a COMMIT, refusing a transaction."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest

from reworker.broker.server import BrokerThread
from reworker.drill.worker import AGAIN
from reworker.errors import StorageUnavailable
from reworker.topology import names
from tests.conftest import require_server
from tests.support.commit_proxy import CommitProxy, Cut
from tests.support.postgres import PASSWORD, PostgresServer, is_installed
from tests.support.system import READY_S, System
from tests.support.truth import check_all
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.fault, pytest.mark.postgres]

AWAY = "the database is away"
#: serialization failure and deadlock, after which the same works at once; disk full. Source: PostgreSQL 15,
#: appendix A.
RACE_CODES, FULL_CODE = ("40001", "40P01"), "53100"
#: fails inserts of events now and then, for a while. A transaction that is repeated does not meet the same
#: number: a sequence goes on when its transaction is undone.
TRIGGER = """
CREATE SEQUENCE failures;
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    number bigint := nextval('failures');
BEGIN
    IF number % 7 = 0 AND number < 40 THEN
        RAISE EXCEPTION 'refused by the test: %', TG_ARGV[0] USING ERRCODE = TG_ARGV[0];
    END IF;
    RETURN NEW;
END $$
"""


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """Give a PostgreSQL that this test may stop."""
    require_server("PostgreSQL", is_installed())
    with PostgresServer() as server:
        yield server


@pytest.fixture
def system(new_system: Callable[..., System], broker_url: str, own_server: PostgresServer) -> System:
    """Give a system on a server of its own; it runs."""
    made = new_system(broker_url, own_server.url())
    made.run(instances=8)
    return made


def start_many(system: System, count: int = 3) -> list[str]:
    """Start three times so many deployments."""
    return [one for _ in range(count) for one in system.submit_mixed(step_count=4, seconds=0.1)]


def can_write(system: System) -> bool:
    """Tell whether a transaction of ours passes; the first after a restart finds its connection gone."""
    try:
        with system.storage.begin():
            return True
    except StorageUnavailable:
        return False


def test_deployments_end_truly_when_postgresql_is_stopped_at_once_and_started(
    system: System, own_server: PostgresServer, moments: random.Random
) -> None:
    for end in (own_server.kill, own_server.stop):
        ids = start_many(system)
        system.wait_for_moment(moments, ids)
        assert system.moving_count(ids) >= 5
        end()
        system.core.wait_for_line(AWAY, READY_S)
        own_server.start()
        wait_until(lambda: can_write(system), READY_S, "our own connections to be fresh")
        system.wait_for_rest(ids)
    assert check_all(system)["completed"] >= 12


def test_nothing_is_acknowledged_and_errors_are_clear_while_postgresql_is_away(
    system: System, own_server: PostgresServer, broker: BrokerThread, broker_url: str
) -> None:
    for _ in range(3):
        system.submit(AGAIN, hosts=["a"], step_count=6, seconds=0.5)
    wait_until(lambda: len(system.marks()) >= 3, READY_S, "three steps to run")
    own_server.stop()

    def held_count() -> int:
        vhost = broker_url.rpartition("/")[2]
        return int(broker.inspect()["vhosts"][vhost]["queues"][names.REPLY_QUEUE]["unacked"])

    wait_until(lambda: held_count() >= 3, READY_S, "the replies to be held")
    system.core.wait_for_line(AWAY, READY_S)
    with pytest.raises(StorageUnavailable, match=f"{own_server.port}.* refused") as caught:
        system.submit(AGAIN)
    assert PASSWORD not in str(caught.value)
    assert held_count() >= 3, "not one was acknowledged meanwhile"
    own_server.start()
    wait_until(lambda: can_write(system), READY_S, "our own connections to be fresh")
    assert check_all(system) == {"completed": 3}
    assert system.core.output.count(AWAY) == 1, "it is said once"


def test_nothing_is_lost_or_doubled_when_connections_are_cut_at_a_commit(
    new_system: Callable[..., System], broker_url: str, postgres_url: str
) -> None:
    system = new_system(broker_url, postgres_url)
    with CommitProxy(postgres_url) as proxy:
        system.core_db = proxy.url
        system.run()
        proxy.cut(every=5)
        while min(proxy.cut_counts[cut] for cut in Cut) < 2:  # a busy core has more in each transaction
            system.wait_for_rest(system.submit_mixed())
        check_all(system)
    assert AWAY in system.core.output


def test_transaction_is_repeated_when_postgresql_refuses_it_for_a_reason_that_passes(
    new_system: Callable[..., System], broker_url: str, postgres: PostgresServer, postgres_url: str
) -> None:
    system, database = new_system(broker_url, postgres_url), postgres_url.rpartition("/")[2]
    system.run()
    for statement in TRIGGER.strip().split(";\n", 1):
        postgres.execute(statement, database)
    for code in (*RACE_CODES, FULL_CODE):
        ids = system.submit_mixed(step_count=5, seconds=0.3)
        postgres.execute("ALTER SEQUENCE failures RESTART", database)
        each = f"BEFORE INSERT ON event FOR EACH ROW EXECUTE FUNCTION fail('{code}')"
        postgres.execute(f"CREATE TRIGGER fail {each}", database)
        system.wait_for_rest(ids)
        postgres.execute("DROP TRIGGER fail ON event", database)
        assert int(postgres.execute("SELECT last_value FROM failures", database)[0][0]) >= 7, "it was refused"
        assert (f"refused by the test: {code}" in system.core.output) == (code == FULL_CODE)
        assert (AWAY in system.core.output) == (code == FULL_CODE)
    check_all(system)
