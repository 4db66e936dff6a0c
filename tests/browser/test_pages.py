from __future__ import annotations

from collections.abc import Callable

import pytest

from reworker.web.pages.assets import assets
from tests.browser.conftest import Open
from tests.browser.eyes import Eyes
from tests.browser.house import House

LISTS = ("/", "/deployments", "/playbooks", "/admin", "/admin/audit")
PLAYBOOK = ("", "/run", "/diff", "/edit", "/remove")
CONTRAST = "color-contrast"
#: bytes that a browser fetches for all pages together, compressed; the pages themselves come on top.
ASSET_BYTES = 80 * 1024


def look_at(window: Eyes, path: str, status: int = 200, *, has_contrast: bool = True) -> list[str]:
    """Return what is wrong with a page, in light and dark and on a narrow screen."""
    window.go(path, status)
    found = window.barriers(has_contrast=has_contrast)
    window.page.emulate_media(color_scheme="dark")
    found += window.barriers(CONTRAST) if has_contrast else []
    window.page.set_viewport_size({"width": 360, "height": 740})
    if wide := window.overflow():
        found.append(f"wider than a narrow screen by {wide} pixels")
    window.page.set_viewport_size({"width": 1280, "height": 800})
    window.page.emulate_media(color_scheme="light")
    return found


@pytest.mark.parametrize("count", [0, 1, 1000])
def test_lists_have_no_barrier_when_they_hold(count: int, houses: Callable[[int], House], eyes: Open) -> None:
    window = eyes(houses(count).url)
    found = {path: look_at(window, path, has_contrast=not count) for path in LISTS}
    assert {path: one for path, one in found.items() if one} == {}


def test_pages_have_no_barrier_when_looked_at_in_light_and_dark(
    furnished: tuple[House, dict[str, str]], eyes: Open
) -> None:
    home, ids = furnished
    paths = [f"/playbooks/{ids['playbook']}{path}" for path in PLAYBOOK]
    paths += ["/", "/deployments", "/playbooks/new", "/admin/cores", "/login"]
    window = eyes(home.url)
    found = {path: look_at(window, path) for path in paths}
    assert {path: one for path, one in found.items() if one} == {}


def test_plan_has_no_barrier_when_somebody_looks_at_it_before_the_start(
    furnished: tuple[House, dict[str, str]], eyes: Open
) -> None:
    home, ids = furnished
    window = eyes(home.url)
    window.go(f"/playbooks/{ids['playbook']}/run")
    window.find("[name='param.version']").fill("2.4")
    window.page.get_by_label("Domains").fill("blue,NO_DOMAIN\nnoop=green")
    window.find("button[value=preview]").click()
    assert "noop:Update in domain green" in window.find("#plan").inner_text()
    assert (window.barriers(), window.overflow()) == ([], 0)
    window.page.set_viewport_size({"width": 360, "height": 740})
    assert window.overflow() == 0


def test_errors_are_pages_when_a_browser_asks(furnished: tuple[House, dict[str, str]], eyes: Open) -> None:
    window = eyes(furnished[0].url, expected=("status of 404",))
    assert look_at(window, "/nowhere", 404) == []
    assert "Not Found" in window.text()
    assert "There is no page /nowhere." in window.text()
    assert window.find("main a.button").all_inner_texts() == ["Go to the first page"]
    assert look_at(window, "/deployments/none", 404) == []
    window.find("text=Go to Deployments").click()
    assert window.page.url.endswith("/deployments")


def test_theme_is_kept_when_a_person_chooses(home: House, eyes: Open) -> None:
    window = eyes(home.url).go("/")
    ground = "getComputedStyle(document.body).backgroundColor"
    light = window.evaluate(ground)
    window.find("form[action='/theme'] button").click()
    assert window.find("html").get_attribute("data-theme") == "dark"
    assert window.evaluate(ground) != light
    window.go("/deployments")
    assert window.find("html").get_attribute("data-theme") == "dark"


def test_assets_are_small_when_compressed() -> None:
    sizes = {one.name: len(one.zipped) for one in assets().values()}
    assert sum(sizes.values()) <= ASSET_BYTES, sizes
