"""The storage contract for people: tokens, sessions, the audit and saved views."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import msgspec
import pytest

from reworker.errors import StorageError
from reworker.ids import new_id
from reworker.storage.contract import Storage, Unit
from reworker.storage.rows import AuditRow, SavedViewRow, SessionRow, TokenRow
from tests.contract.storage_kit import NOW

LATER = NOW + timedelta(hours=1)


def token(number: int = 1, **fields: object) -> TokenRow:
    row = TokenRow(
        id=f"{number:024}",
        digest=f"{number:064}",
        name="ann",
        scopes=b'["read"]',
        limits=b'{"groups":["\xc3\xa9"]}',
        actor="root",
        created_at=NOW,
    )
    return msgspec.structs.replace(row, **fields)


def session(number: int = 1, token_id: str = "1", kind: str = "session", after_s: int = 60) -> SessionRow:
    return SessionRow(f"{number:064}", kind, token_id, NOW, NOW + timedelta(seconds=after_s))


def audit(number: int, **fields: str) -> AuditRow:
    row = AuditRow(
        f"{number:024}", NOW, "ann", "1" * 24, "deployment.cancel", "d1", "done", "why", "127.0.0.1"
    )
    return msgspec.structs.replace(row, **fields)


def write(storage: Storage, *deeds: Callable[[Unit], object]) -> list[object]:
    """Do all of it in one transaction; return what each gave."""
    with storage.begin() as unit:
        return [deed(unit) for deed in deeds]


def test_token_is_found_by_digest_and_id_as_it_was_saved(storage: Storage) -> None:
    rows = [token(), token(2, expires_at=LATER, used_at=NOW, revoked_at=LATER)]
    write(storage, *(lambda unit, row=row: unit.add_token(row) for row in rows))
    reader = storage.reader
    assert [reader.token_by_digest(row.digest) for row in rows] == rows
    assert [reader.token(row.id) for row in rows] == rows
    assert (reader.token("x"), reader.token_by_digest("x")) == (None, None)


def test_token_is_refused_when_its_digest_is_there(storage: Storage) -> None:
    write(storage, lambda unit: unit.add_token(token()))
    with pytest.raises(StorageError):
        write(storage, lambda unit: unit.add_token(token(2, digest=token().digest)))


def test_tokens_are_read_in_pages_newest_first(storage: Storage) -> None:
    rows = [token(number) for number in range(1, 6)]
    write(storage, *(lambda unit, row=row: unit.add_token(row) for row in rows))
    assert storage.reader.tokens(limit=2) == [rows[4], rows[3]]
    assert storage.reader.tokens(limit=9, before_id=rows[3].id) == [rows[2], rows[1], rows[0]]


def test_tokens_are_read_by_name(storage: Storage) -> None:
    rows = [token(1), token(2, name="bob"), token(3)]
    write(storage, *(lambda unit, row=row: unit.add_token(row) for row in rows))
    assert storage.reader.tokens(limit=9, name="ann") == [rows[2], rows[0]]
    assert storage.reader.tokens(limit=9, name="ann", before_id=rows[2].id) == [rows[0]]
    assert storage.reader.tokens(limit=9, name="eve") == []


def test_token_is_revoked_once(storage: Storage) -> None:
    write(storage, lambda unit: unit.add_token(token()))
    own = token().id
    assert write(
        storage,
        lambda unit: unit.revoke_token(own, NOW),
        lambda unit: unit.revoke_token(own, LATER),
        lambda unit: unit.revoke_token("x", NOW),
    ) == [True, False, False]
    assert storage.reader.token(own) == token(revoked_at=NOW)


def test_last_use_of_a_token_never_goes_back(storage: Storage) -> None:
    write(storage, lambda unit: unit.add_token(token()))
    for at in (NOW, LATER, NOW):
        write(storage, lambda unit, at=at: unit.touch_token(token().id, at))
    assert storage.reader.token(token().id) == token(used_at=LATER)


def test_session_is_taken_by_one_of_many_who_try_at_once(open_storage: Callable[..., Storage]) -> None:
    storages = [open_storage(wait_s=30) for _ in range(2)]
    write(storages[0], lambda unit: unit.add_session(session()))
    assert storages[1].reader.session(session().digest) == session()

    def take(number: int) -> object:
        return write(storages[number % 2], lambda unit: unit.take_session(session().digest))[0]

    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(take, range(8)))
    assert sorted(taken, key=str) == [*[None] * 7, session()]
    assert storages[0].reader.session(session().digest) is None


def test_sessions_are_dropped_by_token_kind_and_age(storage: Storage) -> None:
    rows = [session(1, "a"), session(2, "a"), session(3, "b", after_s=5), session(4, "", "link")]
    write(storage, *(lambda unit, row=row: unit.add_session(row) for row in rows))
    assert write(
        storage,
        lambda unit: unit.drop_sessions(kind="link", expired_at=NOW),
        lambda unit: unit.drop_sessions(token_id="a"),
        lambda unit: unit.drop_sessions(expired_at=NOW + timedelta(seconds=5)),
        lambda unit: unit.drop_sessions(kind="link"),
    ) == [0, 2, 1, 1]
    with pytest.raises(ValueError, match="which"):
        write(storage, lambda unit: unit.drop_sessions())


def test_audit_is_read_in_pages_newest_first_and_by_words(storage: Storage) -> None:
    rows = [
        audit(1),
        audit(2, actor="bob", outcome="denied"),
        audit(3, action="token.create", target="t1"),
        audit(4, outcome="failed"),
    ]
    write(storage, *(lambda unit, row=row: unit.add_audit(row) for row in rows))
    read = storage.reader.audit
    assert read(limit=9) == rows[::-1]
    assert read(limit=2, before_id=rows[3].id) == [rows[2], rows[1]]
    assert read(limit=9, actor="bob") == read(limit=9, outcome="denied") == [rows[1]]
    assert read(limit=9, action="token.create") == read(limit=9, target="t1") == [rows[2]]
    assert read(limit=9, actor="ann", outcome="failed", before_id=rows[3].id) == []


def test_oldest_entries_of_the_audit_are_deleted_some_at_a_time(storage: Storage) -> None:
    times = [NOW + timedelta(seconds=number) for number in range(5)]
    rows = [msgspec.structs.replace(audit(0), id=new_id(at), at=at) for at in times]
    write(storage, *(lambda unit, row=row: unit.add_audit(row) for row in rows))
    assert write(storage, lambda unit: unit.drop_audit(times[3], 2)) == [2]
    assert storage.reader.audit(limit=9) == rows[:1:-1]
    assert write(storage, *[lambda unit: unit.drop_audit(times[3], 2)] * 2) == [1, 0]
    assert storage.reader.audit(limit=9) == rows[:2:-1]


def test_saved_view_is_replaced_and_dropped_by_owner_and_name(storage: Storage) -> None:
    first, other = SavedViewRow("ann", "b", "?a=1", NOW), SavedViewRow("bob", "b", "?a=2", NOW)
    newer, second = SavedViewRow("ann", "b", "?a=3", LATER), SavedViewRow("ann", "a", "\x00", NOW)
    write(storage, *(lambda unit, row=row: unit.put_saved_view(row) for row in (first, other, newer, second)))
    assert storage.reader.saved_views("ann") == [second, newer]
    assert write(
        storage,
        lambda unit: unit.drop_saved_view("ann", "b"),
        lambda unit: unit.drop_saved_view("ann", "b"),
    ) == [True, False]
    assert storage.reader.saved_views("ann") == [second]
    assert storage.reader.saved_views("bob") == [other]


def test_sessions_of_people_without_a_token_are_listed_and_dropped_by_name(storage: Storage) -> None:
    rows = [
        msgspec.structs.replace(
            session(number, ""), name=name, rights=b'{"a": 1}', created_at=NOW + timedelta(seconds=number)
        )
        for number, name in ((1, "oidc:ann"), (2, "oidc:bob"), (3, "oidc:ann"))
    ]
    write(storage, *(lambda unit, row=row: unit.add_session(row) for row in [*rows, session(4)]))
    assert storage.reader.person_sessions(limit=9) == rows[::-1]
    assert storage.reader.person_sessions(limit=1) == [rows[2]]
    assert write(storage, lambda unit: unit.drop_sessions(name="oidc:ann")) == [2]
    assert storage.reader.person_sessions(limit=9) == [rows[1]]
    assert storage.reader.session(session(4).digest) == session(4)
