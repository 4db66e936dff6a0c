"""Going on with a deployment that has ended: what is passed over, what is done, and what is refused."""

from __future__ import annotations

import json
import queue
import threading
from typing import Any

import pytest

from reworker.core import history
from reworker.core.service import Service
from reworker.errors import NotResumable, PlaybookInvalid
from reworker.fsm.events import Decision
from reworker.fsm.playbook import Step
from reworker.fsm.rules import Rules, TriggerRule
from reworker.storage.log import SqlLog, log_path
from reworker.storage.sql import SqlStorage
from tests.component.core.kit import World, playbook
from tests.component.core.site import Site, retried, submitted


@pytest.fixture
def site(world: World) -> Site:
    return Site(world)


THREE = ("noop:A", "noop:B", "noop:C")
TWO_HOSTS = ("web1", "web2")


def test_resume_begins_with_the_step_that_failed(world: World, site: Site) -> None:
    site.failing = {"web1 B"}
    first = submitted(world, playbook(*THREE, hosts=TWO_HOSTS))
    assert (world.status(first), site.take_seen()) == ("failed", ["web1 A", "web1 B"])
    site.failing = set()
    second = retried(world, first)
    assert site.take_seen() == ["web1 B", "web1 C", "web2 A", "web2 B", "web2 C"]
    state = world.deployment(second).state
    assert (state.status, state.completed_count) == ("completed", 6)
    assert world.deployment(second).row.resumes == first
    assert history.problems(world.storage.reader, second) == []


def test_resume_of_a_resume_counts_what_the_earlier_ones_did(world: World, site: Site) -> None:
    site.failing = {"web1 A", "web1 B", "web1 C"}
    ids = [submitted(world, playbook(*THREE))]
    for name in ("A", "B"):
        site.failing.remove(f"web1 {name}")
        ids.append(retried(world, ids[-1]))
        assert world.status(ids[-1]) == "failed"
    site.failing.clear()
    site.take_seen()
    assert world.status(retried(world, ids[-1])) == "completed"
    assert site.take_seen() == ["web1 C"]


def test_resume_takes_an_edited_playbook_when_what_was_done_reads_the_same(world: World, site: Site) -> None:
    site.failing = {"web1 B"}
    first = submitted(world, playbook(*THREE))
    site.take_seen()
    second = retried(world, first, text=playbook("noop:A", "noop:D", "noop:C", hosts=TWO_HOSTS))
    assert world.status(second) == "completed"
    assert site.take_seen() == ["web1 D", "web1 C", "web2 A", "web2 D", "web2 C"]


@pytest.mark.parametrize(
    "steps",
    [
        ("noop:X", "noop:B"),
        ({"noop:A": {"size": 1}}, "noop:B"),
        ("noop:New", "noop:A", "noop:B"),
        ({"noop:A": None, "timeout": "5m"}, "noop:B"),
    ],
)
def test_resume_is_refused_when_a_step_that_was_done_reads_otherwise(
    world: World, site: Site, steps: tuple[Any, ...]
) -> None:
    site.failing = {"web1 B"}
    first = submitted(world, playbook(*THREE))
    with pytest.raises(
        NotResumable, match=r"sequence 'a sequence', host web1: step 1, noop:A, was done.*--from"
    ):
        retried(world, first, text=playbook(*steps))
    assert len(world.core.service.deployments()) == 1


def test_resume_is_refused_when_a_dynamic_value_of_a_step_that_was_done_differs(
    world: World, site: Site
) -> None:
    site.failing = {"web1 B"}
    text = playbook({"noop:A": {"dynamic": ["size"]}}, {"noop:B": {"dynamic": ["color"]}})
    first = submitted(world, text, size=1, color="red")
    with pytest.raises(NotResumable, match="noop:A"):
        retried(world, first, dynamic={"size": True})
    site.failing.clear()
    second = retried(world, first, dynamic={"color": "blue"})
    assert world.status(second) == "completed"
    assert world.core.service.plan(second).dynamic == {"size": 1, "color": "blue"}
    assert json.loads(site.steps[-1].body)["dynamic"]["color"] == "blue"


