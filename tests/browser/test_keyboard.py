"""A keyboard is enough."""

from __future__ import annotations

from urllib.parse import urlsplit

from tests.browser.conftest import Open
from tests.browser.house import House, playbook_text


def test_keys_lead_to_every_page_when_pressed(home: House, eyes: Open) -> None:
    window = eyes(home.url).go("/")
    for key, path in (
        ("d", "/deployments"),
        ("p", "/playbooks"),
        ("w", "/workers"),
        ("t", "/tasks"),
        ("a", "/admin"),
    ):
        window.keys("g", key)
        window.page.wait_for_url(f"**{path}")
    window.keys("g", "n")
    window.page.wait_for_url(f"{home.url}/")


def test_a_deployment_is_found_opened_and_its_list_filtered_when_only_keys_are_used(
    home: House, eyes: Open
) -> None:
    ids = []
    for number in range(3):
        ids.append(home.start(playbook_text(f"nightly {number}")))
        home.run(1)
    window = eyes(home.url).go("/deployments")
    window.keys("j", "j")
    assert window.evaluate("document.activeElement.id") == f"a{ids[1]}"
    window.keys("k", "Enter")
    window.page.wait_for_url(f"**/deployments/{ids[2]}")
    window.keys("/")
    window.page.keyboard.type("nightly 0")
    window.keys("Enter")
    window.page.wait_for_url("**/deployments?q=nightly+0")
    assert window.find("[data-row]").count() == 1
    window.keys("f")
    assert window.evaluate("document.activeElement.name") == "q"
    window.keys("Escape", "j")
    assert window.evaluate("document.activeElement.className") == "main"
    assert window.page.url.endswith("/deployments?q=nightly+0")
    assert window.find("main [type=search][name=q]").input_value() == "nightly 0"


def test_help_opens_and_closes_when_asked(home: House, eyes: Open) -> None:
    window = eyes(home.url).go("/")
    window.keys("?")
    assert window.find("#keys").is_visible()
    assert window.barriers() == []
    window.keys("Escape")
    assert not window.find("#keys").is_visible()
    window.keys("?", "Escape", "g", "p")
    window.page.wait_for_url("**/playbooks")


def test_a_playbook_is_started_once_when_enter_is_pressed_twice(home: House, eyes: Open) -> None:
    row = home.service.library.store(playbook_text("shop"), actor="alice")
    window = eyes(home.url).go(f"/playbooks/{row.id}")
    window.keys("r")
    window.page.wait_for_url("**/run")
    for _ in range(40):
        window.keys("Tab")
        if window.evaluate("document.activeElement.value") == "start":
            break
    window.evaluate("const b = document.activeElement; b.click(); b.click();")
    window.page.wait_for_url("**/deployments/*")
    (view,) = home.service.deployments()
    assert urlsplit(window.page.url).path == f"/deployments/{view.row.id}"
