"""Our core in place of that of 2014: its settings file, its workers, its REST server's job requests."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.compat.old_site import PATIENCE_S, OldSite
from tests.support.processes import Process
from tests.support.waiting import wait_until

TRIGGERS = {
    "STEP_TRIGGERS": [
        {
            "DESCRIPTION": "wait before a restart",
            "WHEN": {"NEXT_COMMAND": "service", "NEXT_SUBCOMMAND": "Restart"},
            "COMMAND": "sleep",
            "SUBCOMMAND": "seconds",
            "PARAMETERS": {"seconds": 0},
        },
        {
            "DESCRIPTION": "before every stop, whatever stops",
            "WHEN": {"NEXT_SUBCOMMAND": "Stop"},
            "COMMAND": "noop",
            "SUBCOMMAND": "Warn",
            "PARAMETERS": {},
        },
        {
            "DESCRIPTION": "before the step of the first trigger",
            "WHEN": {"NEXT_COMMAND": "sleep"},
            "COMMAND": "noop",
            "SUBCOMMAND": "Before",
            "PARAMETERS": {},
        },
    ]
}
SETTINGS = {
    "LOGFILE": "recore.log",
    "LOGLEVEL": "INFO",
    "RELEASE_LOG_DIR": "releases",
    "TRIGGERS": "triggers.json",
    "DB": {"SERVERS": ["localhost"], "PORT": 27017, "NAME": "re", "PASSWORD": "re", "DATABASE": "re"},
    "PHASE_NOTIFICATION": {
        "TABOOT_URL": "http://release.example.com/%s",
        "TOPIC": "release.phases",
        "TARGET": ["#releases"],
    },
    "PRE_DEPLOY_CHECK": [
        {
            "NAME": "not frozen",
            "COMMAND": "check",
            "SUBCOMMAND": "Freeze",
            "PARAMETERS": {"team": "web"},
            "EXPECTATION": {"status": "completed", "data": {"frozen": False}},
        },
        {
            "NAME": "disks",
            "COMMAND": "check",
            "SUBCOMMAND": "Disks",
            "PARAMETERS": {},
            "EXPECTATION": {"data": {"healthy": True}},
            "EXPECTATION_MATCH": "subset",
        },
    ],
    "POST_DEPLOY_ACTION": [
        {"NAME": "tell", "COMMAND": "noop", "SUBCOMMAND": "Tell", "PARAMETERS": {"to": "inventory"}}
    ],
}
PLAYBOOK = """group: web
name: roll out the shop
execution:
- description: web servers
  hosts: [web1, web2]
  steps:
  - service:Stop
  - service:Restart:
      service: httpd
      dynamic: [cart]
      notify:
        started: {irc: ["#ops"]}
        completed: {email: [ops@example.com]}
