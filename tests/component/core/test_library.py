"""Stored playbooks, and the rules of the database."""

from __future__ import annotations

import msgspec
import pytest

from reworker.core.library import Library
from reworker.core.settings import core_file
from reworker.core.submission import plan_of
from reworker.errors import PlaybookInvalid, PlaybookNotFound
from reworker.fsm.playbook import Expectation, Retry, Step
from reworker.fsm.rules import PhaseNotice, Rules, TriggerRule
from reworker.storage.sql import SqlStorage
from tests.component.core.kit import Worker, World, playbook, running
from tests.docs.pages import ROOT

TELL = Step(key="noop:Tell", command="noop", subcommand="Tell", title="tell")
RULES = Rules(
    triggers=(TriggerRule(step=TELL, next_command="noop", next_subcommand="Do", description="before Do"),),
    checks=(
        Step(
            key="noop:Look",
            command="noop",
            subcommand="Look",
            parameters={"a": [1, {"b": None}]},
            notify={"failed": {"irc": ("#a",)}},
            dynamic_names=("x",),
            timeout_s=5.0,
            retry=Retry(attempts=2),
            expectation=Expectation(body={"status": "completed"}, is_subset=True),
        ),
    ),
    actions=(TELL,),
    notice=PhaseNotice(topic="notify.irc", targets=("#a", "#b"), url="http://x/%s"),
    step_timeout_s=60.0,
)


@pytest.mark.parametrize(
    "rules", [Rules(), RULES, core_file(str(ROOT / "conf" / "release.yaml"), {}).settings.rules]
)
def test_rules_come_back_from_the_database_as_they_were(world: World, rules: Rules) -> None:
    world.core.service.library.keep_rules(rules)
    other = SqlStorage(world.path)
    assert Library(other, world.clock).rules() == rules
    other.close()


def test_rules_of_the_core_hold_for_what_another_process_starts(world: World, worker: Worker) -> None:
    world.kill()
    world.settings = msgspec.structs.replace(
        world.settings, rules=Rules(triggers=RULES.triggers, actions=RULES.actions)
    )
    with running(world):
        other = SqlStorage(world.path)
        plan = Library(other, world.clock).draft(playbook("noop:Do", "noop:Else"), {}, "playbook").plan
        other.close()
        own_id = world.core.service.submit(playbook("noop:Do", "noop:Else"))
        world.run()
        assert world.core.service.plan(own_id) == plan
        assert [one.key for one in plan.steps()] == ["noop:Tell", "noop:Do", "noop:Else", "noop:Tell"]
        assert len(worker.steps) == 4
    world.settings = msgspec.structs.replace(world.settings, rules=Rules())
    with running(world):
        assert world.core.service.library.rules() == Rules(), "a file without rules removes them"


def test_rules_stay_when_a_core_starts_without_settings(world: World) -> None:
    world.core.service.library.keep_rules(RULES)
    world.kill()
    assert core_file(environ={}).settings == world.settings
    with running(world):
        assert world.core.service.library.rules() == RULES


def test_steps_without_a_timeout_get_that_of_the_rules() -> None:
    own = {"noop:Own": None, "timeout": 5, "verify": "noop:Look", "rollback": "noop:Back"}
    text = playbook("noop:Do", own, {"approval": {"text": "go on?"}})
    plan = plan_of(text, {}, "playbook", Rules(checks=(TELL,), step_timeout_s=60.0))
    assert [step.timeout_s for step in plan.steps()] == [60.0, 60.0, 5.0, None]
    own_step = plan.step(2)
    assert own_step.verify
    assert own_step.rollback
    assert own_step.verify.timeout_s == own_step.rollback.timeout_s == 60.0


def test_error_says_where_a_step_stands_that_is_too_large() -> None:
    large = Step(key="noop:Tell", command="noop", subcommand="Tell", parameters={"blob": "x" * 1_100_000})
    with pytest.raises(PlaybookInvalid, match=r"pre-deploy checks\[1\]"):
        plan_of(playbook(), {}, "playbook", Rules(checks=(TELL, large)))
    text = playbook("noop:Do", {"noop:Do": {"blob": "x" * 1_100_000}})
    with pytest.raises(PlaybookInvalid, match=r"execution\[0\].steps\[1\]"):
        plan_of(text, {}, "playbook", Rules(checks=(TELL,), actions=(TELL,)))


def test_playbook_is_gone_when_it_was_removed_but_its_versions_are_not(world: World) -> None:
    library = world.core.service.library
    first, other = library.store(playbook()), library.store(playbook("noop:Other"))
    library.remove(first.id, actor="ann")
    assert library.playbooks() == [other]
    assert library.playbook(first.id, 1) == first
    for ask in (
        lambda: library.playbook(first.id),
        lambda: library.remove(first.id),
        lambda: library.store(playbook("noop:New"), playbook_id=first.id),
        lambda: library.remove("0" * 24),
    ):
        with pytest.raises(PlaybookNotFound):
            ask()
