"""What somebody with a token may do with codes, tasks and schedules, and what the audit keeps of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from reworker.core.guarded import GuardedService
from reworker.core.principal import Limits, Place, Principal, Scope
from reworker.core.tasks import task_tokens
from reworker.core.tasks.codes import CodeDraft
from reworker.core.tasks.guarded import GuardedTasks
from reworker.core.tasks.options import CodeOptions
from reworker.core.tasks.queueing import TaskDraft
from reworker.core.tasks.rights import SEEING
from reworker.core.tasks.schedule_drafts import ScheduleChanges, ScheduleDraft
from reworker.core.tasks.task_tokens import TaskTokens
from reworker.errors import Forbidden, NotAuthenticated
from reworker.storage.contract import DeploymentFilter
from reworker.storage.sql import SqlStorage
from reworker.storage.task_rows import CodeRow, ProjectRow, ScheduleRow, TaskFilter, TaskRow
from reworker.task_errors import TaskRefused, ThingNotFound
from tests.component.core.kit import World
from tests.component.core.people import ALL, People, text

PACKAGE = (b"PK", b" what is not looked at here")
IN_WEB = Limits(groups=("web",))


class Yard:
    """A code, a task and a schedule in each of two projects, and somebody who asks."""

    def __init__(self, world: World, people: People) -> None:
        self.world, self.people = world, people
        self.service = world.core.service
        self.web, self.db = (self.service.projects.add(name) for name in ("web", "db"))
        self.codes = {project.name: self._code(project) for project in (self.web, self.db)}
        self.tasks = {project.name: self._task(project) for project in (self.web, self.db)}
        self.schedules = {project.name: self._schedule(project) for project in (self.web, self.db)}

    def _code(self, project: ProjectRow) -> CodeRow:
        return self.service.codes.upload(project, CodeDraft("Fib", "sh", "fib.sh"), PACKAGE)

    def _task(self, project: ProjectRow) -> TaskRow:
        return self.service.tasks.queue(project, [TaskDraft("Fib", "{}")])[0]

    def _schedule(self, project: ProjectRow) -> ScheduleRow:
        return self.service.schedules.add(project, [ScheduleDraft("Fib", "{}", run_every_s=60)])[0]

    def who(self, *scopes: Scope, limits: Limits | None = None) -> GuardedTasks:
        who = Principal("1" * 24, "ann", frozenset(scopes), limits or Limits(), "::1")
        return GuardedTasks(self.service, self.people.access, who)


@pytest.fixture
def yard(world: World, people: People) -> Yard:
    return Yard(world, people)


#: every write, to what is in the project web.
WRITES: dict[str, tuple[set[Scope], Callable[[GuardedTasks, Yard], object]]] = {
    "project.add": ({Scope.PLAYBOOK_WRITE}, lambda core, yard: core.projects.add("web2")),
    "code.upload": (
        {Scope.PLAYBOOK_WRITE},
        lambda core, yard: core.codes.upload(yard.web, CodeDraft("Fib", "sh", "fib.sh"), PACKAGE),
    ),
    "code.pause": (
        {Scope.PLAYBOOK_WRITE},
        lambda core, yard: core.codes.pause(yard.codes["web"], is_paused=True),
    ),
    "code.resume": (
        {Scope.PLAYBOOK_WRITE},
        lambda core, yard: core.codes.pause(yard.codes["web"], is_paused=False),
    ),
    "code.options": (
        {Scope.PLAYBOOK_WRITE},
        lambda core, yard: core.codes.change_options(yard.codes["web"], CodeOptions(retries=2)),
    ),
    "code.remove": ({Scope.PLAYBOOK_WRITE}, lambda core, yard: core.codes.remove(yard.codes["web"])),
    "task.queue": ({Scope.RUN}, lambda core, yard: core.tasks.queue(yard.web, [TaskDraft("Fib")])),
    "task.retry": ({Scope.RUN}, lambda core, yard: core.tasks.retry(yard.tasks["web"].id)),
    "task.progress": (
        {Scope.RUN, Scope.WORKER},
        lambda core, yard: core.tasks.progress(yard.tasks["web"].id, percent=5),
    ),
    "task.cancel": ({Scope.CANCEL}, lambda core, yard: core.tasks.cancel(yard.tasks["web"].id)),
    "task.cancel_all": ({Scope.CANCEL}, lambda core, yard: core.tasks.cancel_all(yard.codes["web"])),
    "schedule.add": (
        {Scope.RUN},
        lambda core, yard: core.schedules.add(yard.web, [ScheduleDraft("Fib", run_every_s=60)]),
    ),
    "schedule.update": (
        {Scope.RUN},
        lambda core, yard: core.schedules.update(yard.schedules["web"].id, ScheduleChanges(label="x")),
    ),
    "schedule.cancel": (
        {Scope.RUN, Scope.CANCEL},
        lambda core, yard: core.schedules.cancel(yard.schedules["web"].id),
    ),
}

#: every look, at what is in the project web.
LOOKS: dict[str, Callable[[GuardedTasks, Yard], object]] = {
    "project": lambda core, yard: core.projects.find("web"),
    "code": lambda core, yard: core.codes.code(yard.codes["web"].id),
    "code by name": lambda core, yard: core.codes.named(yard.web, "Fib"),
    "codes": lambda core, yard: core.codes.codes(yard.web),
    "revision": lambda core, yard: core.codes.revision(yard.codes["web"]),
    "revisions": lambda core, yard: core.codes.revisions(yard.codes["web"]),
    "download": lambda core, yard: core.codes.for_download(yard.codes["web"].id, yard.web),
    "task": lambda core, yard: core.tasks.task(yard.tasks["web"].id),
    "payload": lambda core, yard: core.tasks.payload(yard.tasks["web"]),
    "tasks": lambda core, yard: core.tasks.tasks(TaskFilter(project_id=yard.web.id)),
    "counts": lambda core, yard: core.tasks.counts(TaskFilter(project_id=yard.web.id)),
    "output": lambda core, yard: core.tasks.output(yard.tasks["web"]),
    "schedule": lambda core, yard: core.schedules.schedule(yard.schedules["web"].id),
    "schedules": lambda core, yard: core.schedules.schedules(yard.web),
    "counts of schedules": lambda core, yard: core.schedules.counts(yard.web),
}


#: the order in which they leave something for the next one.
ALLOWED = [(action, scope) for action, (enough, _) in WRITES.items() for scope in sorted(enough)]


def test_write_is_kept_with_who_did_it_when_a_scope_allows_it(yard: Yard) -> None:
    for action, scope in sorted(ALLOWED, key=lambda one: one[0] == "code.remove"):
        WRITES[action][1](yard.who(scope, limits=Limits(groups=("web*",))), yard)
        row = yard.people.access.audit(action=action)[0]
        assert (row.outcome, row.actor, row.source_ip) == ("done", "ann", "::1"), action
        assert row.target, action


def test_write_is_denied_and_kept_when_no_scope_allows_it(yard: Yard) -> None:
    for enough, act in WRITES.values():
        for scopes in (set(ALL) - enough, set()):
            with pytest.raises(Forbidden):
                act(yard.who(*scopes), yard)
    assert sorted(yard.people.kept()) == sorted([(action, "denied") for action in WRITES] * 2)


def test_write_is_denied_when_the_token_is_for_another_project(yard: Yard) -> None:
    for _, act in WRITES.values():
        with pytest.raises(Forbidden):
            act(yard.who(*ALL, limits=Limits(groups=("db",))), yard)
    assert sorted(yard.people.kept()) == sorted((action, "denied") for action in WRITES)


def test_look_passes_with_any_scope_in_the_project_and_with_none_elsewhere(yard: Yard) -> None:
    for name, look in LOOKS.items():
        for scope in (*SEEING, Scope.ADMIN):
            look(yard.who(scope, limits=IN_WEB), yard)
        for who in (yard.who(Scope.APPROVE), yard.who(*ALL, limits=Limits(groups=("db",)))):
            with pytest.raises(Forbidden) as caught:
                look(who, yard)
            assert "web" not in str(caught.value).replace("'web'", ""), name


def test_refusal_names_no_project_that_was_not_asked_for(yard: Yard) -> None:
    who = yard.who(*ALL, limits=Limits(groups=("db",)))
    with pytest.raises(Forbidden) as caught:
        who.tasks.task(yard.tasks["web"].id)
    assert "web" not in str(caught.value)


def test_lists_of_all_projects_hold_only_what_may_be_seen(yard: Yard) -> None:
    for who, names in ((yard.who(Scope.READ, limits=IN_WEB), ["web"]), (yard.who(Scope.READ), ["web", "db"])):
        projects = {name: getattr(yard, name).id for name in names}
        wanted = set(projects.values())
        assert {one.project_id for one in who.codes.codes(None)} == wanted
        assert {one.project_id for one in who.tasks.tasks(TaskFilter())} == wanted
        assert {one.project_id for one in who.schedules.schedules(None)} == wanted
        assert {one.name for one in who.projects.all()} == set(names)
        assert who.tasks.counts(TaskFilter()) == {"queued": len(names)}
        assert who.schedules.counts(None) == {"scheduled": len(names)}
    assert yard.who(Scope.READ, limits=IN_WEB).codes.codes(None, offset=1) == []


def test_page_of_some_projects_has_the_newest_of_all_of_them_first(yard: Yard) -> None:
    who = yard.who(Scope.READ, limits=Limits(groups=("web", "d*")))
    own = [one.id for one in yard.service.tasks.tasks(TaskFilter())]
    assert [one.id for one in who.tasks.tasks(TaskFilter())] == own
    assert [one.id for one in who.tasks.tasks(TaskFilter(), limit=1, offset=1)] == own[1:2]
    assert who.tasks.tasks(TaskFilter(label="none")) == []
    newest = max(yard.codes.values(), key=lambda one: one.id)  # both may be of one millisecond
    assert [one.project_id for one in who.codes.codes(None, limit=1)] == [newest.project_id]


def test_thing_of_another_project_is_not_found_in_this_one(yard: Yard) -> None:
    who = yard.who(Scope.ADMIN)
    task, code, schedule = yard.tasks["db"], yard.codes["db"], yard.schedules["db"]
    for act in (
        lambda: who.tasks.task(task.id, yard.web),
        lambda: who.tasks.cancel(task.id, yard.web),
        lambda: who.tasks.retry(task.id, yard.web),
        lambda: who.tasks.progress(task.id, yard.web, percent=1),
        lambda: who.codes.code(code.id, yard.web),
        lambda: who.codes.for_download(code.id, yard.web),
        lambda: who.schedules.schedule(schedule.id, yard.web),
        lambda: who.schedules.update(schedule.id, ScheduleChanges(label="x"), yard.web),
        lambda: who.schedules.cancel(schedule.id, yard.web),
    ):
        with pytest.raises(ThingNotFound):
            act()
    assert yard.service.tasks.task(task.id).status == "queued"


def test_failure_is_kept_with_its_reason(yard: Yard) -> None:
    with pytest.raises(TaskRefused):
        yard.who(Scope.RUN).tasks.queue(yard.web, [TaskDraft("Fib", priority=7)])
    (row,) = yard.people.audit()
    assert (row.action, row.outcome, row.detail) == ("task.queue", "failed", "priority: 0, 1 or 2")


def test_worker_gets_the_package_of_a_deleted_code_and_nobody_else_does(yard: Yard) -> None:
    code = yard.codes["web"]
    yard.service.codes.remove(code)
    found, revision = yard.who(Scope.WORKER).codes.for_download(code.id, yard.web, 1)
    assert (found.id, b"".join(yard.who(Scope.WORKER).codes.package(revision))) == (
        code.id,
        b"".join(PACKAGE),
    )
    with pytest.raises(ThingNotFound):
        yard.who(Scope.READ).codes.for_download(code.id, yard.web, 1)
    for rev in (2, -1):
        with pytest.raises(ThingNotFound):
            yard.who(Scope.WORKER).codes.for_download(code.id, yard.web, rev)


# tokens of tasks


def token_of(yard: Yard, name: str = "web") -> str:
    tokens = TaskTokens(yard.world.storage, yard.world.clock)
    tokens.prepare()
    return tokens.token_of(yard.tasks[name].id)


def test_task_token_may_read_and_run_in_its_project_alone(yard: Yard) -> None:
    who = yard.people.access.principal_of(token_of(yard), "::1")
    own = GuardedTasks(yard.service, yard.people.access, who)
    own.tasks.queue(yard.web, [TaskDraft("Fib")])
    own.tasks.progress(yard.tasks["web"].id, percent=50)
    assert own.tasks.task(yard.tasks["web"].id).percent == 50
    assert [(one.action, one.actor) for one in yard.people.audit()] == [
        ("task.queue", f"task {yard.tasks['web'].id}")
    ], "what a task says of itself is part of its work"
    for act in (
        lambda: own.tasks.queue(yard.db, [TaskDraft("Fib")]),
        lambda: own.tasks.task(yard.tasks["db"].id),
        lambda: own.tasks.cancel(yard.tasks["web"].id),
        lambda: own.codes.upload(yard.web, CodeDraft("Fib", "sh", "fib.sh"), PACKAGE),
        lambda: own.projects.add("web"),
    ):
        with pytest.raises(Forbidden):
            act()


def test_task_token_starts_no_playbook_and_sees_no_deployment(yard: Yard) -> None:
    who = yard.people.access.principal_of(token_of(yard))
    core = GuardedService(yard.service, yard.people.access, who)
    for environment in ("", "production"):
        with pytest.raises(Forbidden):
            core.submit(text(environment=environment))
    own_id = yard.service.submit(text())
    with pytest.raises(Forbidden):
        core.deployment(own_id)
    assert core.deployments(wanted=DeploymentFilter()) == []


def test_task_token_stands_for_no_other_project_when_the_name_is_a_pattern(yard: Yard) -> None:
    star = yard.service.projects.add("[a-z]*")
    yard.service.codes.upload(star, CodeDraft("Fib", "sh", "fib.sh"), PACKAGE)
    yard.tasks["star"] = yard.service.tasks.queue(star, [TaskDraft("Fib")])[0]
    who = yard.people.access.principal_of(token_of(yard, "star"))
    assert who.may(Scope.RUN, Place(group="[a-z]*"))
    assert not who.may(Scope.RUN, Place(group="web"))


def test_task_token_counts_until_an_hour_after_its_task(yard: Yard) -> None:
    token, access = token_of(yard), yard.people.access
    yard.world.clock.advance(86_400)
    assert access.principal_of(token).token_id == yard.tasks["web"].id
    yard.service.tasks.cancel(yard.tasks["web"].id)
    yard.world.clock.advance(task_tokens.GRACE.total_seconds() - 1)
    assert access.principal_of(token).token_id == yard.tasks["web"].id
    yard.world.clock.advance(2)
    with pytest.raises(NotAuthenticated):
        access.principal_of(token)


def test_forged_task_token_is_refused(yard: Yard) -> None:
    token, other = token_of(yard), token_of(yard, "db")
    head, _, seal = token.rpartition("_")
    forged = (
        f"{head}_{'0' * 64}",
        f"{head}_{other.rpartition('_')[2]}",
        f"{head}_{seal[:-1]}",
        f"{head}_{seal}0",
        f"{head}_{seal.upper()}",
        "rwt_",
        f"rwt_{'0' * 24}_{seal}",
    )
    for text_ in forged:
        with pytest.raises(NotAuthenticated):
            yard.people.access.principal_of(text_)


def test_no_task_token_counts_before_there_is_a_key(yard: Yard, tmp_path: Path) -> None:
    with closing(SqlStorage(tmp_path / "fresh.db")) as storage:
        fresh = TaskTokens(storage, yard.world.clock)
        with pytest.raises(NotAuthenticated):
            fresh.principal_of(token_of(yard))


def test_key_stays_when_another_process_prepares_too(yard: Yard) -> None:
    assert token_of(yard) == token_of(yard)


def test_task_token_opens_no_session_of_a_browser(yard: Yard) -> None:
    with pytest.raises(NotAuthenticated):
        yard.people.access.open_session(token_of(yard))


def test_plan_of_a_task_holds_its_token(yard: Yard) -> None:
    yard.world.core.task_desk.turn()
    plan = yard.service.plan(yard.tasks["web"].id)
    token = plan.sequences[0].steps[0].parameters["token"]
    assert yard.people.access.principal_of(token).token_id == yard.tasks["web"].id