"""
#: what is done on one host.
ON_HOST = ("noop:Warn", "service:Stop", "noop:Before", "sleep:seconds", "service:Restart")
CHECKS = {"Freeze": {"frozen": False}, "Disks": {"healthy": True, "count": 4}}
LOG_LINE = re.compile(r'deployment_id="([0-9a-f]*)".* - deploy_phase="([a-z-]*)" - message="')


def checking(answers: dict[str, Any] | None = None) -> Callable[[dict[str, Any]], Iterable[dict[str, Any]]]:
    """Return the script of a worker whose data depend on the subcommand."""

    def script(body: dict[str, Any]) -> Iterable[dict[str, Any]]:
        data = {**CHECKS, **(answers or {})}[body["parameters"]["subcommand"]]
        return ({"status": "started"}, {"status": "completed", "data": data})

    return script


def failing(body: dict[str, Any]) -> Iterable[dict[str, Any]]:
    return ({"status": "started"}, {"status": "failed", "data": "no such service"})


@pytest.fixture
def site(any_broker_url: str, process: Callable[..., Process], tmp_path: Path) -> Iterator[OldSite]:
    (tmp_path / "triggers.json").write_text(json.dumps(TRIGGERS))
    made = OldSite(any_broker_url, tmp_path)
    made.start_core(process, SETTINGS)
    yield made
    made.close()


def ask(site: OldSite) -> str:
    request = {
        "group": "web",
        "playbook_id": site.store(PLAYBOOK),
        "source_ip": "192.0.2.7",
        "user_id": "ann",
        "dynamic": {"cart": "c-1"},
    }
    answer = site.ask(request)
    assert list(answer) == ["id"]
    assert isinstance(answer["id"], str)
    return answer["id"]


def notices(site: OldSite, count: int) -> dict[str, list[Any]]:
    """Return the notifications by routing key, when there are so many."""
    wait_until(lambda: len(site.notices.bodies) >= count, PATIENCE_S)
    found: dict[str, list[Any]] = {}
    for key, body in zip(site.notices.keys, site.notices.bodies, strict=True):
        found.setdefault(key, []).append(body)
    return found


def phases(site: OldSite, own_id: str) -> list[str]:
    """Return the phases in a deployment's log file, in order, each once, when the file tells the end."""
    path = site.folder / "releases" / f"FSM-{own_id}.log"
    wait_until(lambda: path.exists() and 'deploy_phase="cleanup"' in path.read_text(), PATIENCE_S)
    lines = [LOG_LINE.search(line) for line in path.read_text().splitlines()]
    assert {line and line[1] for line in lines} == {own_id}
    return list(dict.fromkeys(line[2] for line in lines if line))


def test_release_goes_as_it_went_in_2014(site: OldSite) -> None:
    site.start_workers("service", "sleep", "noop", check=checking())
    own_id = ask(site)
    assert site.end(own_id) == "completed"
    on_hosts = [f"{step} {host}" for host in ("web1", "web2") for step in ON_HOST]
    assert site.steps() == ["check:Freeze", "check:Disks", *on_hosts, "noop:Tell"]

    check, restart, action = site.seen[0], site.seen[6], site.seen[-1]
    assert check["parameters"] == {"team": "web", "command": "check", "subcommand": "Freeze"}
    assert check["notify"] == action["notify"] == {}
    assert action["parameters"] == {"to": "inventory", "command": "noop", "subcommand": "Tell"}
    assert restart["group"] == "web"
    assert restart["dynamic"] == {"cart": "c-1"}
    assert restart["parameters"]["service"] == "httpd"
    assert restart["notify"] == {"started": {"irc": ["#ops"]}, "completed": {"email": ["ops@example.com"]}}

    found = notices(site, 6)
    first, last = found["release.phases"]
    assert (first["phase"], last["phase"]) == ("started", "completed")
    assert first["message"] == f"Release {own_id} started. See http://release.example.com/{own_id}"
    assert first["target"] == last["target"] == ["#releases"]
    assert [one["phase"] for one in found["notify.irc"]] == ["started"] * 2
    assert [one["target"] for one in found["notify.email"]] == [["ops@example.com"]] * 2

    assert phases(site, own_id) == [
        *(
            "insert-triggers",
            "initialization",
            "pre-deploy-check",
            "execution",
            "post-deploy-check",
            "cleanup",
        )
    ]
    log = (site.folder / "releases" / f"FSM-{own_id}.log").read_text()
    assert 'source_ip="192.0.2.7"' in log
    assert 'user_id="ann"' in log
    assert 'message="core core runs' in (site.folder / "recore.log").read_text()
    assert "DB is ignored" in (site.folder / "recore.log").read_text()


@pytest.mark.parametrize(
    ("answers", "steps"),
    [
        ({"Freeze": {"frozen": True}}, ["check:Freeze", "noop:Tell"]),
        ({"Freeze": {"frozen": False, "since": 1}}, ["check:Freeze", "noop:Tell"]),
        ({"Disks": {"healthy": False}}, ["check:Freeze", "check:Disks", "noop:Tell"]),
    ],
    ids=["not equal", "more than expected", "not contained"],
)
def test_nothing_is_released_when_a_check_does_not_give_what_is_expected(
    site: OldSite, answers: dict[str, Any], steps: list[str]
) -> None:
    site.start_workers("service", "sleep", "noop", check=checking(answers))
    own_id = ask(site)
    assert site.end(own_id) == "failed"
    assert site.steps() == steps
    assert [one["phase"] for one in notices(site, 2)["release.phases"]] == ["started", "failed"]
    assert "execution" not in phases(site, own_id)