def test_from_leaves_what_stands_before_as_it_is(world: World, site: Site) -> None:
    site.failing = {"web1 B"}
    first = submitted(world, playbook(*THREE, hosts=TWO_HOSTS))
    site.take_seen()
    second = retried(world, first, start="noop:C@web1")
    assert site.take_seen() == ["web1 C", "web2 A", "web2 B", "web2 C"]
    state = world.deployment(second).state
    assert (state.completed, state.left_out) == (((0, 1), (2, 6)), ((1, 2),))


def test_from_does_steps_again_that_were_done(world: World, site: Site) -> None:
    site.failing = {"web1 C"}
    first = submitted(world, playbook(*THREE))
    site.failing.clear()
    site.take_seen()
    retried(world, first, start="2")
    assert site.take_seen() == ["web1 B", "web1 C"]


def test_from_finds_a_step_by_its_id(world: World, site: Site) -> None:
    site.failing = {"web1 A"}
    first = submitted(world, playbook("noop:A", {"noop:B": None, "id": "second"}))
    site.take_seen()
    retried(world, first, start="second")
    assert site.take_seen() == ["web1 B"]


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        ("0", "1 to 6"),
        ("7", "1 to 6"),
        ("9" * 5000, "1 to 6"),
        ("noop:X", "no step is called noop:X"),
        ("noop:A@web9", "no step is called"),
        ("noop:B", r"more than one step: 2 \(web1\), 5 \(web2\); give the number"),
    ],
)
def test_from_is_refused_when_it_names_no_step_or_several(
    world: World, site: Site, start: str, reason: str
) -> None:
    site.failing = {"web1 B"}
    first = submitted(world, playbook(*THREE, hosts=TWO_HOSTS))
    with pytest.raises(NotResumable, match=reason):
        retried(world, first, start=start)


MANY = ("web1", "web2", "web3")
TOLERANT = {"max_failures": 3, "batch": 1}


def test_failed_hosts_are_done_alone_when_asked_for(world: World, site: Site) -> None:
    site.failing = {"web1 B", "web3 A"}
    first = submitted(world, playbook(*THREE, hosts=MANY, strategy=TOLERANT))
    assert world.status(first) == "completed"
    site.failing = {"web3 C"}
    site.take_seen()
    second = retried(world, first, hosts=("failed",))
    assert site.take_seen() == ["web1 B", "web1 C", "web3 A", "web3 B", "web3 C"]
    third = retried(world, second, hosts=("failed",))
    assert site.take_seen() == ["web3 C"]
    assert world.deployment(third).state.failure is None


def test_named_hosts_are_done_alone_and_the_others_later(world: World, site: Site) -> None:
    site.failing = {"web1 A"}
    first = submitted(world, playbook("noop:A", "noop:B", hosts=MANY))
    site.failing.clear()
    site.take_seen()
    second = retried(world, first, hosts=("web2",))
    assert site.take_seen() == ["web2 A", "web2 B"]
    with pytest.raises(NotResumable, match="nothing is left"):
        retried(world, second)
    third = retried(world, second, hosts=("web1", "web3"))
    assert site.take_seen() == ["web1 A", "web1 B", "web3 A", "web3 B"]
    assert world.deployment(third).state.completed_count == 6


def test_host_is_refused_when_the_playbook_has_none_of_this_name(world: World, site: Site) -> None:
    site.failing = {"web1 A"}
    first = submitted(world, playbook("noop:A"))
    with pytest.raises(NotResumable, match="no such host in the playbook: web9"):
        retried(world, first, hosts=("web9", "web1"))


def test_resume_is_refused_when_there_is_nothing_to_go_on_with(world: World, site: Site) -> None:
    done = submitted(world, playbook("noop:A"))
    with pytest.raises(NotResumable, match="is completed: start the playbook anew"):
        retried(world, done)
    open_id = world.core.service.submit(playbook("absent:A"))
    with pytest.raises(NotResumable, match=r"is running.*reworker cancel"):
        retried(world, open_id)
    world.core.service.cancel(open_id)
    world.advance(40)
    with pytest.raises(NotResumable, match="no host failed"):
        retried(world, open_id, hosts=("failed",))


