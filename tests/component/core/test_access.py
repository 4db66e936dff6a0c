"""Who asks: tokens, sessions, the link of the first start, and the audit."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from reworker.core.access import LINK_HOURS, SESSION_HOURS, TOUCH_S, Access
from reworker.core.audit import AuditEntry, Outcome
from reworker.core.guard import Guard
from reworker.core.guarded_tokens import GuardedTokens
from reworker.core.known import KNOWN_S
from reworker.core.persons import Person
from reworker.core.principal import Limits, Principal, Scope
from reworker.errors import ConfigError, Forbidden, NotAuthenticated, StorageUnavailable, TokenNotFound
from reworker.storage.log import log_path
from tests.component.core.kit import FakeClock, FusedStorage, fresh_database

HOUR_S = 3600


class Bed:
    """A database, a clock, and accesses of several processes."""

    def __init__(self, folder: Path) -> None:
        self.clock, self.path = FakeClock(), folder / "core.db"
        for path, data in zip((self.path, log_path(self.path)), fresh_database(), strict=True):
            path.write_bytes(data)
        self.storage = FusedStorage(self.path)
        self.put_off: list[Callable[[], None]] = []

    def access(self) -> Access:
        """Return the access of one more process; what nobody waits for is put off."""
        return Access(self.storage, self.clock, later=self.put_off.append)

    def catch_up(self) -> int:
        """Do what was put off; return how much it was."""
        count = len(self.put_off)
        while self.put_off:
            self.put_off.pop()()
        return count


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    made = Bed(tmp_path)
    yield made
    made.storage.close()


@pytest.fixture
def access(bed: Bed) -> Access:
    return bed.access()


def refuses(deed: Callable[..., object], *arguments: str) -> str:
    """Return the words with which somebody is refused."""
    with pytest.raises(NotAuthenticated) as caught:
        deed(*arguments)
    return str(caught.value)


def test_token_is_who_it_was_made_for_and_only_its_digest_is_kept(bed: Bed, access: Access) -> None:
    limits = Limits(groups=("web-*",), environments=("staging",), hosts=("web1",))
    view, text = access.create_token("ann", [Scope.RUN, Scope.READ, Scope.RUN], limits, actor="root")
    assert access.principal_of(text, "10.0.0.1") == Principal(
        view.id, "ann", frozenset({Scope.RUN, Scope.READ}), limits, "10.0.0.1"
    )
    assert access.tokens() == [view] == [access.token(view.id)]
    secret = text.rpartition("_")[2]
    assert (view.scopes, view.actor) == ((Scope.READ, Scope.RUN), "root")
    assert secret.encode() not in bed.path.read_bytes() + bed.path.with_name("core.db-wal").read_bytes()


def test_all_who_are_not_known_are_refused_with_the_same_words(bed: Bed, access: Access) -> None:
    view, text = access.create_token("ann", [Scope.READ])
    ended, ended_text = access.create_token(
        "ann", [Scope.READ], expires_at=bed.clock.now() + timedelta(seconds=5)
    )
    other = text[:-1] + ("0" if text[-1] != "0" else "1")
    foreign = text.replace(view.id, ended.id)
    access.revoke(view.id)
    bed.clock.advance(5)
    said = {
        refuses(access.principal_of, one)
        for one in (text, ended_text, other, foreign, "", "x" * 10**6, "\ud800")
    }
    said.add(refuses(access.principal_of_session, text))
    said.add(refuses(access.principal_of_session, "0" * 64))
    said.add(refuses(access.use_link, "0" * 64))
    said.add(refuses(access.principal_named, "nobody"))
    assert len(said) == 1


def test_token_ends_at_its_very_moment_though_it_was_known_just_now(bed: Bed, access: Access) -> None:
    ends_at = bed.clock.now() + timedelta(seconds=0.5)
    _, text = access.create_token("ann", [Scope.READ], expires_at=ends_at)
    access.principal_of(text)
    bed.clock.advance(0.49)
    access.principal_of(text)
    bed.clock.advance(0.01)
    refuses(access.principal_of, text)


def test_revoked_token_stops_at_once_here_and_within_a_second_elsewhere(bed: Bed) -> None:
    here, elsewhere = bed.access(), bed.access()
    view, text = here.create_token("ann", [Scope.READ])
    cookie = elsewhere.open_session(text)
    for one in (here, elsewhere):
        one.principal_of(text)
        one.principal_of_session(cookie)
    assert here.revoke(view.id)
    refuses(here.principal_of, text)
    refuses(here.principal_of_session, cookie)
    elsewhere.principal_of(text)
    bed.clock.advance(KNOWN_S)
    refuses(elsewhere.principal_of, text)
    refuses(elsewhere.principal_of_session, cookie)
    assert not here.revoke(view.id)
    with pytest.raises(TokenNotFound, match="nope"):
        here.revoke("nope")


def test_busy_client_costs_one_read_a_second(
    bed: Bed, access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, text = access.create_token("ann", [Scope.READ])
    reads: list[str] = []
    reader = bed.storage.reader
    read = reader.token_by_digest

    class Counting:
        def __getattr__(self, name: str) -> object:
            reads.append(name)
            return read if name == "token_by_digest" else getattr(reader, name)

    monkeypatch.setattr(bed.storage, "reader", Counting())
    for _ in range(1000):
        access.principal_of(text)
        bed.clock.advance(0.001)
    access.principal_of(text)
    assert reads == ["token_by_digest"] * 2


def test_last_use_is_noted_once_a_minute_behind_the_request(bed: Bed, access: Access) -> None:
    view, text = access.create_token("ann", [Scope.READ])
    for _ in range(10):
        access.principal_of(text)
    assert access.token(view.id).used_at is None, "nobody waited for it"
    assert bed.catch_up() == 1
    assert access.token(view.id).used_at == bed.clock.now()
    bed.clock.advance(TOUCH_S - 1)
    access.principal_of(text)
    assert bed.catch_up() == 0
    bed.clock.advance(1)
    access.principal_of(text)
    bed.access().principal_of(text)
    assert bed.catch_up() == 2
    assert access.token(view.id).used_at == bed.clock.now()


def test_request_passes_when_its_use_cannot_be_noted(
    bed: Bed, access: Access, caplog: pytest.LogCaptureFixture
) -> None:
    view, text = access.create_token("ann", [Scope.READ])

    def fault() -> None:
        raise StorageUnavailable("disk full")

    bed.storage.fault = fault
    with caplog.at_level(logging.DEBUG, "reworker.core.access"):
        access.principal_of(text)
        assert bed.catch_up() == 1
    assert f"{view.id} was not noted: disk full" in caplog.text


def test_uses_are_noted_by_a_thread_of_its_own_that_ends(bed: Bed) -> None:
    access = Access(bed.storage, bed.clock)
    view, text = access.create_token("ann", [Scope.READ])
    access.principal_of(text)
    access.close()
    access.close()
    assert access.token(view.id).used_at == bed.clock.now()
    access.principal_of(text)


@pytest.mark.parametrize("maker", [Principal("1" * 24, "bob", frozenset({Scope.READ})), None])
def test_token_is_worth_no_more_than_its_maker(access: Access, maker: Principal | None) -> None:
    if maker is None:
        view, _ = access.create_token("ann", [Scope.ADMIN], by=maker)
        assert access.tokens() == [view]
        return
    with pytest.raises(Forbidden, match="admin"):
        access.create_token("ann", [Scope.ADMIN], by=maker)
    assert access.tokens() == []


def test_token_is_refused_when_it_has_ended_before_it_begins(bed: Bed, access: Access) -> None:
    with pytest.raises(ConfigError, match="ended already"):
        access.create_token("ann", [Scope.READ], expires_at=bed.clock.now())


def test_session_counts_for_half_a_day_and_until_it_is_closed(bed: Bed, access: Access) -> None:
    view, text = access.create_token("ann", [Scope.READ])
    first, second = access.open_session(text, "::1"), access.open_session(text)
    assert access.principal_of_session(first, "::2") == view.principal("::2")
    access.close_session(first)
    access.close_session(first)
    access.close_session("nonsense")
    refuses(access.principal_of_session, first)
    refuses(access.principal_of, first)
    bed.clock.advance(SESSION_HOURS * HOUR_S - 1)
    access.principal_of_session(second)
    bed.clock.advance(1)
    refuses(access.principal_of_session, second)
    refuses(access.open_session, "rw_nonsense")


def test_link_makes_the_first_admin_once(bed: Bed, access: Access) -> None:
    older, link = access.first_link(), access.first_link()
    assert older
    assert link
    refuses(access.use_link, older)
    refuses(access.principal_of_session, link)
    found = access.use_link(link, "10.0.0.1")
    assert access.principal_of(found.text).scopes == {Scope.ADMIN}
    assert access.principal_of_session(found.cookie) == found.token.principal()
    refuses(access.use_link, link)
    assert access.first_link() is None
    (entry,) = access.audit(action="link.use")
    assert (entry.target, entry.source_ip) == (found.token.id, "10.0.0.1")


def test_link_is_given_again_when_no_admin_token_counts_any_more(bed: Bed, access: Access) -> None:
    access.create_token("reader", [Scope.READ])
    access.create_token("ann", [Scope.ADMIN], expires_at=bed.clock.now() + timedelta(hours=1))
    other, _ = access.create_token("bob", [Scope.ADMIN])
    access.revoke(other.id)
    assert access.first_link() is None
    bed.clock.advance(HOUR_S)
    link = access.first_link()
    assert link
    bed.clock.advance(LINK_HOURS * HOUR_S)
    refuses(access.use_link, link)


def test_link_is_worth_nothing_when_an_admin_token_was_made_meanwhile(access: Access) -> None:
    link = access.first_link()
    assert link
    access.create_token("ann", [Scope.ADMIN])
    refuses(access.use_link, link)


def test_name_stands_for_its_newest_token_that_counts(bed: Bed, access: Access) -> None:
    first, _ = access.create_token("ann", [Scope.READ])
    bed.clock.advance(1)
    second, _ = access.create_token("ann", [Scope.RUN])
    assert access.principal_named("ann", "::1") == second.principal("::1")
    access.revoke(second.id)
    assert access.principal_named("ann") == first.principal()
    access.revoke(first.id)
    refuses(access.principal_named, "ann")


def test_audit_keeps_who_did_what_cut_to_size(bed: Bed, access: Access) -> None:
    access.note(
        AuditEntry(
            "a\x00ct" + "x" * 99, "t" * 999, Outcome.FAILED, "\ud800" + "d" * 9999, "\x00é", "t1", "::1\n"
        )
    )
    bed.clock.advance(1)
    access.note_denial(Principal("t2", "bob", frozenset()), "token.create", "", "may not")
    denied, failed = access.audit()
    assert (failed.action[:4], len(failed.action), len(failed.target)) == ("a?ct", 60, 300)
    assert (failed.detail[:2], len(failed.detail)) == ("?d", 1000)
    assert (failed.actor, failed.source_ip) == ("\x00é", "::1?")
    assert (denied.actor, denied.outcome, denied.detail) == ("bob", "denied", "may not")
    assert access.audit(limit=1, before_id=denied.id) == access.audit(outcome="failed") == [failed]


def test_tokens_made_and_revoked_are_in_the_audit(bed: Bed, access: Access) -> None:
    admin = Principal("t1", "root", frozenset({Scope.ADMIN}), source_ip="::1")
    view, _ = access.create_token("ann", [Scope.READ], by=admin)
    bed.clock.advance(1)
    access.revoke(view.id, actor="uid 0")
    revoked, made = access.audit()
    assert (made.action, made.actor, made.token_id, made.target, made.detail) == (
        *("token.create", "root", "t1", view.id, "ann: read"),
    )
    assert (revoked.action, revoked.actor, revoked.target) == ("token.revoke", "uid 0", view.id)


def person(name: str = "oidc:ann", *scopes: Scope, limits: Limits | None = None) -> Person:
    return Person(name, scopes, limits or Limits(), "https://id", "u1")


def test_person_without_a_token_has_the_rights_of_the_login_until_it_ends(bed: Bed, access: Access) -> None:
    secret = access.open_person_session(person("oidc:ann", Scope.READ, limits=Limits(("web",))), "::1")
    for one in (access, bed.access()):
        who = one.principal_of_session(secret, "::2")
        assert who == Principal("", "oidc:ann", frozenset({Scope.READ}), Limits(("web",)), "::2")
    assert bed.put_off == []
    (entry,) = access.audit(action="session.open")
    assert (entry.actor, entry.detail, entry.source_ip) == ("oidc:ann", "https://id u1", "::1")
    bed.clock.advance(SESSION_HOURS * HOUR_S - 1)
    assert bed.access().principal_of_session(secret).name == "oidc:ann"
    bed.clock.advance(1)
    assert refuses(bed.access().principal_of_session, secret) == refuses(access.principal_of_session, secret)
    assert access.person_sessions() == []


def test_person_who_may_do_nothing_gets_no_session(access: Access) -> None:
    with pytest.raises(Forbidden, match="no group of yours"):
        access.open_person_session(person())
    assert access.person_sessions() == []
    assert [(one.actor, one.outcome) for one in access.audit()] == [("oidc:ann", Outcome.DENIED)]


def test_browsers_of_a_person_are_logged_out_together(bed: Bed, access: Access) -> None:
    secrets = [
        access.open_person_session(person(name, Scope.READ)) for name in ("oidc:ann", "oidc:ann", "oidc:bob")
    ]
    for one in secrets:
        access.principal_of_session(one)
    by = Principal("1" * 24, "root", frozenset({Scope.ADMIN}))
    assert access.drop_person("oidc:ann", by=by) == 2
    for one in secrets[:2]:
        refuses(access.principal_of_session, one)
    assert access.principal_of_session(secrets[2]).name == "oidc:bob"
    assert [one.person.name for one in access.person_sessions()] == ["oidc:bob"]
    with pytest.raises(ConfigError):
        access.drop_person("", by=by)


def test_person_is_logged_out_only_by_an_admin_who_could_have_given_as_much(access: Access) -> None:
    access.open_person_session(person("oidc:ann", Scope.RUN, limits=Limits(("db",))))
    for scope, limits in ((Scope.READ, Limits()), (Scope.ADMIN, Limits(("web",)))):
        tokens = GuardedTokens(access, Guard(access, Principal("", "eve", frozenset({scope}), limits)))
        with pytest.raises(Forbidden):
            tokens.drop_person("oidc:ann")
    assert len(access.person_sessions()) == 1
    assert [(one.actor, one.outcome) for one in access.audit(action="session.revoke")] == [
        ("eve", "denied")
    ] * 2
