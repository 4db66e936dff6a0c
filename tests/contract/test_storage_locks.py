"""Locks of deployments: all or none, first come, first served, and nobody is overlooked."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from reworker.storage.contract import LockResult, Storage
from tests.contract.storage_kit import NOW


def take(storage: Storage, own: str, *names: str) -> LockResult:
    with storage.begin() as unit:
        return unit.take_locks(own, names, NOW)


def fence(storage: Storage, own: str, *names: str) -> int:
    found = take(storage, own, *names).fence
    assert found is not None
    return found


def drop(storage: Storage, own: str) -> list[str]:
    with storage.begin() as unit:
        return unit.drop_locks(own)


def test_locks_are_given_at_once_when_nobody_has_them(storage: Storage) -> None:
    first, other = fence(storage, "a", "x", "y"), fence(storage, "b", "z")
    assert (first, other) == (1, 2)
    assert drop(storage, "a") == []


def test_deployment_waits_for_all_when_one_is_held(storage: Storage) -> None:
    fence(storage, "a", "x")
    assert take(storage, "b", "w", "x", "y") == LockResult(None, "x", "a")
    assert take(storage, "b", "w", "x", "y") == LockResult(None, "x", "a"), "as often as it tries"
    assert drop(storage, "a") == ["b"]
    assert fence(storage, "b", "w", "x", "y") == 2
    assert take(storage, "c", "w") == LockResult(None, "w", "b")
    assert take(storage, "d", "y") == LockResult(None, "y", "b")


def test_nobody_overtakes_who_waits_for_one_of_the_names(storage: Storage) -> None:
    fence(storage, "a", "x")
    take(storage, "b", "x", "y")
    assert take(storage, "c", "y") == LockResult(None, "y", "b"), "y is free, but b came first"
    assert take(storage, "d", "y") == LockResult(None, "y", "b")
    assert fence(storage, "e", "z") > 0
    assert drop(storage, "a") == ["b"]
    assert take(storage, "c", "y").fence is None
    fence(storage, "b", "x", "y")
    assert drop(storage, "b") == ["c"]


def test_those_are_woken_that_are_first_in_a_line_in_the_order_they_came(storage: Storage) -> None:
    fence(storage, "a", "x", "y", "z")
    for own, name in (("late", "z"), ("b", "y"), ("c", "y"), ("d", "x")):
        take(storage, own, name)
    assert drop(storage, "a") == ["late", "b", "d"]


def test_next_one_is_woken_when_one_that_waits_gives_up(storage: Storage) -> None:
    fence(storage, "a", "x")
    take(storage, "b", "x", "y")
    take(storage, "c", "y")
    assert drop(storage, "b") == ["c"]
    assert fence(storage, "c", "y") == 2
    assert drop(storage, "a") == [], "b left no place in the line"


def test_locks_are_confirmed_when_asked_for_again(storage: Storage) -> None:
    assert fence(storage, "a", "x") == fence(storage, "a", "x")
    assert fence(storage, "a") == 1, "whatever names come the second time"


def test_fence_grows_over_releases_and_restarts(open_storage: Callable[[], Storage]) -> None:
    first = open_storage()
    seen = []
    for own in ("a", "b"):
        seen.append(fence(first, own, "x"))
        drop(first, own)
    first.close()
    second = open_storage()
    seen.append(fence(second, "c", "x"))
    assert seen == [1, 2, 3]


def test_deployment_without_names_waits_for_nobody(storage: Storage) -> None:
    fence(storage, "a", "x")
    assert fence(storage, "b") == 2
    assert drop(storage, "b") == []


def test_nothing_is_taken_when_the_transaction_fails(storage: Storage) -> None:
    def take_and_fail() -> None:
        with storage.begin() as unit:
            assert unit.take_locks("a", ["x"], NOW).fence is not None
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        take_and_fail()
    assert fence(storage, "b", "x") > 0


def test_ten_thousand_names_are_one_lock(storage: Storage) -> None:
    names = [f"host:web{number}.example.com" for number in range(10_000)]
    assert fence(storage, "a", *names, names[0]) == 1
    assert take(storage, "b", *names) == LockResult(None, names[0], "a")
    assert take(storage, "c", names[-1]) == LockResult(None, names[-1], "a")
    assert drop(storage, "a") == ["b"]
    assert fence(storage, "b") == 2
    assert drop(storage, "b") == ["c"]
