"""Schedules at ``/2``: made, listed, looked at, changed, cancelled."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.integration.ironworker_support import DATE, ID, Iron, own_project, refused, said
from tests.support.api import Api, serving


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with serving(tmp_path_factory.mktemp("schedules")) as made:
        yield made


@pytest.fixture
def iron(api: Api) -> Iron:
    """Somebody in a project of the test's own, with a code."""
    made = Iron(api, project=own_project(api))
    made.upload()
    return made


def scheduled(iron: Iron, **values: Any) -> str:
    """Make a schedule; return its id."""
    body = {"schedules": [{"code_name": "Hello", "payload": "{}", **values}]}
    answer = iron.post("schedules", body)
    assert (answer["msg"], answer["status_code"]) == ("Scheduled", 200)
    return str(answer["schedules"][0]["id"])


#: a schedule, as the public client for Python sends it.
AS_PYTHON_SENDS = {
    "name": "Hello",
    "payload": '{"s": 1}',
    "priority": 1,
    "delay": 0,
    "label": None,
    "cluster": None,
    "sync": False,
    "run_every": 3600,
    "end_at": "2031-01-01T00:00:00+00:00",
    "run_times": 8,
    "start_at": "2030-01-01T12:00:00+00:00",
    "timeout": 120,
}


def test_schedule_is_made_as_it_was_asked_for_on_each_engine(any_database_url: str, tmp_path: Any) -> None:
    with serving(tmp_path, any_database_url) as api:
        iron = Iron(api)
        iron.upload()
        own_id = scheduled(iron, **AS_PYTHON_SENDS)
        assert ID.fullmatch(own_id)
        found = iron.get(f"schedules/{own_id}")
        assert all(DATE.fullmatch(found.pop(key)) for key in ("created_at", "updated_at"))
        assert found == {
            "id": own_id,
            "project_id": said(iron.http.get("projects/default"))["id"],
            "code_name": "Hello",
            "name": "Hello",
            "status": "scheduled",
            "payload": '{"s": 1}',
            "start_at": "2030-01-01T12:00:00.000Z",
            "end_at": "2031-01-01T00:00:00.000Z",
            "next_start": "2030-01-01T12:00:00.000Z",
            "run_every": 3600,
            "run_times": 8,
            "run_count": 0,
            "missed": "once",
            "priority": 1,
            "timeout": 120,
        }


def test_schedule_is_changed_in_part_and_cancelled_once(iron: Iron) -> None:
    own_id = scheduled(iron, run_every=3600, run_times=8, start_at="2030-01-01T12:00:00Z")
    changed = {"label": "x", "run_every": 120, "priority": 2, "end_at": "2032-01-01T00:00:00.000Z"}
    answer = iron.tell("PUT", f"schedules/{own_id}", json={**changed, "unknown": 1, "cluster": None})
    assert said(answer) == {"msg": "Updated"}
    found = iron.get(f"schedules/{own_id}")
    assert {key: found[key] for key in changed} == changed
    assert found["run_times"] == 8, "what is not named stays"
    assert [one["id"] for one in iron.get("schedules")["schedules"]] == [own_id]
    assert iron.post(f"schedules/{own_id}/cancel") == {"msg": "Cancelled"}
    assert iron.post(f"schedules/{own_id}/cancel", {"schedule_id": own_id}) == {"msg": "Cancelled"}
    found = iron.get(f"schedules/{own_id}")
    assert (found["status"], found.get("next_start")) == ("cancelled", None)
    refused(iron.tell("PUT", f"schedules/{own_id}", json={"label": "y"}), 400)


@pytest.mark.parametrize(
    "text",
    [
        *("2030-01-01T12:00:00+00:00", "2030-01-01T12:00:00Z", "2030-01-01T12:00:00.000Z"),
        *("2030-01-01T12:00:00.000000+00:00", "2030-01-01T13:00:00+01:00", "2030-01-01T12:00:00"),
    ],
)
def test_start_is_read_in_every_form_that_clients_send(iron: Iron, text: str) -> None:
    found = iron.get(f"schedules/{scheduled(iron, start_at=text)}")
    assert found["start_at"] == "2030-01-01T12:00:00.000Z"


