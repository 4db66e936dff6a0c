"""The pages about codes, tasks and schedules, as people use them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from reworker.core.principal import Scope
from reworker.storage.task_rows import TaskFilter
from tests.browser.conftest import FURNISHED_S, Open
from tests.browser.house import House, house
from tests.browser.test_pages import look_at
from tests.browser.work import Bench, busy, fill_work, package, poisoned_work
from tests.support.waiting import wait_until

LISTS = ("/tasks", "/tasks/codes", "/tasks/schedules")
TURN = "\u202e"


@pytest.fixture(scope="module")
def busy_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[House, dict[str, str]]]:
    """Give a house with tasks in every status, and its ids by name; shared: only look."""
    with house(tmp_path_factory.mktemp("busy"), started_s=FURNISHED_S) as home:
        yield home, busy(home)


@pytest.fixture
def bench(home: House) -> Bench:
    return Bench(home)


def test_pages_have_no_barrier_when_there_is_work(
    busy_house: tuple[House, dict[str, str]], eyes: Open
) -> None:
    home, ids = busy_house
    paths = [f"/tasks/{ids[name]}" for name in ("failed", "running")]
    paths += ["/tasks", "/tasks/codes/new", f"/tasks/schedules/{ids['schedule']}"]
    paths += [f"/tasks/codes/{ids['report']}", f"/tasks/codes/{ids['mail']}/remove"]
    window = eyes(home.url)
    found = {path: look_at(window, path) for path in paths}
    assert {path: one for path, one in found.items() if one} == {}


@pytest.mark.parametrize("count", [0, 1])
def test_lists_have_no_barrier_when_they_hold(count: int, home: House, eyes: Open) -> None:
    fill_work(home, count)
    window = eyes(home.url)
    found = {path: look_at(window, path, has_contrast=not count) for path in LISTS}
    assert {path: one for path, one in found.items() if one} == {}
    assert window.find("[data-row]").count() == count


def test_thousand_tasks_are_cut_into_pages_and_filtered(home: House, eyes: Open) -> None:
    fill_work(home, 1000)
    window = eyes(home.url)
    found = {path: look_at(window, path, has_contrast=False) for path in LISTS}
    assert {path: one for path, one in found.items() if one} == {}

    window = eyes(home.url, has_scripts=False).go("/tasks")
    assert "1,000 tasks" in window.text()
    assert window.find("[data-row]").count() == 100
    first = window.find("[data-row]").first.get_attribute("id")
    window.find("a[rel=next]").click()
    assert window.find("[data-row]").count() == 100
    assert window.find("[data-row]").first.get_attribute("id") != first
    window.go("/tasks?code=code+7&status=cancelled")
    assert window.find("[data-row]").count() == 8
    window.find("main [name=status]").select_option("open")
    window.find("main button >> text=Filter").click()
    assert "status=open" in window.page.url
    assert window.find("[data-row]").count() == 17


def test_no_stored_text_runs_when_it_is_shown(home: House, eyes: Open) -> None:
    window = eyes(home.url)
    for path in poisoned_work(home):
        window.go(path)
        assert not window.was_evil(), path
        assert window.find("img[src=x]").count() == 0, path
        assert TURN not in window.text(), path
    for path in ("/tasks?code=", "/tasks?label=", "/tasks?schedule=", "/tasks/schedules/new?code="):
        window.go(path + "%22%3E%3Cscript%3Eevil()%3C/script%3E%3Cimg%20src=x%20onerror=evil()%3E")
        assert not window.was_evil(), path
        assert window.find("img[src=x]").count() == 0, path


def test_secrets_are_masked_wherever_they_are_shown(
    busy_house: tuple[House, dict[str, str]], eyes: Open
) -> None:
    home, ids = busy_house
    window = eyes(home.url)
    own_id = ids["running"]
    for path in (f"/tasks/{own_id}", f"/tasks/codes/{ids['report']}", *_deployment_pages(own_id)):
        window.go(path)
        assert "hunter2" not in window.page.content(), path
    shown = window.go(f"/tasks/{own_id}").find("#payload").inner_text()
    assert json.loads(shown) == {"month": "2026-11", "api_key": "[FILTERED]", "options": {"format": "pdf"}}


def _deployment_pages(own_id: str) -> list[str]:
    return [f"/deployments/{own_id}{tab}" for tab in ("", "/plan", "/messages", "/attempts/1")]


def test_code_is_uploaded_when_scripts_are_off(home: House, eyes: Open, tmp_path: Path) -> None:
    window = eyes(home.url, has_scripts=False, expected=("status of 422",))
    window.go("/tasks").find("text=Upload one here").click()
    (tmp_path / "notes.txt").write_text("no code")
    window.find("[name=file]").set_input_files(tmp_path / "notes.txt")
    window.find("[name=name]").fill("mail")
    window.find("main button >> text=Upload").click()
    assert "neither a zip file nor a script" in window.text()
    assert window.find("[name=name]").input_value() == "mail"

    (tmp_path / "fib.py").write_text("print(1)\n")
    window.find("[name=file]").set_input_files(tmp_path / "fib.py")
    window.find("[name=env_vars]").fill("SMTP_PASSWORD=hunter2\nSMTP_HOST=mail1")
    window.find("main button >> text=Upload").click()
    assert "Revision 1 of mail is uploaded." in window.text()
    (row,) = home.service.codes.codes(None)
    revision = home.service.codes.revision(row)
    assert (row.name, revision.runtime, revision.file_name) == ("mail", "python", "fib.py")
    assert json.loads(row.options) == {"env_vars": {"SMTP_PASSWORD": "hunter2", "SMTP_HOST": "mail1"}}

    window.find("text=New revision").click()
    (tmp_path / "mail.zip").write_bytes(package())
    window.find("[name=file]").set_input_files(tmp_path / "mail.zip")
    window.find("[name=file_name]").fill("main.py")
    window.find("main button >> text=Upload").click()
    assert "Revision 2 of mail is uploaded." in window.text()
    (row,) = home.service.codes.codes(None)
    assert "hunter2" in row.options.decode()


def test_options_are_changed_and_masks_keep_secrets_when_scripts_are_off(bench: Bench, eyes: Open) -> None:
    code = bench.upload("mail", env_vars={"SMTP_PASSWORD": "hunter2", "SMTP_HOST": "mail1"})
    window = eyes(bench.home.url, has_scripts=False, expected=("status of 422",)).go(
        f"/tasks/codes/{code.id}"
    )
    assert "hunter2" not in window.page.content()
    window.find("[name=env_vars]").fill("SMTP_PASSWORD=[FILTERED]\nSMTP_HOST=mail2")
    window.find("[name=retries]").fill("3")
    window.find("text='Change'").click()
    assert "The options are changed" in window.text()
    (row,) = bench.home.service.codes.codes(None)
    values = json.loads(row.options)
    assert (values["retries"], values["env_vars"]) == (3, {"SMTP_PASSWORD": "hunter2", "SMTP_HOST": "mail2"})
    window.find("[name=env_vars]").fill("nonsense")
    window.find("text='Change'").click()
    assert "is not NAME=VALUE" in window.text()
    assert window.find("[name=env_vars]").input_value() == "nonsense"


def test_code_is_queued_paused_emptied_and_deleted_when_scripts_are_off(bench: Bench, eyes: Open) -> None:
    service, code = bench.home.service, bench.upload("mail")
    window = eyes(bench.home.url, has_scripts=False).go(f"/tasks/codes/{code.id}")
    window.find("[name=payload]").fill('{"to": "me"}')
    window.find("[name=label]").fill("by hand")
    window.find("text='Queue'").click()
    assert "A task of mail is queued." in window.text()
    (task,) = service.tasks.tasks(TaskFilter())
    assert (service.tasks.payload(task), task.label) == ('{"to": "me"}', "by hand")

    window.go(f"/tasks/codes/{code.id}").find("text='Pause'").click()
    assert "is paused: no task of it is started" in window.text()
    window.find("text=End or delete").click()
    window.find("text=End all tasks of mail").click()
    window.find("button >> text=End its tasks").click()
    assert "1 task of mail told to end." in window.text()
    window.go(f"/tasks/codes/{code.id}/remove").find("text=Delete mail with").click()
    window.find("button >> text=Delete").click()
    assert "mail is deleted." in window.text()
    assert service.codes.codes(None) == []


def test_task_is_ended_and_queued_anew_when_scripts_are_off(bench: Bench, eyes: Open) -> None:
    bench.upload("mail")
    (own_id,) = bench.queue("mail", '{"a": 1}')
    window = eyes(bench.home.url, has_scripts=False).go(f"/tasks/{own_id}")
    window.find("main button >> text=Cancel").click()
    assert "The task is over." in window.text()
    assert window.find("h1 .status").inner_text() == "cancelled"
    window.find("[name=delay_s]").fill("60")
    window.find("main button >> text=Queue it anew").click()
    assert f"Queued anew, after {own_id}." in window.text()
    assert window.find("h1 .status").inner_text() == "queued"
    assert "Due" in window.text()


def test_schedule_is_made_changed_and_cancelled_when_scripts_are_off(bench: Bench, eyes: Open) -> None:
    bench.upload("mail")
    window = eyes(bench.home.url, has_scripts=False, expected=("status of 422",)).go("/tasks/schedules")
    window.find("text=New schedule").click()
    window.find("[name=code]").fill("mail")
    window.find("[name=cron]").fill("every day")
    window.find("[name=payload]").fill('{"token": "hunter2"}')
    window.find("text=Make it").click()
    assert "Nothing was made: cron: give five fields" in window.text()
    assert window.find("[name=cron]").input_value() == "every day"
    window.find("[name=cron]").fill("30 4 * * mon-fri")
    window.find("[name=time_zone]").fill("Europe/Berlin")
    window.find("text=Make it").click()
    assert "The schedule is made." in window.text()
    (row,) = bench.home.service.schedules.schedules(None)
    assert (row.cron, row.time_zone, row.payload) == (
        "30 4 * * mon-fri",
        "Europe/Berlin",
        '{"token": "hunter2"}',
    )

    assert "hunter2" not in window.page.content()
    window.find("[name=run_times]").fill("5")
    window.find("[name=priority]").select_option("2")
    window.find("text='Change'").click()
    assert "The schedule is changed." in window.text()
    (row,) = bench.home.service.schedules.schedules(None)
    assert (row.run_times, row.payload, row.cron) == (5, '{"token": "hunter2"}', "30 4 * * mon-fri")
    assert window.find("[name=priority]").input_value() == "2"
    window.find("main button >> text=Cancel").click()
    assert "makes no more tasks" in window.text()
    assert window.find("main button >> text=Change").count() == 0


def test_page_of_a_task_follows_it_from_the_queue_to_its_end(bench: Bench, eyes: Open) -> None:
    bench.upload("report")
    (own_id,) = bench.queue("report")
    window = eyes(bench.home.url).go(f"/tasks/{own_id}")
    assert "No output yet." in window.text()
    bench.run()
    bench.begin(own_id, "page 1")
    wait_until(lambda: window.find("h1 .status").inner_text() == "running")
    wait_until(lambda: "page 1" in window.find("#lines").inner_text())
    bench.home.service.tasks.progress(own_id, percent=40, msg="on it")
    wait_until(lambda: "40 %" in window.find("#about").inner_text())
    bench.write(own_id, "pa", end="")
    wait_until(lambda: window.find("#lines p").count() == 2)
    bench.write(own_id, "ge 2")
    wait_until(lambda: "page 2" in window.find("#lines").inner_text())
    bench.complete(own_id)
    wait_until(lambda: window.find("h1 .status").inner_text() == "complete")
    wait_until(lambda: window.page.title().startswith("complete"))
    wait_until(lambda: window.find("#lines p").count() == 2)
    window.go(f"/tasks/{own_id}")
    assert window.find("#lines code").all_inner_texts() == ["page 1", "page 2"]


def test_list_follows_tasks_when_they_come_and_go(bench: Bench, eyes: Open) -> None:
    bench.upload("report")
    window = eyes(bench.home.url).go("/tasks")
    (own_id,) = bench.queue("report")
    wait_until(lambda: window.find(f"#t{own_id}").count() == 1)
    bench.run()
    bench.begin(own_id)
    wait_until(lambda: "running" in window.find(f"#t{own_id}").inner_text())
    bench.fail(own_id, "no disk left")
    wait_until(lambda: "no disk left" in window.find(f"#t{own_id}").inner_text())
    wait_until(lambda: window.page.title().startswith("1 failed"))


def test_only_keys_lead_from_the_first_page_to_a_task(bench: Bench, eyes: Open) -> None:
    bench.upload("report")
    first, second = bench.queue("report", "1", "2")
    window = eyes(bench.home.url).go("/")
    window.keys("g", "t")
    window.page.wait_for_url("**/tasks")
    window.keys("j", "j")
    assert window.evaluate("document.activeElement.id") == f"a{first}"
    window.keys("k", "Enter")
    window.page.wait_for_url(f"**/tasks/{second}")
    window.go("/tasks").keys("c")
    window.page.wait_for_url("**/tasks/codes/new")


def test_who_may_only_read_is_offered_nothing_else(locked: House, eyes: Open) -> None:
    bench = Bench(locked)
    code = bench.upload("mail")
    (own_id,) = bench.queue("mail")
    row = bench.schedule("mail", cron="0 4 * * *")
    token = locked.access.create_token("reader", [Scope.READ])[1]
    window = eyes(locked.url, has_scripts=False).go("/login")
    window.find("[name=token]").fill(token)
    window.find("main button").click()
    for path in (f"/tasks/{own_id}", f"/tasks/codes/{code.id}", f"/tasks/schedules/{row.id}", *LISTS):
        window.go(path)
        names = window.find("main button:enabled:visible, main a.button").all_inner_texts()
        assert set(names) <= {"Filter"}, path
