"""The storage contract: what is saved is read, transactions are whole, and nobody overwrites another."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta, timezone

import msgspec
import pytest

from reworker.errors import (
    DeploymentNotFound,
    PlaybookNotFound,
    StaleVersion,
    StorageError,
    StorageUnavailable,
)
from reworker.storage.contract import Changes, DeploymentRow, InstanceRow, PlaybookRow, SourceRow, Storage
from tests.contract.storage_kit import (
    NOW,
    OTHER,
    OWN,
    attempt,
    deployment,
    event,
    message,
    save,
    timer,
)
from tests.support.waiting import wait_until


def test_deployment_is_read_as_it_was_saved(storage: Storage) -> None:
    row = deployment(ended_at=NOW, idempotency_key="k", request_digest="d")
    save(storage, created=[(row, b'{"plan":1}')])
    assert storage.reader.deployment(OWN) == row
    assert storage.reader.plan(OWN) == b'{"plan":1}'
    with storage.begin() as unit:
        assert unit.deployments([OWN, OTHER]) == {OWN: row}
        assert unit.plan(OWN) == b'{"plan":1}'


def test_times_are_utc_when_given_in_another_zone(storage: Storage) -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=-7)))
    save(storage, created=[(deployment(created_at=elsewhere), b"{}")])
    found = storage.reader.deployment(OWN).created_at
    assert (found, found.utcoffset()) == (NOW, timedelta(0))


def test_time_is_refused_when_it_has_no_zone(storage: Storage) -> None:
    with pytest.raises(StorageError, match="time zone"):
        save(storage, created=[(deployment(created_at=NOW.replace(tzinfo=None)), b"{}")])


def test_rows_are_not_found_when_there_are_none(storage: Storage) -> None:
    with pytest.raises(DeploymentNotFound):
        storage.reader.deployment(OWN)
    with pytest.raises(DeploymentNotFound):
        storage.reader.plan(OWN)
    with pytest.raises(PlaybookNotFound):
        storage.reader.playbook(OWN)
    with storage.begin() as unit, pytest.raises(DeploymentNotFound):
        unit.plan(OWN)


def test_nothing_is_changed_when_the_block_raises(storage: Storage) -> None:
    def save_and_fail() -> None:
        with storage.begin() as unit:
            unit.save(Changes(created=[(deployment(), b"{}")]))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        save_and_fail()
    assert storage.reader.deployments(limit=10) == []


def test_save_is_refused_when_another_was_faster(storage: Storage) -> None:
    save(storage, created=[(deployment(), b"{}"), (deployment(OTHER), b"{}")])
    save(storage, saved=[deployment(version=2, status="paused")])
    with pytest.raises(StaleVersion, match=OWN):
        save(storage, saved=[deployment(version=2), deployment(OTHER, version=2, status="failed")])
    assert storage.reader.deployment(OWN).status == "paused"
    assert storage.reader.deployment(OTHER).version == 1, "all of it, or nothing"


def test_last_save_is_refused_at_the_end_when_another_was_faster(storage: Storage) -> None:
    save(
        storage, created=[(deployment(), b"{}"), (deployment(OTHER), b"{}")], events=[event(1, dedup_key="k")]
    )

    def save_last(**changes: object) -> None:
        with storage.begin() as unit:
            unit.save(Changes(**changes), is_last=True)  # type: ignore[arg-type]  # the tests name the fields

    next_row = deployment(version=2, status="failed")
    for stale in ({"saved": [deployment(OTHER)]}, {"events": [event(2, dedup_key="k")], "attempts": []}):
        with pytest.raises(StaleVersion):
            save_last(**{"saved": [next_row], "timers_set": [timer()], **stale})
    assert storage.reader.deployment(OWN).version == 1
    assert storage.reader.timers() == []
    save_last(saved=[next_row], timers_set=[timer()], events=[event(2, dedup_key="l")])
    assert storage.reader.deployment(OWN) == next_row
    assert storage.reader.timers() == [timer()]


def test_rows_can_be_claimed_after_the_last_save(storage: Storage) -> None:
    with storage.begin() as unit:
        unit.save(Changes(outbox_added=[message("a"), message("b")]), is_last=True)
        assert unit.claim_outbox(["a"], "core", NOW, NOW + timedelta(seconds=1)) == {"a"}
    with storage.begin() as unit:
        unit.save(Changes(outbox_added=[message("c")]), is_last=True)
        assert [row.id for row in unit.waiting_outbox(NOW, 9)] == ["b", "c"]
    assert storage.reader.outbox_count() == 3


def test_nothing_is_left_of_what_is_added_and_removed_at_once(storage: Storage) -> None:
    save(
        storage,
        created=[(deployment(), b"{}")],
        outbox_added=[message("a"), message("b")],
        outbox_removed=["a"],
        timers_set=[timer(), timer("queue")],
        timers_removed=[(OWN, "queue", 1)],
    )
    assert [row.id for row in storage.reader.outbox()] == ["b"]
    assert storage.reader.timers() == [timer()]


def test_event_is_refused_when_its_dedup_key_is_known(storage: Storage) -> None:
    save(
        storage, created=[(deployment(), b"{}"), (deployment(OTHER), b"{}")], events=[event(1, dedup_key="k")]
    )
    save(storage, events=[event(1, OTHER, "k"), event(2, OTHER), event(3, OTHER)])
    with pytest.raises(StorageError):
        save(storage, events=[event(2, dedup_key="k")])
    with storage.begin() as unit:
        assert unit.known_keys({(OWN, "k"), (OWN, "l"), (OTHER, "k")}) == {(OWN, "k"), (OTHER, "k")}
        assert unit.known_keys(()) == set()


def test_events_are_read_in_order_after_a_number(storage: Storage) -> None:
    rows = [event(number) for number in (1, 2, 3)]
    save(storage, created=[(deployment(), b"{}")], events=rows)
    assert storage.reader.events(OWN) == rows
    assert storage.reader.events(OWN, after_seq=1, limit=1) == [rows[1]]


def test_attempt_is_replaced_when_saved_again(storage: Storage) -> None:
    save(storage, created=[(deployment(), b"{}")], attempts=[attempt(), attempt(number=2)])
    changed = msgspec.structs.replace(attempt("failed"), percent=12.5, data=b'"x"', ended_at=NOW)
    save(storage, attempts=[changed])
    assert storage.reader.attempts(OWN) == [changed, attempt(number=2)]
    assert storage.reader.attempts(OWN, after_number=1) == [attempt(number=2)]
    with storage.begin() as unit:
        assert unit.attempts({changed.id, "none"}) == {changed.id: changed}
        assert unit.attempts(()) == {}


def test_second_deployment_of_a_key_is_refused(storage: Storage) -> None:
    save(storage, created=[(deployment(idempotency_key="k", request_digest="d"), b"{}")])
    with pytest.raises(StorageError):
        save(storage, created=[(deployment(OTHER, idempotency_key="k"), b"{}")])
    with storage.begin() as unit:
        assert unit.find_deployment(idempotency_key="k") == OWN
        assert unit.find_deployment(idempotency_key="l") is None
        assert unit.find_deployment(request_digest="d") == OWN
        assert unit.find_deployment() is None


def test_playbook_has_versions(storage: Storage) -> None:
    rows = [PlaybookRow(OWN, number, "web", "n", "0" * 64, f"text {number}", "ann", NOW) for number in (1, 2)]
    other = PlaybookRow(OTHER, 1, "db", "m", "0" * 64, "other", "ann", NOW)
    with storage.begin() as unit:
        for row in (*rows, other):
            unit.add_playbook(row)
        assert unit.playbook(OWN) == rows[1]
        assert unit.playbook("3" * 24) is None
    assert storage.reader.playbook(OWN) == rows[1]
    assert storage.reader.playbook(OWN, 1) == rows[0]
    assert storage.reader.playbooks() == [other, rows[1]]
    assert storage.reader.playbooks(group="web") == [rows[1]]
    with pytest.raises(StorageError), storage.begin() as unit:
        unit.add_playbook(rows[0])


def test_waiting_messages_are_the_unclaimed_and_the_expired_oldest_first(storage: Storage) -> None:
    later, past = NOW + timedelta(seconds=1), NOW - timedelta(seconds=1)
    rows = [
        message("new"),
        message("old", 9),
        message("claimed", claimed_by="core", claim_until=later),
        message("expired", 5, claimed_by="core", claim_until=past),
        message("delayed", claim_until=later),
    ]
    save(storage, outbox_added=rows)
    with storage.begin() as unit:
        assert unit.waiting_outbox(NOW, 10) == [rows[1], rows[3], rows[0]]
        assert unit.waiting_outbox(NOW, 1) == [rows[1]]
        assert len(unit.waiting_outbox(later, 10)) == 5
    assert storage.reader.outbox_count() == 5


def test_message_is_claimed_by_one_core_until_its_lease_is_over(storage: Storage) -> None:
    save(storage, outbox_added=[message("a"), message("b")])
    until = NOW + timedelta(seconds=15)
    with storage.begin() as unit:
        assert unit.claim_outbox({"a", "gone"}, "one", NOW, until) == {"a"}
        assert unit.claim_outbox((), "one", NOW, until) == set()
    with storage.begin() as unit:
        assert unit.claim_outbox({"a", "b"}, "two", NOW, until) == {"b"}
        assert unit.waiting_outbox(NOW, 10) == []
        assert unit.claim_outbox({"a"}, "two", until, until + timedelta(seconds=15)) == {"a"}


def test_claims_of_a_former_life_end_when_messages_may_be_published_twice(storage: Storage) -> None:
    until = NOW + timedelta(seconds=15)
    rows = [
        message("twice", claimed_by="one", claim_until=until, is_idempotent=True),
        message("once", claimed_by="one", claim_until=until),
        message("other's", claimed_by="two", claim_until=until, is_idempotent=True),
    ]
    save(storage, outbox_added=rows)
    with storage.begin() as unit:
        unit.release_claims("one")
        assert [row.id for row in unit.waiting_outbox(NOW, 10)] == ["twice"]


def test_message_is_gone_or_delayed_when_removed_or_released(storage: Storage) -> None:
    save(storage, outbox_added=[message("a"), message("b", claimed_by="one", claim_until=NOW)])
    later = NOW + timedelta(seconds=1)
    save(storage, outbox_removed=["a", "gone"], outbox_released=[("b", later), ("gone", later)])
    with storage.begin() as unit:
        assert unit.waiting_outbox(NOW, 10) == []
        (found,) = unit.waiting_outbox(later, 10)
    assert (found.id, found.claimed_by) == ("b", None)


def test_timers_are_restarted_stopped_and_due_in_order(storage: Storage) -> None:
    run, queue = timer("run", after_s=3), timer("queue", after_s=1)
    first = [timer("run", after_s=5), queue, timer("cancel", after_s=2)]
    save(storage, created=[(deployment(), b"{}")], timers_set=first)
    save(storage, timers_set=[run], timers_removed=[(OWN, "cancel", 1), (OTHER, "run", 1)])
    with storage.begin() as unit:
        assert unit.next_timer_at() == NOW + timedelta(seconds=1)
        assert unit.due_timers(NOW, 10) == []
        assert unit.due_timers(NOW + timedelta(seconds=3), 10) == [queue, run]
        assert unit.due_timers(NOW + timedelta(seconds=3), 1) == [queue]
        unit.save(Changes(timers_removed=[(OWN, "queue", 1), (OWN, "run", 1)]))
        assert unit.next_timer_at() is None


def test_writer_gives_up_with_a_clear_error_when_another_process_holds_the_lock(
    open_storage: Callable[[], Storage],
) -> None:
    first, second = open_storage(), open_storage()
    save(first, created=[(deployment(), b"{}")])
    changed = deployment(version=2, status="paused")
    with first.begin() as unit:
        unit.deployments([OWN])
        unit.save(Changes(saved=[changed]))
        with pytest.raises(StorageUnavailable, match="lock"), second.begin() as late:
            late.deployments([OWN])
        assert second.reader.deployments(limit=1) == [deployment()], "readers go on meanwhile"
    assert second.reader.deployments(limit=1) == [changed]


def test_writes_of_others_are_noticed_once_and_own_ones_are_not(open_storage: Callable[[], Storage]) -> None:
    first, second = open_storage(), open_storage()
    first.has_foreign_writes()
    save(first, created=[(deployment(), b"{}")])
    assert not first.has_foreign_writes()
    save(second, created=[(deployment(OTHER), b"{}")])
    wait_until(first.has_foreign_writes, message="word of the other's commit")
    assert not first.has_foreign_writes()


def test_one_core_of_a_name_holds_the_database_until_it_closes(open_storage: Callable[[], Storage]) -> None:
    first, second = open_storage(), open_storage()
    first.lock_core("core")
    second.lock_core("another")
    with pytest.raises(StorageError, match="another core"):
        second.lock_core("core")
    first.close()
    second.lock_core("core")


def test_text_is_kept_when_it_is_hostile(storage: Storage) -> None:
    text = "'; DROP TABLE event; --\x00\u202e</script> \u2400 \u241b\x00%s :name"
    save(
        storage,
        created=[(deployment(name=text, idempotency_key=text), b"{}")],
        events=[event(1, dedup_key=text)],
        attempts=[msgspec.structs.replace(attempt(), worker=text, message=text)],
    )
    assert storage.reader.deployment(OWN).name == text
    assert storage.reader.attempts(OWN)[0].message == text
    with storage.begin() as unit:
        assert unit.find_deployment(idempotency_key=text) == OWN
        assert unit.known_keys({(OWN, text), (OWN, text[1:])}) == {(OWN, text)}
        unit.take_locks(OWN, [text], NOW)
        assert unit.take_locks(OTHER, [text], NOW).name == text


def test_save_is_refused_when_text_is_no_unicode(storage: Storage) -> None:
    with pytest.raises(StorageError, match="no UTF-8"):
        save(storage, created=[(deployment(name="\udc80"), b"{}")])


def test_source_is_kept_beside_the_plan(storage: Storage) -> None:
    both = [(deployment(), b"{}"), (deployment(OTHER, resumes=OWN), b"{}")]
    rows = [SourceRow(OWN, "group: web", b'{"a":1}'), SourceRow(OTHER, None)]
    save(storage, created=both, sources=rows)
    assert [storage.reader.source(own) for own in (OWN, OTHER, "3" * 24)] == [*rows, None]
    assert storage.reader.deployment(OTHER).resumes == OWN


def test_events_are_read_within_the_transaction_too(storage: Storage) -> None:
    rows = [event(number) for number in range(1, 1203)]
    save(
        storage, created=[(deployment(), b"{}"), (deployment(OTHER), b"{}")], events=[*rows, event(1, OTHER)]
    )
    with storage.begin() as unit:
        assert unit.events(OWN) == rows
        unit.save(Changes(events=[event(1203)]))
        assert len(unit.events(OWN)) == 1203
        assert unit.events("3" * 24) == []


def test_role_of_an_attempt_is_kept(storage: Storage) -> None:
    rows = [attempt(), msgspec.structs.replace(attempt(number=2), role="verify")]
    save(storage, created=[(deployment(), b"{}")], attempts=rows)
    assert [row.role for row in storage.reader.attempts(OWN)] == ["step", "verify"]


def test_instance_has_one_row_however_often_it_beats(storage: Storage) -> None:
    rows = [InstanceRow(name, "host", 7, "1.0", NOW, NOW) for name in ("b", "a")]
    newer = InstanceRow("b", "elsewhere", 8, "1.1", NOW, NOW + timedelta(seconds=5))
    for row in (*rows, newer):
        with storage.begin() as unit:
            unit.beat(row)
    assert storage.reader.instances() == [rows[1], newer]


def ended(number: int, age_s: int, last_seq: int = 2) -> DeploymentRow:
    own, at = f"{number:024}", NOW - timedelta(seconds=age_s)
    return deployment(own, status="completed", ended_at=at, last_seq=last_seq)


def prune(storage: Storage, event_count: int = 100) -> list[str]:
    with storage.begin() as unit:
        ids = unit.ended(NOW - timedelta(seconds=10), event_count)
    with storage.begin() as unit:
        return sorted(unit.prune(ids), key=ids.index)


def test_old_deployments_go_with_all_their_rows(storage: Storage) -> None:
    old, young, runs = ended(1, 20), ended(2, 5), deployment()
    save(
        storage,
        created=[(row, b"{}") for row in (old, young, runs)],
        sources=[SourceRow(row.id, "text") for row in (old, young)],
        events=[event(number, row.id) for row in (old, young, runs) for number in (1, 2)],
        attempts=[attempt("completed", own_id=row.id) for row in (old, young)],
        timers_set=[timer(own_id=row.id) for row in (old, young)],
    )
    assert prune(storage) == [old.id]
    assert prune(storage) == []
    reader = storage.reader
    assert [row.id for row in reader.deployments(limit=9)] == [OWN, young.id]
    assert (reader.events(old.id), reader.attempts(old.id), reader.source(old.id)) == ([], [], None)
    assert (len(reader.events(young.id)), len(reader.attempts(young.id))) == (2, 1)
    assert reader.source(young.id) is not None
    with storage.begin() as unit:
        assert unit.due_timers(NOW, 9) == [timer(own_id=young.id)]


def test_deployment_stays_while_it_has_something_to_publish(storage: Storage) -> None:
    old = ended(1, 20)
    save(storage, created=[(old, b"{}")], outbox_added=[message("notice", deployment_id=old.id)])
    assert prune(storage) == []
    save(storage, outbox_removed=["notice"])
    assert prune(storage) == [old.id]


def test_old_deployments_go_in_chunks_the_oldest_first(storage: Storage) -> None:
    rows = [ended(1, 20, 300), ended(2, 40, 40), ended(3, 30, 60), ended(4, 15, 1)]
    save(storage, created=[(row, b"{}") for row in rows])
    assert prune(storage) == [rows[1].id, rows[2].id]
    assert prune(storage) == [rows[0].id], "even when it alone is more than a chunk"
    assert prune(storage) == [rows[3].id]


def test_clock_of_the_database_is_near_this_machine_s(storage: Storage) -> None:
    assert abs(storage.clock_offset_s()) < 2, "the test's server runs on this machine"