def test_values_that_clients_send_for_nothing_are_not_set(iron: Iron) -> None:
    unset = "0001-01-01T00:00:00Z"
    own_id = scheduled(
        iron,
        run_every=60,
        start_at=unset,
        end_at=unset,
        run_times=0,
        priority=-3,
        label="",
        cluster="",
        timeout=0,
    )
    found = iron.get(f"schedules/{own_id}")
    for key in ("end_at", "last_run_time", "run_times", "priority", "label", "cluster"):
        assert key not in found
    assert (found["timeout"], found["run_count"]) == (86400, 0)


def test_schedule_is_of_one_task_when_it_has_a_delay_alone(iron: Iron) -> None:
    now = datetime.now(UTC)
    found = iron.get(f"schedules/{scheduled(iron, delay=180)}")
    start_at = datetime.fromisoformat(found["start_at"])
    assert timedelta(seconds=170) < start_at - now < timedelta(seconds=200)
    assert found["next_start"] == found["start_at"]


def test_schedule_follows_a_cron_expression_in_a_time_zone(iron: Iron) -> None:
    own_id = scheduled(iron, cron="30 8 * * 1", time_zone="Europe/Berlin", missed="skip", task_delay=5)
    found = iron.get(f"schedules/{own_id}")
    assert [found[key] for key in ("cron", "time_zone", "missed", "task_delay")] == [
        *("30 8 * * 1", "Europe/Berlin", "skip", 5)
    ]
    assert datetime.fromisoformat(found["next_start"]).weekday() == 0


@pytest.mark.parametrize(
    ("values", "status", "field"),
    [
        ({"payload": None}, 400, "payload"),
        ({"code_name": None}, 406, "code_name"),
        ({"code_name": "Nobody"}, 404, "Nobody"),
        ({"run_every": 59}, 400, "run_every"),
        ({"run_every": "often"}, 400, "run_every"),
        ({"start_at": "tomorrow"}, 400, "start_at"),
        ({"start_at": 1893499200}, 400, "start_at"),
        ({"start_at": "9999-12-31T23:59:59-14:00"}, 400, "start_at"),
        ({"start_at": "2030-01-02T00:00:00Z", "end_at": "2030-01-01T00:00:00Z"}, 400, "end_at"),
        ({"end_at": "2001-01-01T00:00:00Z", "run_every": 60}, 400, "end_at"),
        ({"cron": "every day"}, 400, "cron"),
        ({"cron": "* * * * *", "time_zone": "Mars/Olympus"}, 400, "time_zone"),
        ({"missed": "sometimes", "run_every": 60}, 400, "missed"),
        ({"run_times": 10**12, "run_every": 60}, 400, "run_times"),
        ({"payload": "x" * 65537}, 400, "payload"),
        ({"delay": 604801}, 400, "delay"),
    ],
)
def test_schedule_that_makes_no_sense_is_refused(
    iron: Iron, values: dict[str, Any], status: int, field: str
) -> None:
    body = {"schedules": [{"code_name": "Hello", "payload": "{}", **values}]}
    assert field in refused(iron.tell("POST", "schedules", json=body), status)
    assert iron.get("schedules") == {"schedules": []}


def test_schedules_are_listed_in_pages_and_by_status(iron: Iron) -> None:
    ids = [scheduled(iron, run_every=60) for _ in range(3)]
    iron.post(f"schedules/{ids[0]}/cancel")
    pages = [
        [one["id"] for one in iron.get(f"schedules?per_page=2&page={page}")["schedules"]] for page in range(2)
    ]
    assert pages == [[ids[2], ids[1]], [ids[0]]]
    assert [one["id"] for one in iron.get("schedules?status=cancelled")["schedules"]] == [ids[0]]
    for path in ("schedules/x", f"schedules/{'0' * 24}"):
        refused(iron.tell("GET", path), 404)
        refused(iron.tell("POST", f"{path}/cancel"), 404)
        refused(iron.tell("PUT", path, json={}), 404)
