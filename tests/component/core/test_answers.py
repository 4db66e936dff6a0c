"""What people say to deployments that wait for them."""

from __future__ import annotations

import pytest

from reworker.core.batch import Applied
from reworker.fsm.events import Decision
from tests.component.core.kit import World, playbook
from tests.component.core.site import Site, retried, submitted

TWO_HOSTS = ("web1", "web2")


@pytest.fixture
def site(world: World) -> Site:
    return Site(world)


def test_approvals_are_given_to_all_that_wait_or_to_one(world: World, site: Site) -> None:
    service = world.core.service
    text = playbook({"approval": "go?"}, "noop:A", hosts=("web1", "web2", "web3"), strategy={"batch": 3})
    own_id = submitted(world, text)
    assert world.status(own_id) == "waiting"
    assert service.approve(own_id, 2, actor="ann").applied is Applied.CHANGED
    world.run()
    assert site.take_seen() == ["web2 A"]
    assert service.approve(own_id, actor="ann").applied is Applied.CHANGED
    world.run()
    assert world.status(own_id) == "completed"
    assert service.approve(own_id, actor="ann").reason == "it is completed and waits for no approval"
    workers = {one.row.worker for one in service.attempts(own_id)}
    assert "ann" not in workers, "who approves is no worker"


def test_approval_that_is_refused_fails_its_host(world: World, site: Site) -> None:
    own_id = submitted(world, playbook({"approval": "go?"}, "noop:A"))
    assert world.core.service.refuse(own_id, actor="ann", reason="too late").applied is Applied.CHANGED
    world.run()
    state = world.deployment(own_id).state
    assert (state.status, state.failure and state.failure.reason) == ("failed", "too late")
    second = retried(world, own_id)
    assert world.status(second) == "waiting"


def test_decision_needs_a_number_when_several_attempts_are_in_doubt(world: World, site: Site) -> None:
    site.doubtful = {"web1 A", "web2 A"}
    own_id = submitted(world, playbook("noop:A", hosts=TWO_HOSTS, strategy={"batch": 2}))
    result = world.core.service.decide(own_id, 0, Decision.COMPLETE)
    assert result.applied is Applied.IGNORED
    assert result.reason == "these attempts wait for a decision, say which: 1, 2"
    assert world.core.service.decide(own_id, 1, Decision.COMPLETE).applied is Applied.CHANGED
    assert world.core.service.decide(own_id, 0, Decision.COMPLETE).applied is Applied.CHANGED
    world.run()
    assert world.status(own_id) == "completed"
