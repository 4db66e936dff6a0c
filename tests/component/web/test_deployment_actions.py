"""What people can do with a deployment, what is said before they do, and what it waits for."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import msgspec

from reworker.core.principal import Limits, Principal, Scope
from reworker.core.resumption import Scope as Part
from reworker.core.service import DeploymentView
from reworker.fsm.deployment import Attempt
from reworker.fsm.plan import Plan
from reworker.web.pages.deployment_head import expectation, progress, usual_runs, values_words, waits
from reworker.web.pages.deployment_previews import (
    ACTIONS,
    ahead,
    asked_attempt,
    offers,
    preview,
    refusal,
)
from tests.component.core.kit import Worker, World
from tests.component.core.site import Site, submitted

ADMIN = Principal("t", "ann", frozenset({Scope.ADMIN}))
READER = Principal("t", "bob", frozenset({Scope.READ}))


def text(*steps: object, hosts: tuple[str, ...] = ("web1",), **more: object) -> str:
    sequence = {"description": "servers", "hosts": list(hosts), "steps": list(steps), **more}
    return json.dumps({"group": "shop", "name": "release", "execution": [sequence]})


def seen(world: World, own_id: str) -> tuple[DeploymentView, Plan]:
    return world.deployment(own_id), world.core.service.plan(own_id)


def begin(world: World, playbook: str) -> str:
    """Start a deployment whose first step stays with a worker that says nothing."""
    worker = Worker(world.broker)
    worker.script = ()
    return submitted(world, playbook)


def names(view: DeploymentView, plan: Plan, who: Principal = ADMIN) -> list[str]:
    return [one.action.name for one in offers(view, plan, who) if not one.refusal]


def asked(view: DeploymentView, name: str, number: int = 0) -> Attempt:
    found = asked_attempt(view.state, number, ACTIONS[name])
    assert found is not None
    return found


def test_running_deployment_can_be_paused_and_cancelled(world: World) -> None:
    view, plan = seen(world, begin(world, text("noop:Do", "noop:Check")))
    assert names(view, plan) == ["pause", "cancel"]
    lines = preview(ACTIONS["cancel"], view, plan)
    assert lines[0].startswith("1 step under way is told to stop: noop:Do on web1.")
    assert lines[1:] == ["1 step will not be done.", "Its locks are given up once it has ended: host:web1."]
    assert preview(ACTIONS["pause"], view, plan)[0] == "1 step under way goes on to its end: noop:Do on web1."


def test_step_that_no_worker_takes_is_told_of_after_a_while(world: World) -> None:
    view, plan = seen(world, begin(world, text("noop:Do")))
    assert waits(view, plan, view.row.updated_at + timedelta(seconds=29)) == ([], 0)
    (wait,), _ = waits(view, plan, view.row.updated_at + timedelta(seconds=30))
    assert wait.text == "noop:Do on web1 lies in its queue, and no worker has taken it yet."
    assert "900 s" in wait.detail
    assert (wait.attempt, wait.actions) == (1, ())


def test_values_are_one_line_without_secrets() -> None:
    assert values_words({}) == ""
    values = {"color": "red", "n": 2, "hosts": ["a"], "api_token": "x", "none": ""}
    assert values_words(values) == 'color red, n 2, hosts ["a"], api_token ***, none ""'


def test_offer_says_why_when_it_is_not_allowed(world: World) -> None:
    view, plan = seen(world, begin(world, text("noop:Do")))
    reasons = {one.action.name: one.refusal for one in offers(view, plan, READER)}
    assert "needs the scope cancel" in reasons["cancel"]
    assert "needs the scope run" in reasons["pause"]


def test_pause_is_allowed_to_who_may_cancel(world: World) -> None:
    _, plan = seen(world, begin(world, text("noop:Do")))
    canceller = Principal("t", "eve", frozenset({Scope.CANCEL}))
    assert refusal(ACTIONS["pause"], plan, canceller) == ""
    assert refusal(ACTIONS["resume"], plan, canceller) != ""


def test_action_is_refused_when_a_host_is_beyond_the_token(world: World) -> None:
    _, plan = seen(world, begin(world, text("noop:Do", hosts=("web1", "db1"))))
    narrow = Principal("t", "eve", frozenset({Scope.CANCEL}), Limits(hosts=("web*",)))
    assert "'db1'" in refusal(ACTIONS["cancel"], plan, narrow)


def test_paused_deployment_can_be_resumed(world: World) -> None:
    own_id = begin(world, text("noop:Do", "noop:Check"))
    world.core.service.pause(own_id, actor="ann")
    world.run()
    view, plan = seen(world, own_id)
    assert names(view, plan) == ["resume", "cancel"]
    assert preview(ACTIONS["resume"], view, plan) == ["What is left goes on: 2 steps."]
    assert waits(view, plan)[0][0].actions == ("resume",)


def test_failed_deployment_can_be_retried_and_says_what_is_left(world: World) -> None:
    site = Site(world)
    site.failing.add("web1 Check")
    own_id = submitted(world, text("noop:Do", "noop:Check", hosts=("web1", "web2")))
    view, plan = seen(world, own_id)
    assert names(view, plan) == ["retry", "again"]
    found = ahead(plan, world.core.service.continuation(own_id, Part()).resumption)
    assert (found.count, found.passed_count, found.sequences) == (3, 1, (("servers", 2, 3),))
    assert found.first == ("2. noop:Check on web1", "3. noop:Do on web2", "4. noop:Check on web2")
    shown = progress(view)
    assert (shown.completed, shown.failed, shown.skipped, shown.at_work) == (1, 1, 2, 0)


def test_completed_deployment_offers_to_do_it_again(world: World) -> None:
    Site(world)
    view, plan = seen(world, submitted(world, text("noop:Do")))
    assert names(view, plan) == ["again"]


def test_approval_says_what_follows_and_refusal_what_is_taken_back(world: World) -> None:
    Site(world)
    step = {"noop:Do": {}, "rollback": {"noop:Undo": {}}}
    playbook = text(step, {"approval": "Open it?"}, "noop:Open")
    view, plan = seen(world, submitted(world, playbook))
    attempt = asked(view, "approve")
    assert preview(ACTIONS["approve"], view, plan, attempt) == ["web1 goes on with: noop:Open."]
    (line,) = preview(ACTIONS["refuse"], view, plan, attempt)
    assert "noop:Undo on web1" in line
    (wait,) = waits(view, plan)[0]
    assert (wait.actions, wait.attempt) == (("approve", "refuse"), attempt.number)
    assert "Open it?" in wait.text


def test_approval_says_how_many_more_are_needed(world: World) -> None:
    approval = {"approval": {"text": "Open it?", "of": 3}}
    view, plan = seen(world, submitted(world, text(approval)))
    assert preview(ACTIONS["approve"], view, plan, asked(view, "approve")) == [
        "2 more people have to approve after you."
    ]


def test_doubt_waits_for_a_decision_and_for_no_approval(world: World) -> None:
    site = Site(world)
    site.doubtful.add("web1 Do")
    view, plan = seen(world, submitted(world, text("noop:Do")))
    assert asked(view, "decide").number == 1
    assert asked_attempt(view.state, 0, ACTIONS["approve"]) is None
    assert asked_attempt(view.state, 2, ACTIONS["decide"]) is None
    (wait,) = waits(view, plan)[0]
    assert wait.actions == ("decide",)
    assert wait.detail == "the switch did not answer"
    assert progress(view).at_work == 0


def test_queued_deployment_links_to_the_one_that_it_waits_for(world: World) -> None:
    first = begin(world, text("noop:Do"))
    view, plan = seen(world, submitted(world, text("noop:Do")))
    (wait,) = waits(view, plan)[0]
    assert wait.link == f"/deployments/{first}"
    assert preview(ACTIONS["cancel"], view, plan)[0].startswith("It has not begun")


def test_end_is_expected_by_the_median_of_earlier_runs(world: World) -> None:
    Site(world)
    earlier = [world.deployment(submitted(world, text("noop:Do"))) for _ in range(3)]
    took_s = (10, 70, 20)
    past = [
        msgspec.structs.replace(
            one, state=replace(one.state, ended_at=one.state.started_at + timedelta(seconds=seconds))
        )
        for one, seconds in zip(earlier, took_s, strict=True)
        if one.state.started_at is not None
    ]
    world.clock.advance(1)
    steps = ("noop:Do", {"approval": "Go on?"})
    view = world.deployment(submitted(world, text(*steps)))
    found = expectation(view.state, usual_runs(past, view.row.id))
    assert found is not None
    assert (found.run_count, found.usual_s) == (3, 20.0)
    assert not found.is_late(found.end_at)
    assert found.is_late(found.end_at + timedelta(seconds=1))


def test_no_end_is_expected_when_nothing_is_known(world: World) -> None:
    view = world.deployment(begin(world, text("noop:Do")))
    assert expectation(view.state, usual_runs([view], view.row.id)) is None
