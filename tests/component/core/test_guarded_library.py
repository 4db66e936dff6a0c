"""What somebody with a token may do to playbooks, to tokens, and outside of the database."""

from __future__ import annotations

import pytest

from reworker.core.principal import Limits, Place, Scope
from reworker.errors import Forbidden, StorageUnavailable
from tests.component.core.kit import World
from tests.component.core.people import ALL, People, text


def test_playbooks_are_read_and_changed_in_the_own_groups_only(world: World, people: People) -> None:
    library = world.core.service.library
    web = library.store(text())
    world.clock.advance(1)
    db = library.store(text(group="db"))
    who = people.who(*ALL, limits=Limits(groups=("web",)))
    assert who.library.playbooks() == [web]
    assert who.library.playbook(web.id) == web
    with pytest.raises(Forbidden):
        who.library.playbook(db.id)
    for deed in (
        lambda: who.library.store(text(group="db")),
        lambda: who.library.store(text(group="db"), playbook_id=web.id),
        lambda: who.library.store(text(), playbook_id=db.id),
        lambda: who.library.remove(db.id),
    ):
        with pytest.raises(Forbidden, match="'db'"):
            deed()
    assert library.playbooks() == [db, web]
    world.clock.advance(1)
    newer = who.library.store(text(hosts=("web2",)), playbook_id=web.id)
    assert who.library.store(text(hosts=("web2",)), playbook_id=web.id) == newer
    world.clock.advance(1)
    who.library.remove(web.id)
    assert people.kept()[-2:] == [("playbook.store", "done"), ("playbook.remove", "done")]
    assert people.audit()[-2].detail == "version 2 of web / a playbook"
    assert newer.actor == "ann"


def test_playbooks_are_hidden_from_who_may_not_read_them(world: World, people: People) -> None:
    row = world.core.service.library.store(text())
    with pytest.raises(Forbidden):
        people.who(Scope.APPROVE).library.playbooks()
    with pytest.raises(Forbidden):
        people.who(Scope.APPROVE).library.draft(text(), {}, "playbook")
    reader = people.who(Scope.READ).library
    assert reader.draft_of(row, {}, "playbook").plan.step_count == 1
    with pytest.raises(Forbidden):  # by texts of one's own, all that the operator adds could be found out
        reader.draft(text(), {}, "playbook")
    assert people.who(Scope.RUN).library.draft(text(), {}, "playbook").plan.step_count == 1


def test_admin_of_a_place_makes_and_revokes_tokens_of_that_place_only(people: People) -> None:
    everywhere, _ = people.who(Scope.ADMIN).tokens.create("root", [Scope.ADMIN])
    who = people.who(Scope.ADMIN, limits=Limits(groups=("web",)))
    view, _ = who.tokens.create("new", [Scope.RUN], Limits(groups=("web",)))
    for deed in (
        lambda: who.tokens.create("new", [Scope.RUN]),
        lambda: who.tokens.revoke(everywhere.id),
    ):
        with pytest.raises(Forbidden, match="groups web"):
            deed()
    assert who.tokens.revoke(view.id)
    assert {one.name for one in who.tokens.tokens()} == {"new"}
    assert {one.name for one in people.who(Scope.ADMIN).tokens.tokens()} == {"root", "new"}
    with pytest.raises(Forbidden, match="the audit is of all groups"):
        who.tokens.audit(actor="ann")
    outcomes = [(one.action, one.outcome) for one in people.who(Scope.ADMIN).tokens.audit(actor="ann")]
    assert sorted(outcomes) == [
        ("token.create", "denied"),
        ("token.create", "done"),
        ("token.create", "done"),
        ("token.revoke", "denied"),
        ("token.revoke", "done"),
    ]
    with pytest.raises(Forbidden):
        people.who(*ALL).tokens.audit()
    with pytest.raises(Forbidden):
        people.who(*ALL).tokens.tokens()


def test_deed_outside_of_the_database_is_kept_however_it_goes(people: People) -> None:
    guard = people.who(Scope.RUN).guard
    with guard.acting("dead.redrive", "letter", scope=Scope.RUN):
        pass
    with pytest.raises(StorageUnavailable), guard.acting("dead.drop", scope=(Scope.RUN, Scope.CANCEL)):
        raise StorageUnavailable("gone")
    with pytest.raises(Forbidden), guard.acting("dead.edit", scope=Scope.ADMIN):
        raise AssertionError("not done")
    with (
        pytest.raises(Forbidden),
        people.who(Scope.RUN, limits=Limits(groups=("db",))).guard.acting(
            "dead.edit", scope=Scope.RUN, place=Place(group="web")
        ),
    ):
        raise AssertionError("not done")
    assert sorted(people.kept()) == [
        ("dead.drop", "failed"),
        ("dead.edit", "denied"),
        ("dead.edit", "denied"),
        ("dead.redrive", "done"),
    ]
