"""What only a server can do: refuse, restart, cut a connection, end a transaction that stands idle."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta

import psycopg
import pytest

from reworker.errors import ConfigError, StaleVersion, StorageError, StorageUnavailable
from reworker.storage.contract import Changes
from reworker.storage.opening import open_logs, open_storage
from reworker.storage.postgres import PostgresStorage
from reworker.storage.postgres_unit import PostgresUnit
from tests.contract.storage_kit import NOW, OTHER, OWN, deployment, message, save, timer
from tests.support.ports import free_port
from tests.support.postgres import PASSWORD, PostgresServer
from tests.support.waiting import wait_until

pytestmark = pytest.mark.postgres


@pytest.fixture
def open_one(postgres_url: str) -> Iterator[Callable[..., PostgresStorage]]:
    """Open the same database as often as asked."""
    with ExitStack() as stack:

        def open_it(lock_wait_s: float = 5.0) -> PostgresStorage:
            made = PostgresStorage(postgres_url, lock_wait_s=lock_wait_s)
            stack.callback(made.close)
            return made

        yield open_it


def run(unit: PostgresUnit, statement: str) -> None:
    unit._connection.exec_driver_sql(statement)


def cut(url: str) -> None:
    """End every other connection to the database, as an administrator or a network does."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def sees_loss(storage: PostgresStorage) -> bool:
    """Tell whether the storage says that it has lost the server."""
    try:
        storage.has_foreign_writes()
    except StorageUnavailable:
        return True
    return False


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ((PASSWORD, "wrong"), "password authentication failed"),
        (("/test-", "/none-"), 'database "none-.*" does not exist'),
        (("reworker:", "nobody:"), "password authentication failed for user"),
        ((":", ":"), "Connection refused"),
    ],
)
def test_database_is_not_opened_when_the_server_refuses(
    postgres_url: str, postgres: PostgresServer, change: tuple[str, str], reason: str
) -> None:
    url = postgres_url.replace(*change)
    if change[0] == ":":
        url = url.replace(str(postgres.port), str(free_port()))
    with pytest.raises(StorageUnavailable, match=reason) as caught:
        open_storage(url)
    assert PASSWORD not in str(caught.value)
    assert "wrong" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "reworker:***@" in str(caught.value) or change[0] == "reworker:"


@pytest.mark.parametrize(
    "url",
    ["postgresql://ann:s3cret@host:port/x", "postgresql://ann:s3cret@host:99999/x"],
)
def test_url_is_refused_without_showing_it_when_it_is_none(url: str) -> None:
    with pytest.raises(ConfigError, match="postgresql://user:password@host") as caught:
        open_storage(url)
    assert "s3cret" not in str(caught.value)


def test_option_of_the_url_is_refused_when_the_driver_does_not_know_it(postgres_url: str) -> None:
    with pytest.raises(StorageError, match="invalid connection option"):
        open_storage(f"{postgres_url}?colour=blue")


