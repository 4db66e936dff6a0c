"""``reworker core --drain``, ``doctor`` and ``prune``, as an operator uses them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

import pytest

from reworker.bus.contract import Outgoing, Properties, publish_and_wait
from reworker.topology import names
from tests.component.core.kit import playbook
from tests.integration.core_support import Cores, EchoWorker
from tests.support.processes import Process
from tests.support.waiting import wait_until

EXIT_WAITING = 4


@pytest.fixture
def cores(process: Callable[..., Process], broker_url: str, any_database_url: str) -> Iterator[Cores]:
    made = Cores(process, broker_url, any_database_url)
    yield made
    made.close()


@pytest.fixture
def worker(broker_url: str) -> Iterator[EchoWorker]:
    made = EchoWorker(broker_url)
    yield made
    made.close()


def status(cores: Cores, own_id: str) -> str:
    return str(cores.service.deployment(own_id).state.status)


def checks(doctor: Process) -> dict[str, tuple[bool, str]]:
    """Return what the doctor found, by check."""
    (line,) = [one for one in doctor.output.splitlines() if one.startswith("{")]
    found = json.loads(line)
    assert found["is_well"] is all(one["is_ok"] for one in found["findings"])
    return {one["check"]: (one["is_ok"], one["text"] + " " + one["advice"]) for one in found["findings"]}


def test_draining_core_finishes_what_is_open_takes_no_job_and_ends(cores: Cores, worker: EchoWorker) -> None:
    ids = [cores.service.submit(playbook(*["noop:Do"] * 5)) for _ in range(3)]
    stored = cores.service.library.store(playbook())
    first = cores.start("one")
    assert first.terminate() == 0
    body = json.dumps({"group": "web", "playbook_id": stored.id}).encode()
    publish_and_wait(worker.bus, Outgoing(names.EXCHANGE, names.JOB_KEY, body, Properties()))
    draining = cores.start("one", "--drain")
    assert draining.wait() == 0
    assert cores.statuses(ids) == {"completed": 3}
    assert len(cores.service.deployments()) == 3
    cores.start("one")
    wait_until(lambda: len(cores.service.deployments()) == 4)


def test_draining_core_ends_with_its_own_code_when_the_time_is_up(cores: Cores) -> None:
    cores.start("one").terminate()
    own_id = cores.service.submit(playbook({"noop:Do": {"a": 1}, "delay": "1h"}))
    draining = cores.start("one", "--drain=1")
    assert draining.wait() == EXIT_WAITING
    assert own_id in draining.output
    assert status(cores, own_id) == "running", "it goes on at the next start"


def test_draining_core_ends_well_when_only_people_can_go_on(cores: Cores) -> None:
    own_id = cores.service.submit(playbook({"approval": {"text": "well?"}}))
    draining = cores.start("one", "--drain")
    assert draining.wait() == 0
    assert "wait for people" in draining.output
    assert status(cores, own_id) == "waiting"


def test_doctor_is_content_with_a_core_at_work(cores: Cores, worker: EchoWorker) -> None:
    cores.start("one")
    own_id = cores.service.submit(playbook(*["noop:Do"] * 5))
    wait_until(lambda: cores.service.deployment(own_id).is_over)
    wait_until(lambda: len(cores.reader.instances()) == 1)
    doctor = cores.run("doctor")
    assert doctor.wait() == 0, doctor.output
    assert "all 20 checks are well" in doctor.output or "all 19 checks are well" in doctor.output


def test_doctor_says_what_is_wrong_and_what_to_do(cores: Cores) -> None:
    cores.start("one").kill9()
    cores.service.submit(playbook())
    doctor = cores.run("doctor", "-o", "json")
    assert doctor.wait() == 1
    found = checks(doctor)
    assert not found[f"queue {names.REPLY_QUEUE}"][0]
    assert "start reworker core" in found[f"queue {names.REPLY_QUEUE}"][1]
    assert found["history"] == (True, "1 open deployments replayed ")
    assert found["stuck"][0]


def test_doctor_goes_on_to_the_database_when_the_broker_is_away(cores: Cores) -> None:
    doctor = cores.run("doctor", "-o", "json", "--mq", "amqp://127.0.0.1:1/", has_mq=False)
    assert doctor.wait() == 1
    found = checks(doctor)
    assert found["connect"][0] is False
    assert found["integrity"][0]
    assert "no core has run on it yet" in found["cores"][1]


def test_doctor_checks_the_database_alone_when_no_broker_is_given(cores: Cores) -> None:
    cores.start("one")
    wait_until(lambda: len(cores.reader.instances()) == 1)
    doctor = cores.run("doctor", has_mq=False)
    assert doctor.wait() == 0, doctor.output
    lines = doctor.output.splitlines()
    assert [line for line in lines if "connect" in line] == [
        " ?   broker       connect    not looked at: nothing says where it is"
    ]
    assert re.fullmatch(r"all (13|14) checks are well; not looked at: broker", lines[-1])
    as_json = cores.run("doctor", "-o", "json", has_mq=False)
    as_json.wait()
    (found,) = [
        one for one in json.loads(as_json.output.splitlines()[-1])["findings"] if not one["is_checked"]
    ]
    assert (found["area"], found["is_ok"]) == ("broker", True)
    assert "--mq" in found["advice"]


def test_prune_deletes_what_ended_long_ago_and_nothing_else(cores: Cores, worker: EchoWorker) -> None:
    cores.start("one")
    own_id = cores.service.submit(playbook())
    wait_until(lambda: cores.service.deployment(own_id).is_over)
    prune = cores.run("prune", "--older-than", "1d", has_mq=False)
    assert prune.wait() == 0
    assert "0 deployments deleted" in prune.output
    assert status(cores, own_id) == "completed"


@pytest.mark.parametrize("age", ["0", "-1", "many", "1h"])
def test_prune_says_when_the_age_is_wrong(cores: Cores, age: str) -> None:
    prune = cores.run("prune", f"--older-than={age}", has_mq=False)
    assert prune.wait() == 2
    assert "number of days" in prune.output


def test_decision_of_a_person_ends_the_wait_while_no_core_runs(cores: Cores, worker: EchoWorker) -> None:
    own_id = cores.service.submit(playbook({"approval": {"text": "well?"}}, "noop:Do"))
    assert cores.start("one", "--drain").wait() == 0
    cores.service.approve(own_id, 1, actor="ann")
    assert cores.start("one", "--drain").wait() == 0
    assert status(cores, own_id) == "completed"
