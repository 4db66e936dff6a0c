"""Fixtures for tests in a real browser: one Chromium for all of them, and houses to look at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.browser.eyes import CHROMIUM, FLAGS, PATIENCE_MS, Eyes
from tests.browser.house import House, fill, furnish, house
from tests.conftest import require_server

#: seconds before now at which the time of a furnished house begins, which then passes until about now.
FURNISHED_S = 10_310

Open = Callable[..., Eyes]

expect.set_options(timeout=PATIENCE_MS)  # five seconds are few on a busy machine


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/browser" in item.path.as_posix():
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    require_server("Chromium", CHROMIUM.exists())
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def eyes(chromium: Browser) -> Iterator[Open]:
    """Give a function that opens a window: ``eyes(home.url, theme="dark", width=360, has_scripts=False)``.

    At the end nothing may have been complained of: errors in the console, breaches of the policy, requests to
    other hosts.
    """
    opened: list[Eyes] = []

    def open_window(url: str, **options: object) -> Eyes:
        opened.append(Eyes(chromium, url, **options))
        return opened[-1]

    yield open_window
    complaints = [complaint for one in opened for complaint in one.close()]
    assert complaints == []


@pytest.fixture(scope="session")
def houses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[int], House]]:
    """Give a function that returns a house with so many of everything; shared: only look."""
    made: dict[int, House] = {}
    with ExitStack() as stack:

        def of(count: int) -> House:
            if count not in made:
                made[count] = stack.enter_context(house(tmp_path_factory.mktemp(f"house{count}")))
                fill(made[count], count)
            return made[count]

        yield of


@pytest.fixture(scope="session")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[House, dict[str, str]]]:
    """Give a house on an ordinary day, and its ids by name; shared: only look."""
    with house(tmp_path_factory.mktemp("furnished"), started_s=FURNISHED_S) as home:
        yield home, furnish(home)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[House]:
    """Give a house of one's own, in which everybody is an administrator."""
    with house(tmp_path) as made:
        yield made


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[House]:
    """Give a house of one's own in which people have to log in."""
    with house(tmp_path, has_auth=True) as made:
        yield made