def test_database_is_refused_when_it_is_another_program_s(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        connection.execute("CREATE TABLE customer (id integer)")
    with pytest.raises(StorageError, match="not one of reworker's"):
        open_storage(postgres_url)


def test_database_is_refused_when_a_newer_version_made_it(postgres_url: str) -> None:
    open_storage(postgres_url).close()
    with psycopg.connect(postgres_url) as connection:
        connection.execute("UPDATE meta SET value = '99' WHERE name = 'schema_version'")
    for opened in (open_storage, open_logs):
        with pytest.raises(StorageError, match="schema version 99"):
            opened(postgres_url)


def test_database_is_refused_when_it_cannot_hold_every_text(postgres: PostgresServer) -> None:
    options = "ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0"
    url = postgres.add_database("latin", options=options)
    with pytest.raises(StorageError, match="encoding LATIN1"):
        open_storage(url)
    postgres.drop_database("latin")


def test_readers_cannot_write(open_one: Callable[..., PostgresStorage]) -> None:
    reader = open_one().reader
    with pytest.raises(Exception, match="read-only"), reader._engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM event")


def test_writers_are_durable_and_leave_nothing_locked(open_one: Callable[..., PostgresStorage]) -> None:
    with open_one().begin() as unit:
        shown = unit._connection.exec_driver_sql
        assert shown("SHOW synchronous_commit").scalar() == "on"
        assert shown("SHOW idle_in_transaction_session_timeout").scalar() == "10s"
        assert shown("SHOW transaction_isolation").scalar() == "read committed"


def test_server_soon_notices_that_a_core_s_machine_is_gone(open_one: Callable[..., PostgresStorage]) -> None:
    storage = open_one()
    with storage._writers.connect() as connection:
        assert connection.exec_driver_sql("SHOW tcp_keepalives_idle").scalar() == "10"
    watch = storage._connect()
    assert watch.execute("SHOW tcp_keepalives_idle").fetchone() == ("10",)
    watch.close()


def test_storage_goes_on_when_its_connections_were_cut(
    open_one: Callable[..., PostgresStorage], postgres_url: str
) -> None:
    storage = open_one()
    storage.has_foreign_writes()
    save(storage, created=[(deployment(), b"{}")])
    cut(postgres_url)
    with pytest.raises(StorageUnavailable):
        save(storage, created=[(deployment(OTHER), b"{}")])
    wait_until(lambda: sees_loss(storage))
    save(storage, created=[(deployment(OTHER), b"{}")])
    assert storage.has_foreign_writes(), "nobody listened meanwhile"
    assert [row.id for row in storage.reader.deployments(limit=9)] == [OTHER, OWN]


def test_nothing_is_written_when_the_connection_is_cut_before_the_commit(
    open_one: Callable[..., PostgresStorage], postgres_url: str
) -> None:
    storage = open_one()

    def write_and_cut() -> None:
        with storage.begin() as unit:
            unit.save(Changes(created=[(deployment(), b"{}")]))
            cut(postgres_url)

    with pytest.raises(StorageUnavailable):
        write_and_cut()
    assert storage.reader.deployments(limit=9) == []


def test_storage_goes_on_when_the_server_was_restarted() -> None:
    with PostgresServer() as server, ExitStack() as stack:
        storage = PostgresStorage(server.url(), lock_wait_s=0.2)
        stack.callback(storage.close)
        storage.lock_core("core")
        save(storage, created=[(deployment(), b"{}")])
        server.stop()
        with pytest.raises(StorageUnavailable):
            storage.reader.deployment(OWN)
        with pytest.raises(StorageUnavailable):
            save(storage, created=[(deployment(OTHER), b"{}")])
        wait_until(lambda: sees_loss(storage))
        assert sees_loss(storage), "as long as it is away"
        assert abs(storage.clock_offset_s()) < 2, "as it was known last"
        server.start()
        assert storage.reader.deployment(OWN) == deployment()
        save(storage, created=[(deployment(OTHER), b"{}")])
        assert storage.has_foreign_writes()
        second = PostgresStorage(server.url(), lock_wait_s=0.2)
        stack.callback(second.close)
        with pytest.raises(StorageError, match="another core named 'core'"):
            second.lock_core("core")


def test_name_of_a_core_is_not_taken_back_while_another_has_it(
    open_one: Callable[..., PostgresStorage], postgres_url: str
) -> None:
    first, second = open_one(), open_one()
    first.lock_core("core")
    cut(postgres_url)
    wait_until(lambda: sees_loss(first))
    second.has_foreign_writes()
    second.lock_core("core")
    with pytest.raises(StorageUnavailable, match="name of core 'core'"):
        first.has_foreign_writes()
    second.close()
    assert first.has_foreign_writes()


def test_core_looks_now_and_then_for_what_other_cores_do_not_tell(
    open_one: Callable[..., PostgresStorage],
) -> None:
    core, other = open_one(), open_one()
    core.lock_core("one")
    other.lock_core("two")
    core.has_foreign_writes()
    save(other, created=[(deployment(), b"{}")])
    wait_until(core.has_foreign_writes, message="a look without a word")


def test_one_of_two_transactions_is_tried_again_when_they_wait_for_each_other(
    open_one: Callable[..., PostgresStorage],
) -> None:
    first, second = open_one(), open_one()
    save(first, created=[(deployment(), b"{}"), (deployment(OTHER), b"{}")])
    both_have_one, outcomes = threading.Barrier(2), []

    def lock_both(storage: PostgresStorage, *ids: str) -> None:
        try:
            with storage.begin() as unit:
                run(unit, "SET LOCAL deadlock_timeout = '20ms'")
                unit.deployments([ids[0]])
                both_have_one.wait()
                unit.deployments([ids[1]])
            outcomes.append("done")
        except StaleVersion as error:
            outcomes.append("deadlock" if "deadlock" in str(error) else str(error))

    threads = [
        threading.Thread(target=lock_both, args=(first, OWN, OTHER)),
        threading.Thread(target=lock_both, args=(second, OTHER, OWN)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["deadlock", "done"]


def test_rows_are_free_again_when_a_core_stands_still_in_a_transaction(
    open_one: Callable[..., PostgresStorage],
) -> None:
    frozen, other = open_one(), open_one(lock_wait_s=20)
    save(other, created=[(deployment(), b"{}")])

    def stand_still() -> None:
        with frozen.begin() as unit:
            run(unit, "SET LOCAL idle_in_transaction_session_timeout = '50ms'")
            unit.deployments([OWN])
            save(other, saved=[deployment(version=2)])
            unit.save(Changes(saved=[deployment(version=2, status="failed")]))

    with pytest.raises(StorageUnavailable):
        stand_still()
    assert other.reader.deployment(OWN).status == "running"


def test_value_beyond_a_limit_of_the_server_is_refused_for_good(
    open_one: Callable[..., PostgresStorage],
) -> None:
    storage = open_one()
    with pytest.raises(StorageError, match="too long") as caught:
        save(storage, created=[(deployment(idempotency_key="k" * 301), b"{}")])
    assert not isinstance(caught.value, StorageUnavailable)
    random_name = "".join(chr(0x4E00 + (number * 7919) % 20000) for number in range(5000))
    with pytest.raises(StorageError, match="index row") as caught, storage.begin() as unit:
        unit.take_locks(OWN, [random_name], NOW)
    assert not isinstance(caught.value, StorageUnavailable)


def test_timers_of_a_deployment_are_left_alone_while_another_core_changes_it(
    open_one: Callable[..., PostgresStorage],
) -> None:
    first, second = open_one(), open_one()
    save(
        first,
        created=[(deployment(), b"{}"), (deployment(OTHER), b"{}")],
        timers_set=[timer(), timer(own_id=OTHER)],
    )
    with first.begin() as busy:
        busy.deployments([OWN])
        busy.save(Changes(timers_set=[timer(after_s=60)]))
        with second.begin() as unit:
            assert unit.due_timers(NOW, 10) == [timer(own_id=OTHER)]
    with second.begin() as unit:
        assert unit.due_timers(NOW, 10) == [timer(own_id=OTHER)], "it was restarted"


def test_timers_and_claims_move_when_the_clock_jumped(open_one: Callable[..., PostgresStorage]) -> None:
    storage = open_one()
    rows = [message("a", claimed_by="one", claim_until=NOW), message("b")]
    save(storage, created=[(deployment(), b"{}")], timers_set=[timer()], outbox_added=rows)
    hour = timedelta(hours=1)
    with storage.begin() as unit:
        unit.shift_times(hour)
        assert unit.due_timers(NOW + hour, 9) == [timer(after_s=3600)]
        assert unit.due_timers(NOW + hour - timedelta(seconds=1), 9) == []
        assert [row.id for row in unit.waiting_outbox(NOW, 9)] == ["b"]
        assert len(unit.waiting_outbox(NOW + hour, 9)) == 2
