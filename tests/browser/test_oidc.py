"""A person logs in through a provider, in a real browser: its policy lets the way there and back pass."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.browser.eyes import Eyes
from tests.integration.test_web_oidc import Place, opened


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with opened(tmp_path_factory.mktemp("oidc")) as made:
        made.provider.who["groups"] = ["boss"]
        yield made


@pytest.mark.parametrize("has_scripts", [True, False])
def test_a_person_is_led_to_the_provider_and_back_to_the_page_that_was_asked_for(
    chromium: Browser, place: Place, has_scripts: bool
) -> None:
    window = Eyes(chromium, place.api.url, has_scripts=has_scripts)
    window.go("/deployments?q=shop")
    window.find("text=Log in at localhost").click()
    window.page.wait_for_url(f"{place.api.url}/deployments?q=shop")
    assert window.find("[action='/logout']").inner_text().split() == ["Log", "out", "oidc:ann"]
    window.go("/admin")
    assert "Logged in without a token" in window.text()
    window.find("[action='/logout'] button").click()
    assert "You are logged out." in window.text()
    assert {one.partition("?")[0] for one in window.close()} == {
        f"request to another host: {place.provider.url}/authorize"
    }


def test_an_admin_logs_out_all_browsers_of_a_person(chromium: Browser, place: Place) -> None:
    window = Eyes(chromium, place.api.url, width=360).go("/login?next=/admin")
    assert window.barriers() == []
    window.find("text=Log in at localhost").click()
    window.page.wait_for_url(f"{place.api.url}/admin")
    assert window.barriers() == []
    assert window.overflow() == 0
    window.find("section [name=confirm]").first.check()
    window.find("section button.danger").first.click()
    window.page.wait_for_url(f"{place.api.url}/login?next=%2Fadmin")
    assert place.api.access.person_sessions() == []
    window.close()
