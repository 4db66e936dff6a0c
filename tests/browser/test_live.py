"""Pages follow the database, also over the death of the server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Open
from tests.browser.eyes import Eyes
from tests.browser.house import House, house, playbook_text
from tests.support.ports import free_port
from tests.support.processes import Process
from tests.support.waiting import wait_until


def test_rows_change_and_marks_stay_when_something_happens(home: House, eyes: Open) -> None:
    first = home.start(playbook_text("first"))
    window = eyes(home.url).go("/deployments")
    window.find(f"#d{first} [name=id]").check()
    window.find(f"#a{first}").focus()
    expect(window.find(f"#d{first} .status")).to_have_text("completed")
    second = home.start(playbook_text("second", {"approval": "go on?"}))
    expect(window.find(f"#d{second} .status")).to_have_text("waiting")
    assert window.find(f"#d{first} [name=id]").is_checked()
    assert window.evaluate("document.activeElement.id") == f"a{first}"
    home.service.approve(second, actor="bob")
    home.run()
    expect(window.find(f"#d{second} .status")).to_have_text("completed")
    expect(window.page).to_have_title("Deployments · reworker")


def test_rows_change_though_events_never_pause(home: House, eyes: Open) -> None:
    window = eyes(home.url).go("/deployments")
    window.evaluate(
        "setInterval(() => document.querySelector('main').liveStream.dispatchEvent(new Event('change')), 40)"
    )
    own_id = home.start(playbook_text("while it rains"))
    expect(window.find(f"#d{own_id} .status")).to_have_text("completed")


def test_first_page_says_what_needs_people_when_something_waits(home: House, eyes: Open) -> None:
    window = eyes(home.url).go("/")
    assert "First steps" in window.text()
    own_id = home.start(playbook_text("shop", {"approval": "open the shop?"}))
    expect(window.find("#now")).to_contain_text("Approval needed on web1: open the shop?")
    expect(window.page).to_have_title("1 to do · Now · reworker")
    home.service.approve(own_id, actor="bob")
    home.run()
    expect(window.find("#now")).to_contain_text("Nothing waits for a person.")
    expect(window.page).to_have_title("Now · reworker")


@pytest.mark.fault
def test_page_is_equal_to_the_database_when_the_server_was_killed(
    eyes: Open, tmp_path: Path, process: Callable[..., Process]
) -> None:
    port = free_port()
    with house(tmp_path) as home:

        def serve() -> Process:
            url = f"sqlite:///{home.world.path}"
            started = process("-m", "reworker", "web", "--db", url, "--no-auth", "--port", str(port))
            started.wait_for_line("http://")
            return started

        ids = [home.start(playbook_text(f"nightly {n}", {"approval": "go on?"})) for n in range(3)]
        server = serve()
        window = eyes(
            f"http://127.0.0.1:{port}", expected=("ERR_CONNECTION", "ERR_INCOMPLETE", "ERR_EMPTY")
        ).go("/deployments")
        server.kill9()
        for own_id in ids[:2]:
            home.service.approve(own_id, actor="bob")
        home.service.cancel(ids[2], actor="bob")
        home.run()
        new_id = home.start(playbook_text("while it was dead"))
        expect(window.find("#live-state")).to_contain_text("does not answer")
        serve()
        expect(window.find(f"#d{new_id}")).to_be_visible()
        wait_until(lambda: shown(window) == stored(home))
        expect(window.find("#live-state")).to_be_empty()


def shown(window: Eyes) -> list[tuple[str, str]]:
    rows = window.find("[data-row]").all()
    return [((one.get_attribute("id") or "")[1:], one.locator(".status").inner_text()) for one in rows]


def stored(home: House) -> list[tuple[str, str]]:
    return [(one.row.id, str(one.state.status)) for one in home.service.deployments()]
