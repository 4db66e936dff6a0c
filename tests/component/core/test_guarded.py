"""What somebody with a token may ask of the core, and what the audit keeps of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest

from reworker.core.batch import Applied
from reworker.core.guarded import GuardedService
from reworker.core.places import NAMED_COUNT
from reworker.core.principal import Limits, Scope
from reworker.core.submission import Terms
from reworker.errors import (
    ConfigError,
    DeploymentNotFound,
    Forbidden,
    KeyReused,
    NotResumable,
    PlaybookInvalid,
    PlaybookNotFound,
    StorageUnavailable,
    TokenNotFound,
)
from reworker.fsm.events import Decision
from reworker.storage.contract import DeploymentFilter
from tests.component.core.kit import Worker, World
from tests.component.core.people import ALL, People, text

#: every write, on the deployment or playbook of the id.
WRITES: dict[str, Callable[[GuardedService, str], object]] = {
    "deployment.start": lambda core, _: core.submit(text()),
    "deployment.retry": lambda core, own: core.retry(own),
    "deployment.cancel": lambda core, own: core.cancel(own),
    "deployment.pause": lambda core, own: core.pause(own),
    "deployment.resume": lambda core, own: core.resume(own),
    "deployment.decide": lambda core, own: core.decide(own, 0, Decision.RETRY),
    "deployment.approve": lambda core, own: core.approve(own),
    "deployment.refuse": lambda core, own: core.refuse(own),
    "playbook.store": lambda core, _: core.library.store(text()),
    "playbook.remove": lambda core, own: core.library.remove(own),
    "token.create": lambda core, _: core.tokens.create("new", [Scope.READ]),
    "token.revoke": lambda core, own: core.tokens.revoke(own),
}
#: the scopes that are enough for each.
ENOUGH = {
    "deployment.start": {Scope.RUN},
    "deployment.retry": {Scope.RUN},
    "deployment.cancel": {Scope.CANCEL},
    "deployment.pause": {Scope.RUN, Scope.CANCEL},
    "deployment.resume": {Scope.RUN},
    **{f"deployment.{name}": {Scope.APPROVE} for name in ("decide", "approve", "refuse")},
    "playbook.store": {Scope.PLAYBOOK_WRITE},
    "playbook.remove": {Scope.PLAYBOOK_WRITE},
    "token.create": set(),
    "token.revoke": set(),
}


def test_write_is_denied_without_its_scope_and_kept(world: World, people: People) -> None:
    own_id = world.core.service.submit(text())
    before = world.core.service.events(own_id)
    for action, write in WRITES.items():
        others = [one for one in ALL if one not in ENOUGH[action]]
        with pytest.raises(Forbidden, match="needs the scope"):
            write(people.who(*others), own_id)
        (entry,) = people.access.audit(action=action)
        assert (entry.outcome, entry.actor, entry.source_ip) == ("denied", "ann", "::1")
        assert "needs the scope" in entry.detail
    assert world.core.service.events(own_id) == before
    assert len(world.core.service.deployments()) == 1
    assert people.access.tokens() == []


def outcome(people: People, core: GuardedService, action: str, own_id: str) -> str:
    """Return how the audit says that a write went."""
    known = {one.id for one in people.audit()}
    with suppress(Forbidden, NotResumable):
        WRITES[action](core, own_id)
    (entry,) = (one for one in people.audit() if one.id not in known)
    assert entry.action == action
    return entry.outcome


@pytest.mark.parametrize("action", [name for name in WRITES if name.startswith("deployment.")])
def test_write_to_a_deployment_passes_with_one_scope_that_is_enough(
    world: World, people: People, action: str
) -> None:
    own_id = world.core.service.submit(text())
    for scope in (Scope.ADMIN, *ALL):
        is_denied = outcome(people, people.who(scope), action, own_id) == "denied"
        assert is_denied == (scope not in {*ENOUGH[action], Scope.ADMIN}), scope


def test_write_is_denied_elsewhere_and_kept(world: World, people: People) -> None:
    whole = text(environment="production", hosts=("web1", "db1"))
    own_id = world.core.service.submit(whole)
    places = {
        "group 'web'": Limits(groups=("db",)),
        "environment 'production'": Limits(environments=("staging",)),
        "host 'db1'": Limits(hosts=("web1",)),
    }
    writes = {**WRITES, "deployment.start": lambda core, _: core.submit(whole)}
    for word, limits in places.items():
        for action in (name for name in WRITES if name.startswith("deployment.")):
            # where a deployment is that may not be seen is not said
            is_told = action == "deployment.start" or limits.hosts
            with pytest.raises(
                Forbidden, match=f"{word}$" if is_told else f"for where deployment {own_id} is$"
            ):
                writes[action](people.who(*ALL, limits=limits), own_id)
    assert {one.outcome for one in people.audit()} == {"denied"}
    assert len(people.audit()) == len(places) * 8
    assert world.core.service.deployments()[0].row.version == 1


def test_deployment_that_is_started_is_kept_with_it(world: World, people: People, worker: Worker) -> None:
    limits = Limits(groups=("we?",), environments=("prod*",), hosts=("web*",))
    who = people.who(Scope.RUN, limits=limits)
    stored = world.core.service.library.store(text())
    own_id = who.submit(
        text(environment="production"), terms=Terms(reason="release 7"), playbook_id=stored.id
    )
    world.run()
    view = who.deployment(own_id)
    assert (view.row.actor, view.row.playbook_id, view.row.status) == ("ann", stored.id, "completed")
    submitted = who.events(own_id)[0]
    assert (submitted.data["source_ip"], submitted.data["reason"]) == ("::1", "release 7")
    (entry,) = people.audit()
    assert (entry.action, entry.target, entry.outcome) == ("deployment.start", own_id, "done")
    assert entry.token_id == who.who.token_id


def test_nothing_is_started_when_it_cannot_be_kept(world: World, people: People) -> None:
    who = people.who(Scope.RUN)
    with world.storage.begin() as unit:
        unit._connection.exec_driver_sql("DROP TABLE audit")
    with pytest.raises(Exception, match="audit"):
        who.submit(text())
    assert world.core.service.deployments() == []


def test_denial_stands_when_it_cannot_be_kept(
    world: World, people: People, caplog: pytest.LogCaptureFixture
) -> None:
    own_id = world.core.service.submit(text())

    def fault() -> None:
        raise StorageUnavailable("disk full")

    world.storage.fault = fault
    with pytest.raises(Forbidden):
        people.who(Scope.READ).cancel(own_id)
    assert "deployment.cancel" in caplog.text
    assert "disk full" in caplog.text


def test_wrong_playbook_is_kept_as_failed(people: People) -> None:
    with pytest.raises(PlaybookInvalid):
        people.who(Scope.RUN).submit("group: web")
    (entry,) = people.audit()
    assert (entry.action, entry.outcome) == ("deployment.start", "failed")
    assert "name" in entry.detail or "execution" in entry.detail


def test_request_that_changes_nothing_is_kept_as_failed(world: World, people: People, worker: Worker) -> None:
    own_id = world.core.service.submit(text())
    world.run()
    who = people.who(Scope.CANCEL)
    assert who.cancel(own_id).applied is Applied.IGNORED
    (entry,) = people.audit()
    assert (entry.target, entry.outcome) == (own_id, "failed")
    assert "completed" in entry.detail


def test_deployment_is_not_found_whatever_its_id(people: People) -> None:
    who = people.who(*ALL)
    reads = (who.deployment, who.plan, who.events, who.attempts, who.log_lines)
    deeds = (*reads, who.cancel, who.pause, who.resume, who.approve, who.refuse, who.retry)
    for own_id in ("", "..", "0" * 24, "\x00" * 24, "\ud800", "x" * 10_000, "0" * 23 + "\n"):
        for deed in (*deeds, lambda own: who.decide(own, 0, Decision.RETRY)):
            with pytest.raises(DeploymentNotFound):
                deed(own_id)
        for stored in (who.library.playbook, who.library.remove):
            with pytest.raises(PlaybookNotFound):
                stored(own_id)
        with pytest.raises(TokenNotFound):
            people.who(Scope.ADMIN).tokens.revoke(own_id)


def test_deployments_are_hidden_from_who_may_not_see_them(world: World, people: People) -> None:
    own_id = world.core.service.submit(text())
    for who in (people.who(), people.who(Scope.WORKER), people.who(Scope.PLAYBOOK_WRITE)):
        for read in (who.deployment, who.plan, who.events, who.attempts, who.log_lines):
            with pytest.raises(Forbidden):
                read(own_id)
        with pytest.raises(Forbidden):
            who.deployments()
        assert who.counts_by_status() == {}


def test_deployment_of_another_place_is_not_read(world: World, people: People) -> None:
    own_id = world.core.service.submit(text(environment="production"))
    for limits in (Limits(groups=("db",)), Limits(environments=("staging",))):
        with pytest.raises(Forbidden):
            people.who(Scope.READ, limits=limits).log_lines(own_id)
    hosts_only = people.who(Scope.READ, limits=Limits(hosts=("db1",)))
    assert hosts_only.deployment(own_id).row.id == own_id, "who may read sees all hosts"


#: who may see which of the deployments below.
VISIBLE = [
    (Limits(), [5, 4, 3, 2, 1, 0]),
    (Limits(groups=("web-a", "db")), [5, 3, 2, 0]),
    (Limits(groups=("web-*",)), [4, 3, 1, 0]),
    (Limits(groups=("web-*",), environments=("prod*",)), [4, 0]),
    (Limits(environments=("",)), [5, 3, 1]),
    (Limits(groups=("none",)), []),
    (Limits(groups=("none*",)), []),
    (Limits(hosts=("none",)), [5, 4, 3, 2, 1, 0]),
]
PLACES = [
    ("web-a", "production"),
    ("web-b", ""),
    ("db", "staging"),
    ("web-a", ""),
    ("web-b", "production"),
    ("db", ""),
]


def test_lists_and_counts_have_only_what_may_be_seen(world: World, people: People) -> None:
    ids = []
    for group, environment in PLACES:
        ids.append(world.core.service.submit(text(group=group, environment=environment)))
        world.clock.advance(1)
    for limits, numbers in VISIBLE:
        who, expected = people.who(Scope.READ, limits=limits), [ids[number] for number in numbers]
        assert [view.row.id for view in who.deployments()] == expected
        assert sum(who.counts_by_status().values()) == len(expected)
        pages, before_id = [], ""
        while page := who.deployments(limit=1, before_id=before_id):
            pages += [view.row.id for view in page]
            before_id = pages[-1]
        assert pages == expected
        found = who.deployments(wanted=DeploymentFilter(groups=("web-b",)))
        assert [view.row.id for view in found] == [one for one in expected if one in (ids[1], ids[4])]


def test_pages_are_filled_when_patterns_fit_more_groups_than_a_query_names(
    world: World, people: People
) -> None:
    ids = []
    for number in range(3):
        ids.append(world.core.service.submit(text(group=f"web-{number}")))
        world.clock.advance(1)
        world.core.service.submit(text(group=f"db-{number}"))
        world.clock.advance(1)
    who = people.who(Scope.READ, limits=Limits(groups=("web-*",)))
    names = (f"{kind}-{number}" for number in range(NAMED_COUNT + 1) for kind in ("web", "db"))
    wanted = DeploymentFilter(groups=tuple(names))
    assert [view.row.id for view in who.deployments(limit=2, wanted=wanted)] == [ids[2], ids[1]]
    assert [view.row.id for view in who.deployments(limit=2, wanted=wanted, before_id=ids[1])] == [ids[0]]
    assert sum(who.counts_by_status(wanted).values()) == 3


def test_foreign_cursor_is_refused(people: People) -> None:
    who = people.who(Scope.ADMIN)
    for cursor in ("x", "0" * 25, "\x00", "' OR 1=1"):
        for listing in (who.deployments, who.tokens.tokens, who.tokens.audit):
            with pytest.raises(ConfigError, match="before_id"):
                listing(before_id=cursor)


def test_same_key_and_request_is_the_same_deployment(world: World, people: People) -> None:
    who = people.who(Scope.RUN)
    terms = Terms("key 1", b'{"a":1}')
    first = who.submit(text(), terms=terms)
    assert who.submit(text(), terms=terms) == first
    assert who.submit("by now it is wrong", terms=terms) == first
    assert people.who(Scope.RUN, name="bob").submit(text(), terms=terms) != first
    assert who.submit(text(), terms=Terms("key 2", b'{"a":1}')) != first
    assert world.core.service.submit(text(), idempotency_key="key 1") != first
    assert people.kept() == [("deployment.start", "done")] * 3


def test_key_is_refused_with_another_request(people: People) -> None:
    who = people.who(Scope.RUN)
    first = who.submit(text(), terms=Terms("key 1", b"a"))
    with pytest.raises(KeyReused, match=f"'key 1' has started deployment {first}"):
        who.submit(text(), terms=Terms("key 1", b"b"))
    assert sorted(people.kept()) == [("deployment.start", "done"), ("deployment.start", "failed")]
    with pytest.raises(ConfigError, match="idempotency_key"):
        who.submit(text(), terms=Terms("k" * 256))


def test_key_does_not_help_where_the_token_is_not_for(people: People) -> None:
    terms = Terms("key 1", b"a")
    people.who(Scope.RUN).submit(text(), terms=terms)
    with pytest.raises(Forbidden):
        people.who(Scope.RUN, limits=Limits(groups=("db",))).submit(text(), terms=terms)
    with pytest.raises(Forbidden):
        people.who(Scope.READ).submit(text(), terms=terms)


def test_edited_playbook_does_not_lead_out_of_the_own_place(
    world: World, people: People, worker: Worker
) -> None:
    worker.script = ({"status": "failed"},)
    own_id = world.core.service.submit(text())
    world.run()
    who = people.who(Scope.RUN, limits=Limits(hosts=("web*",)))
    with pytest.raises(Forbidden, match="db1"):
        who.retry(own_id, text=text(hosts=("web1", "db1")))
    worker.script = ({"status": "completed"},)
    world.clock.advance(1)
    continued = who.retry(own_id, reason="disk replaced")
    world.run()
    row = world.deployment(continued).row
    assert (row.status, row.resumes, row.actor) == ("completed", own_id, "ann")
    denied, done = people.audit()
    assert (denied.outcome, denied.target) == ("denied", own_id)
    assert (done.outcome, done.target, done.detail) == (
        "done",
        continued,
        f"continues {own_id}; disk replaced",
    )
