"""The page of a deployment in a real browser: what is seen, followed and done there."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser import deployments
from tests.browser.conftest import Open
from tests.browser.eyes import Eyes
from tests.browser.house import House, house, playbook_text
from tests.support.ports import free_port
from tests.support.processes import Process
from tests.support.waiting import wait_until

#: what follows the address of a deployment, for each of its pages.
TABS = ("", "/log", "/events", "/messages", "/plan", "/timeline", "/hosts?host=web", "/attempts/2", "/cancel")
CONTRAST = "color-contrast"
#: bytes of the page of a huge deployment, and lines of output on one page.
HUGE_BYTES, LINE_COUNT = 300_000, 2000

Showcase = tuple[House, dict[str, str]]


@pytest.fixture(scope="module")
def showcase(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Showcase]:
    """Give a house with one deployment of each kind, and their ids; shared: only look."""
    with house(tmp_path_factory.mktemp("showcase"), started_s=1800) as home:
        makers = ("failed", "taken_back", "waiting", "release", "hostile", "huge")
        yield home, {name: getattr(deployments, name)(home) for name in makers}


def look_at(light: Eyes, dark: Eyes, path: str, *, has_contrast: bool = True) -> list[str]:
    """Return what keeps people from using a page: in light, and in dark on a narrow screen.

    Of many rows alike, contrast says nothing new, and takes most of the time: it is asked for in dark alone,
    and where pages differ in both.
    """
    found = light.go(path).barriers(has_contrast=False)
    dark.go(path)
    if has_contrast:
        found += dark.barriers(CONTRAST)
    if wide := dark.overflow():
        found.append(f"wider than a narrow screen by {wide} pixels")
    return [f"{path}: {one}" for one in found]


@pytest.mark.parametrize("kind", ["failed", "taken_back", "waiting", "hostile", "huge"])
def test_page_has_no_barrier_when_a_deployment_is(kind: str, showcase: Showcase, eyes: Open) -> None:
    home, ids = showcase
    light, dark = eyes(home.url), eyes(home.url, theme="dark", width=360)
    path = f"/deployments/{ids[kind]}"
    assert look_at(light, dark, path) + light.barriers(CONTRAST) == []


@pytest.mark.slow
def test_pages_about_a_deployment_have_no_barrier(showcase: Showcase, eyes: Open) -> None:
    home, ids = showcase
    light, dark = eyes(home.url), eyes(home.url, theme="dark", width=360)
    paths = [f"/deployments/{ids['release']}{tab}" for tab in TABS]
    paths += [f"/deployments/{ids['waiting']}/{name}" for name in ("approve", "decide")]
    paths += [f"/deployments/{ids['failed']}/retry", f"/deployments/{ids['huge']}/hosts?group=live"]
    colourful = ("/log", "/plan", "/attempts/2", "/decide", "/retry")
    found = [look_at(light, dark, path, has_contrast=path.endswith(colourful)) for path in paths]
    assert [one for some in found for one in some] == []


def test_no_stored_text_runs_on_any_page_about_a_deployment(showcase: Showcase, eyes: Open) -> None:
    home, ids = showcase
    window = eyes(home.url)
    for tab in (
        "",
        "/log",
        "/events",
        "/messages",
        "/plan",
        "/timeline",
        "/hosts",
        "/attempts/1",
        "/approve",
    ):
        window.go(f"/deployments/{ids['hostile']}{tab}")
        assert not window.was_evil(), tab
        assert window.find("img[src=x]").count() == 0, tab
        assert not {"\u202e", "\x1b", "\x07"} & set(window.text()), tab
        assert "<script>evil()" in window.text(), tab


def test_huge_deployment_fits_a_page_and_every_host_can_be_reached(showcase: Showcase, eyes: Open) -> None:
    home, ids = showcase
    window = eyes(home.url)
    response = window.page.goto(f"/deployments/{ids['huge']}")
    assert response is not None
    assert len(response.body()) < HUGE_BYTES
    assert "7 failed\n50 running\n330 not begun\n613 completed" in window.text()
    window.page.locator("#matrix tr.group", has_text="not begun").get_by_role("link", name="show all").click()
    seen = set(window.find(".grid tbody a.main").all_inner_texts())
    while window.find("a[rel=next]").count():
        window.find("a[rel=next]").click()
        seen |= set(window.find(".grid tbody a.main").all_inner_texts())
    assert seen == {f"node{number:04}" for number in range(671, 1001)}


def test_page_follows_steps_output_and_end(home: House, eyes: Open) -> None:
    own_id = home.start(playbook_text("shop", "noop:Do", {"approval": "go on?"}, hosts=("web1", "web2")))
    window = eyes(home.url).go(f"/deployments/{own_id}")
    expect(window.page).to_have_title("? Waits for people 1/4 · web / shop · reworker")
    deployments.add_lines(home, own_id, [f"line {number}" for number in range(1, 301)])
    expect(window.find("#L300 code")).to_have_text("line 300")
    home.service.approve(own_id, actor="bob")
    home.run()
    expect(window.find("#h2 td").first).to_have_text("✓ completed")
    home.service.approve(own_id, actor="bob")
    home.run()
    expect(window.page).to_have_title("✓ Completed 4/4 · web / shop · reworker")
    expect(window.find("#about .status")).to_have_text("Completed")
    assert window.find("#lines p").count() == 300


def test_log_keeps_the_newest_lines_when_there_are_many(home: House, eyes: Open) -> None:
    own_id = home.start(playbook_text("shop", {"approval": "go on?"}))
    deployments.write_log(home, own_id, 5000)
    window = eyes(home.url).go(f"/deployments/{own_id}/log")
    assert window.find("#lines p").count() == 1000
    deployments.write_log(home, own_id, 3000)
    expect(window.find("#L8000")).to_be_attached()
    numbers = window.evaluate("[...document.querySelectorAll('#lines p')].map((one) => one.id)")
    assert numbers == [f"L{number}" for number in range(8000 - LINE_COUNT + 1, 8001)]


def test_keys_lead_to_the_log_follow_it_and_retry(showcase: Showcase, eyes: Open) -> None:
    home, ids = showcase
    window = eyes(home.url).go(f"/deployments/{ids['release']}")
    expect(window.find("#follow")).to_have_attribute("aria-pressed", "true")
    window.keys("f")
    expect(window.find("#follow")).to_have_attribute("aria-pressed", "false")
    window.keys("l")
    window.page.wait_for_url("**#log")
    window.go(f"/deployments/{ids['failed']}").keys("r")
    expect(window.page.get_by_role("heading", name="Go on with this deployment?")).to_be_visible()


def test_deployment_is_cancelled_without_scripts(home: House, eyes: Open) -> None:
    own_id = home.start(playbook_text("shop", {"approval": "go on?"}))
    window = eyes(home.url, has_scripts=False).go(f"/deployments/{own_id}")
    window.page.get_by_role("link", name="Cancel").click()
    assert "1 step will not be done." in window.text()
    window.page.get_by_label("Why").fill("wrong <b>version</b>")
    window.page.get_by_role("button", name="Cancel the deployment").click()
    home.run()
    window.go(f"/deployments/{own_id}")
    assert home.world.status(own_id) == "cancelled"
    assert "wrong <b>version</b>" in window.text()


def test_failed_hosts_are_retried_without_scripts(home: House, eyes: Open) -> None:
    own_id = deployments.failed(home)
    window = eyes(home.url, has_scripts=False).go(f"/deployments/{own_id}/retry?hosts=failed")
    assert "It will do 4 steps, and pass over 14 steps that were done" in window.text()
    window.page.get_by_label("Why").fill("disk is larger")
    window.page.get_by_role("button", name="Retry").click()
    home.run()
    new_id = window.page.url.rpartition("/")[2]
    assert home.world.status(new_id) == "completed"
    window.go(f"/deployments/{new_id}")
    assert "disk is larger" in window.text()
    window.find(f"a[href='/deployments/{own_id}']").click()
    assert f"/deployments/{new_id}" in window.page.content()


def test_decision_needs_its_reason_and_ends_the_doubt(home: House, eyes: Open) -> None:
    home.workers.doubtful.add("switch1 Reload")
    own_id = home.start(playbook_text("switches", "noop:Reload", hosts=("switch1",)))
    window = eyes(home.url, has_scripts=False).go(f"/deployments/{own_id}")
    window.page.get_by_role("link", name="Decide").click()
    window.page.get_by_label("It was done: go on").check()
    window.page.get_by_label("Why").fill("seen on its console")
    window.page.get_by_role("button", name="Decide").click()
    home.run()
    assert home.world.status(own_id) == "completed"
    assert "Decided." in window.text()


@pytest.mark.fault
def test_page_is_as_the_database_when_the_server_was_killed(
    eyes: Open, tmp_path: Path, process: Callable[..., Process]
) -> None:
    port = free_port()
    with house(tmp_path) as home:

        def serve() -> Process:
            url = f"sqlite:///{home.world.path}"
            started = process("-m", "reworker", "web", "--db", url, "--no-auth", "--port", str(port))
            started.wait_for_line("http://")
            return started

        own_id = home.start(playbook_text("shop", "noop:Do", {"approval": "go on?"}, "noop:Check"))
        server = serve()
        path = f"/deployments/{own_id}"
        window = eyes(f"http://127.0.0.1:{port}", expected=("ERR_CONNECTION", "ERR_INCOMPLETE", "ERR_EMPTY"))
        window.go(path)
        server.kill9()
        deployments.add_lines(home, own_id, ["while it was dead"])
        home.service.approve(own_id, actor="bob")
        home.run()
        expect(window.find("#live-state")).to_contain_text("does not answer")
        serve()
        expect(window.find("#about .status")).to_have_text("Completed")
        expect(window.find("#lines")).to_contain_text("while it was dead")
        fresh = parts(eyes(f"http://127.0.0.1:{port}").go(path))
        wait_until(lambda: parts(window) == fresh)


def parts(window: Eyes) -> list[str]:
    """Return what can be read on the page, without how long ago that was."""
    texts = [window.find(part).inner_text() for part in ("#about", "#matrix", "#timeline", "#lines")]
    return [re.sub(r"\b(now|\d+ \w+ ago)", "(ago)", one) for one in texts]
