"""Everything works with JavaScript off: forms and links are enough."""

from __future__ import annotations

from tests.browser.conftest import Open
from tests.browser.eyes import Eyes
from tests.browser.house import ROLLOUT, House, playbook_text


def test_a_playbook_is_stored_run_and_cancelled_when_scripts_are_off(locked: House, eyes: Open) -> None:
    window = eyes(locked.url, has_scripts=False, expected=("status of 401", "status of 422"))
    window.go("/playbooks")
    assert window.page.url.endswith("/login?next=%2Fplaybooks")
    window.find("[name=token]").fill("rw_nonsense")
    window.find("main button").click()
    assert "unknown, has expired or was revoked" in window.text()
    window.find("[name=token]").fill(locked.token)
    window.find("main button").click()
    assert window.page.url.endswith("/playbooks")

    write_playbook(window)

    window.find("text=Run …").click()
    window.find("[name='param.version']").fill("2.0")
    window.find("[name=domains]").fill("noop=blue")
    window.find("button[value=preview]").click()
    assert "What would be done" in window.text()
    assert "noop:Update in domain blue" in window.find("#plan").inner_text()
    assert window.find("[name=domains]").input_value() == "noop=blue"
    assert locked.service.deployments() == []
    window.find("button[value=start]").click()
    (view,) = locked.service.deployments()
    assert (view.row.actor, view.row.environment) == ("alice", "live")
    assert window.page.url.endswith(f"/deployments/{view.row.id}")
    assert "noop: domain blue" in window.find("#about").inner_text()

    window.go("/deployments")
    window.find("[name=id]").check()
    window.find("button[value=cancel]").click()
    assert "Cancel 1 deployment?" in window.text()
    window.find("[name=reason]").fill("wrong day")
    window.find("main button.danger").click()
    assert "1 of 1 deployments asked to end." in window.text()
    locked.run()
    assert str(locked.service.deployment(view.row.id).state.status) == "cancelled"

    window.find("text=Log out").click()
    assert "You are logged out." in window.text()
    window.go("/")
    assert "/login" in window.page.url


def write_playbook(window: Eyes) -> None:
    window.find("text=Write one here").click()
    window.find("[name=text]").fill("group: web\nname: shop\nexecution: 3\n")
    window.find("button[value=store]").click()
    assert "line 3" in window.find(".problems").inner_text()
    assert window.find("li.wrong").get_attribute("id") == "L3"
    window.find("[name=text]").fill(ROLLOUT.format(environment="live", hosts="app1"))
    window.find("button[value=store]").click()
    assert "roll out the shop is stored." in window.text()


def test_filters_and_views_are_kept_in_the_address_when_scripts_are_off(home: House, eyes: Open) -> None:
    for name in ("east", "west"):
        home.start(playbook_text(f"roll out {name}"))
    window = eyes(home.url, has_scripts=False).go("/deployments")
    window.find("main [name=q]").fill("WEST")
    window.find("main >> text=Filter").click()
    assert "q=WEST" in window.page.url
    assert window.find("[data-row]").count() == 1
    window.find("text=Keep this view").click()
    window.find("[name=view]").fill("the west")
    window.find("button >> text=Keep").click()
    assert "The view the west is kept." in window.text()
    window.go("/deployments")
    assert window.find("[data-row]").count() == 2
    window.find(".view a").click()
    assert window.find("[data-row]").count() == 1
    window.find(".view button").click()
    assert "The view the west is gone." in window.text()
    assert window.find(".view").count() == 0


def test_a_token_is_shown_once_and_revoked_when_an_admin_makes_one(locked: House, eyes: Open) -> None:
    secret = locked.access.first_link()
    assert secret is None, "there is an admin already"
    window = eyes(locked.url, has_scripts=False)
    log_in(window, locked.token)
    window.go("/admin")
    window.find("[name=name]").fill("robot")
    window.find("[value=read]").check()
    window.find("[name=groups]").fill("web, db-*")
    window.find("text=Make the token").click()
    text = window.find("#token").inner_text()
    who = locked.access.principal_of(text)
    assert (who.name, [str(one) for one in who.scopes]) == ("robot", ["read"])
    assert who.limits.groups == ("web", "db-*")
    window.go("/admin")
    assert text not in window.page.content()
    window.find("a.main >> text=robot").click()
    window.find("[name=confirm]").check()
    window.find("main button.danger").click()
    assert "The token robot counts no more." in window.text()
    window.go("/admin/audit?action=token.revoke")
    assert window.find("[data-row]").count() == 1


def log_in(window: Eyes, token: str) -> None:
    window.go("/login")
    window.find("[name=token]").fill(token)
    window.find("main button").click()
