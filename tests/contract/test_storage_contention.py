"""Several connections at once: nothing is done twice, nobody is overlooked, nothing is overwritten."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta

import pytest

from reworker.errors import StorageError, StorageUnavailable
from reworker.storage.contract import Changes, LockResult, Storage, Unit
from tests.contract.storage_kit import NOW, OWN, deployment, message, save, timer

#: connections at once.
THREADS = 4
#: seconds after which somebody who waits has been overlooked.
PATIENCE_S = 20.0


@pytest.fixture
def storages(open_storage: Callable[[], Storage]) -> list[Storage]:
    return [open_storage() for _ in range(THREADS)]


def at_once(work: Callable[[int], None]) -> None:
    """Run the work with each number at the same time; raise what one of them raises."""
    start = threading.Barrier(THREADS)

    def run(number: int) -> None:
        start.wait()
        work(number)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(run, range(THREADS)))


@contextmanager
def patient(storage: Storage) -> Iterator[Callable[[Callable[[Unit], None]], None]]:
    """Give a function that runs a transaction, again when the database was busy for too long."""

    def transact(body: Callable[[Unit], None]) -> None:
        while True:
            try:
                with storage.begin() as unit:
                    body(unit)
            except StorageUnavailable:
                continue
            return

    yield transact


def test_message_is_claimed_by_one_of_many(storages: list[Storage]) -> None:
    rows = [message(f"m{number}", number, deployment_id=None) for number in range(120)]
    save(storages[0], outbox_added=rows)
    until = NOW + timedelta(seconds=15)
    claims: Counter[str] = Counter()

    def work(number: int) -> None:
        def claim(unit: Unit) -> None:
            nonlocal found
            ids = [row.id for row in unit.waiting_outbox(NOW, 10)]
            found = unit.claim_outbox(ids, f"core{number}", NOW, until)
            assert set(ids) == found, "what is shown to one is kept from the others"

        found: set[str] = set()
        with patient(storages[number]) as transact:
            while len(claims) < len(rows):
                transact(claim)
                claims.update(found)

    at_once(work)
    assert set(claims.values()) == {1}


def test_messages_of_a_list_are_claimed_once_when_several_have_it(storages: list[Storage]) -> None:
    rows = [message(f"m{number}", deployment_id=None) for number in range(50)]
    save(storages[0], outbox_added=rows)
    claims: Counter[str] = Counter()

    def work(number: int) -> None:
        def claim(unit: Unit) -> None:
            nonlocal found
            ids = random.sample([row.id for row in rows], len(rows))
            found = unit.claim_outbox(ids, f"core{number}", NOW, NOW + timedelta(seconds=15))

        found: set[str] = set()
        with patient(storages[number]) as transact:
            transact(claim)
            claims.update(found)

    at_once(work)
    assert set(claims.values()) == {1}


def test_timer_is_fired_by_one_of_many(storages: list[Storage]) -> None:
    ids = [f"{number:024}" for number in range(60)]
    rows = [timer(kind, own) for own in ids for kind in ("run", "queue")]
    save(storages[0], created=[(deployment(own), b"{}") for own in ids], timers_set=rows)
    fired: Counter[tuple[str, str]] = Counter()

    def work(number: int) -> None:
        def fire(unit: Unit) -> None:
            nonlocal found
            found = [(row.deployment_id, row.kind) for row in unit.due_timers(NOW, 10)]
            unit.deployments({own for own, _ in found})
            unit.save(Changes(timers_removed=[(own, kind, 1) for own, kind in found]))

        found: list[tuple[str, str]] = []
        with patient(storages[number]) as transact:
            while len(fired) < len(rows):
                transact(fire)
                fired.update(found)

    at_once(work)
    assert set(fired.values()) == {1}


def test_no_change_is_lost_when_many_change_a_deployment(storages: list[Storage]) -> None:
    save(storages[0], created=[(deployment(), b"{}")])

    def work(number: int) -> None:
        def change(unit: Unit) -> None:
            version = unit.deployments([OWN])[OWN].version + 1
            unit.save(Changes(saved=[deployment(version=version)]))

        with patient(storages[number]) as transact:
            for _ in range(20):
                transact(change)

    at_once(work)
    assert storages[0].reader.deployment(OWN).version == 1 + 20 * THREADS


def test_key_starts_one_deployment_when_many_submit_it(storages: list[Storage]) -> None:
    made: list[str] = []

    def work(number: int) -> None:
        def submit(unit: Unit) -> None:
            if unit.find_deployment(idempotency_key="k") is None:
                row = deployment(f"{number:024}", idempotency_key="k")
                unit.save(Changes(created=[(row, b"{}")]))
                made.append(row.id)

        with patient(storages[number]) as transact:
            transact(submit)

    at_once(work)
    assert [row.id for row in storages[0].reader.deployments(limit=10)] == made


class Race:
    """Deployments that take locks, hold them for a moment and give them back."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.held: dict[str, str] = {}
        self.fences: Counter[str] = Counter()
        self._woken = {f"{a}-{b}": threading.Event() for a in range(THREADS) for b in range(count)}
        self._guard = threading.Lock()

    def run(self, storage: Storage, thread: int) -> None:
        for number in range(self.count):
            own, names = f"{thread}-{number}", random.sample("vwxyz", random.randint(1, 3))
            self._hold(own, names, self._take(storage, own, names))
            self._give_back(storage, own)

    def _take(self, storage: Storage, own: str, names: list[str]) -> int:
        found: list[LockResult] = []
        with patient(storage) as transact:
            while True:
                transact(lambda unit: found.append(unit.take_locks(own, names, NOW)))
                if found[-1].fence is not None:
                    return found[-1].fence
                assert self._woken[own].wait(PATIENCE_S), f"{own} waits for {found[-1]}"
                self._woken[own].clear()

    def _hold(self, own: str, names: list[str], fence: int) -> None:
        with self._guard:
            assert not self.held.keys() & set(names), "somebody else has it"
            assert all(self.fences[name] < fence for name in names)
            self.held.update(dict.fromkeys(names, own))
        with self._guard:
            for name in names:
                del self.held[name]
                self.fences[name] = fence

    def _give_back(self, storage: Storage, own: str) -> None:
        found: list[list[str]] = []
        with patient(storage) as transact:
            transact(lambda unit: found.append(unit.drop_locks(own)))
        for each in found[-1]:
            self._woken[each].set()


def test_lock_has_one_holder_and_nobody_is_overlooked(storages: list[Storage]) -> None:
    race = Race(25)
    at_once(lambda thread: race.run(storages[thread], thread))
    assert not race.held


def test_tables_are_made_once_when_many_open_a_new_database(open_storage: Callable[[], Storage]) -> None:
    problems: list[StorageError] = []

    def work(number: int) -> None:
        try:
            open_storage()
        except StorageUnavailable as error:
            problems.append(error)  # busy for longer than a test's patience

    at_once(work)
    assert len(problems) < THREADS
    assert open_storage().reader.deployments(limit=1) == []