def test_second_resume_of_one_deployment_is_refused_and_names_the_first(world: World, site: Site) -> None:
    site.failing = {"web1 B"}
    first = submitted(world, playbook(*THREE))
    second = retried(world, first)
    with pytest.raises(NotResumable, match=f"goes on as deployment {second}"):
        retried(world, first)
    assert len(world.core.service.deployments()) == 2


def test_one_of_two_resumes_is_refused_when_both_come_at_once(world: World, site: Site) -> None:
    site.failing = {"web1 B"}
    first = submitted(world, playbook(*THREE))
    gate, results = threading.Barrier(2), queue.SimpleQueue[str]()

    def resume() -> None:
        storage, logs = SqlStorage(world.path), SqlLog(log_path(world.path))
        service = Service(storage, logs, world.clock)
        gate.wait(10)
        try:
            results.put(service.retry(first))
        except NotResumable as error:
            results.put(str(error))
        storage.close()
        logs.close()

    threads = [threading.Thread(target=resume) for _ in range(2)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(20)
    answers = sorted((results.get(timeout=1) for _ in threads), key=len)
    assert f"goes on as deployment {answers[0]} already" in answers[1]
    assert len(world.core.service.deployments()) == 2


def test_resume_asks_for_the_outcomes_of_what_was_done_before(world: World, site: Site) -> None:
    steps = (
        {"noop:A": None, "id": "first"},
        {"noop:B": None, "when": {"step": "first", "data": {"changed": True}}},
        {"noop:C": None, "when": {"step": "first", "data": {"changed": False}}},
        "noop:D",
    )
    site.data = {"web1 A": {"changed": True}, "web2 A": {"changed": False}}
    site.failing = {"web1 B"}
    first = submitted(world, playbook(*steps, hosts=TWO_HOSTS, strategy={"batch": 2, "max_failures": 1}))
    assert site.take_seen() == ["web1 A", "web2 A", "web1 B", "web2 C", "web2 D"]
    second = retried(world, first)
    assert site.take_seen() == ["web1 B"]
    site.failing.clear()
    third = retried(world, second)
    assert site.take_seen() == ["web1 B", "web1 D"]
    assert world.status(third) == "completed"


def test_step_that_was_skipped_is_passed_over_and_must_read_the_same(world: World, site: Site) -> None:
    steps = ({"noop:A": None, "id": "first"}, {"noop:B": None, "when": "not first"}, "noop:C")
    site.failing = {"web1 C"}
    first = submitted(world, playbook(*steps))
    assert site.take_seen() == ["web1 A", "web1 C"]
    with pytest.raises(NotResumable, match="noop:B, was skipped and reads otherwise"):
        retried(world, first, text=playbook(steps[0], "noop:B", "noop:C"))
    retried(world, first)
    assert site.take_seen() == ["web1 C"]


def test_step_that_a_person_skipped_is_passed_over(world: World, site: Site) -> None:
    site.doubtful = {"web1 A"}
    first = submitted(world, playbook("noop:A", "noop:B"))
    assert world.status(first) == "waiting"
    world.core.service.decide(first, 0, Decision.SKIP, actor="ann", reason="by hand")
    world.core.service.cancel(first)
    world.advance(40)
    assert world.status(first) == "cancelled"
    site.take_seen()
    retried(world, first)
    assert site.take_seen() == ["web1 B"]


def test_deployment_that_was_rolled_back_is_done_from_its_beginning(world: World, site: Site) -> None:
    steps = ({"noop:A": None, "rollback": "noop:UnA"}, "noop:B")
    site.failing = {"web1 B"}
    first = submitted(world, playbook(*steps))
    assert world.status(first) == "rolled_back"
    site.failing.clear()
    site.take_seen()
    assert world.status(retried(world, first)) == "completed"
    assert site.take_seen() == ["web1 A", "web1 B"]


def test_deployment_whose_rollback_failed_goes_on_only_where_a_person_says(world: World, site: Site) -> None:
    steps = ({"noop:A": None, "rollback": "noop:UnA"}, "noop:B")
    site.failing = {"web1 B", "web1 UnA"}
    first = submitted(world, playbook(*steps))
    assert world.status(first) == "rollback_failed"
    with pytest.raises(NotResumable, match=r"taken back in part only.*--from STEP"):
        retried(world, first)
    site.take_seen()
    second = retried(world, first, start="noop:B")
    assert (world.status(second), site.take_seen()) == ("failed", ["web1 B"])


def test_sequences_are_matched_by_id_then_description_then_place(world: World, site: Site) -> None:
    def whole(*sequences: dict[str, Any]) -> str:
        return json.dumps({"group": "g", "name": "n", "execution": list(sequences)})

    one = {"id": "one", "hosts": ["web1"], "steps": ["noop:A"]}
    two = {"description": "two", "hosts": ["web2"], "steps": ["noop:B"]}
    three = {"hosts": ["web3"], "steps": ["noop:C", "noop:D"]}
    site.failing = {"web3 D"}
    first = submitted(world, whole(one, two, three))
    site.failing.clear()
    site.take_seen()
    new = {"description": "new", "hosts": ["web4"], "steps": ["noop:E"]}
    second = retried(world, first, text=whole(two, one, three, new))
    assert world.status(second) == "completed"
    assert site.take_seen() == ["web3 D", "web4 E"]


def test_resume_is_refused_when_the_edited_playbook_is_wrong(world: World, site: Site) -> None:
    site.failing = {"web1 A"}
    first = submitted(world, playbook("noop:A"))
    with pytest.raises(PlaybookInvalid):
        retried(world, first, text="group: web\n")


def test_values_that_the_edited_playbook_does_not_know_any_more_are_dropped(world: World, site: Site) -> None:
    def whole(params: dict[str, Any], *names: str) -> str:
        steps: list[Any] = ["noop:A", {"noop:B": {"dynamic": list(names)}}]
        return json.dumps({**json.loads(playbook(*steps)), "params": params})

    site.failing = {"web1 B"}
    size, color = {"size": {"type": "integer"}}, {"color": {"enum": ["red"]}}
    first = submitted(world, whole(size | color, "size", "color"), size=1, color="red")
    site.failing.clear()
    second = retried(world, first, text=whole(color, "color"))
    assert world.status(second) == "completed"
    assert world.core.service.plan(second).dynamic == {"color": "red"}


def test_rules_of_the_first_deployment_hold_for_the_one_that_continues_it(world: World, site: Site) -> None:
    service = world.core.service
    before = Step(key="noop:Before", command="noop", subcommand="Before")
    check = Step(key="noop:Check", command="noop", subcommand="Check")
    rules = Rules(triggers=(TriggerRule(step=before, next_subcommand="B"),), checks=(check,))
    service.library.keep_rules(rules)
    site.failing = {"web1 B"}
    first = submitted(world, playbook("noop:A", "noop:B"))
    assert site.take_seen() == ["- Check", "web1 A", "web1 Before", "web1 B"]
    service.library.keep_rules(Rules())
    site.failing.clear()
    retried(world, first, text=playbook("noop:A", "noop:B", "noop:C"))
    assert site.take_seen() == ["- Check", "web1 B", "web1 C"]
    third = submitted(world, playbook("noop:A"))
    assert (world.status(third), site.take_seen()) == ("completed", ["web1 A"])


def test_resume_of_a_deployment_that_was_made_from_nothing_kept_needs_its_playbook(
    world: World, site: Site
) -> None:
    site.failing = {"web1 B"}
    first = submitted(world, playbook("noop:A", "noop:B"))
    with world.storage.begin() as unit:
        unit._connection.exec_driver_sql("DELETE FROM source")
    with pytest.raises(NotResumable, match="was not kept; give its playbook"):
        retried(world, first, dynamic={"color": "red"})
    site.failing.clear()
    assert world.status(retried(world, first)) == "completed"
    assert site.take_seen() == ["web1 A", "web1 B", "web1 B"]