def test_actions_are_done_and_the_rest_is_not_when_a_step_fails(site: OldSite) -> None:
    site.start_workers("sleep", "noop", check=checking(), service=failing)
    own_id = ask(site)
    assert site.end(own_id) == "failed"
    assert site.steps() == ["check:Freeze", "check:Disks", "noop:Warn web1", "service:Stop web1", "noop:Tell"]
    failure = site.service.deployment(own_id).state.failure
    assert failure is not None
    assert (failure.step, failure.host, failure.reason) == ("service:Stop", "web1", "no such service")


def test_release_fails_when_an_action_fails(site: OldSite) -> None:
    def script(body: dict[str, Any]) -> Iterable[dict[str, Any]]:
        is_action = body["parameters"]["subcommand"] == "Tell"
        return ({"status": "started"}, {"status": "failed" if is_action else "completed"})

    site.start_workers("service", "sleep", check=checking(), noop=script)
    own_id = ask(site)
    assert site.end(own_id) == "failed"
    assert [one["phase"] for one in notices(site, 6)["release.phases"]] == ["started", "failed"]


def test_every_release_completes_when_many_have_checks_and_a_fast_worker(site: OldSite) -> None:
    """C1: replies of checks that were not acknowledged came again and spoiled eight of ten."""
    site.start_workers("service", "sleep", "noop", check=checking())
    assert [site.end(ask(site)) for _ in range(6)] == ["completed"] * 6
    assert len(site.seen) == 6 * (2 + 2 * len(ON_HOST) + 1)


@pytest.mark.parametrize(
    "replies",
    [
        [{"status": "completed"}],
        [{"status": "completed"}, {"status": "completed"}],
        [{"status": "started"}, {"status": "completed"}, {"status": "failed"}],
    ],
    ids=["not started", "completed twice", "failed after it completed"],
)
def test_release_completes_when_a_worker_does_not_keep_to_the_order(
    site: OldSite, replies: list[dict[str, Any]]
) -> None:
    """C4: a first reply of `completed` failed the release, and yet all steps were done."""
    site.start_workers("sleep", "noop", check=checking(), service=lambda _: replies)
    own_id = ask(site)
    assert site.end(own_id) == "completed"
    assert len(site.seen) == 2 + 2 * len(ON_HOST) + 1


def test_step_fails_when_its_status_is_unknown_and_it_has_notifications(site: OldSite) -> None:
    """C5: this killed the thread of the deployment, which stayed in progress for ever."""
    site.start_workers(
        "sleep",
        "noop",
        check=checking(),
        service=lambda body: (
            {"status": "started"},
            {"status": "completed" if body["parameters"]["subcommand"] == "Stop" else "errored"},
        ),
    )
    own_id = ask(site)
    assert site.end(own_id) == "failed"
    assert site.steps()[-2:] == ["service:Restart web1", "noop:Tell"]


def test_every_bad_request_is_answered_and_the_next_good_one_starts(site: OldSite) -> None:
    """C7 to C11 and C13: requests that killed the core, closed its connection or were never answered."""
    site.start_workers("service", "sleep", "noop", check=checking())
    own_id = site.store(PLAYBOOK)
    good = {"group": "web", "playbook_id": own_id, "dynamic": {"cart": "c-1"}}
    bad = (
        {"group": "web"},
        {"playbook_id": own_id},
        [1, 2],
        b"not json",
        {**good, "playbook_id": "no such id"},
        {**good, "group": "database"},
        {**good, "dynamic": None},
    )
    for body in bad:
        answer = site.ask(body)
        assert answer["id"] is None, body
        assert answer["error"], body
    assert site.service.deployments() == []
    assert site.end(site.ask(good)["id"]) == "completed"
