"""Make the pictures of docs/images anew: `python -m tests.browser.pictures`, with Chromium installed."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from tests.browser import deployments
from tests.browser.conftest import FURNISHED_S
from tests.browser.eyes import CHROMIUM, FLAGS
from tests.browser.house import House, furnish, house
from tests.browser.work import busy
from tests.support.processes import Process

IMAGES = Path(__file__).parents[2] / "docs" / "images"
SIZE = {"width": 1180, "height": 720}
#: pages that speak of the bus -> what is there when it has answered.
BUS_PAGES = {"/": "#health >> text=answer", "/workers": "text=consuming"}
#: milliseconds that the bus is given to say how it is.
PATIENCE_MS = 15_000


@contextmanager
def broker(folder: Path) -> Iterator[str]:
    """Run a broker with workers, in a process of its own; give its URL."""
    process = Process(
        *("-m", "reworker", "up", "--no-auth", "--mq-port", "0", "--port", "0", "--state", "state"),
        folder=folder,
    )
    try:
        yield process.wait_for_line(r"broker (amqp://\S+)")[1]
    finally:
        process.close()


def take(
    browser: Browser, home: House, name: str, path: str, *, theme: str = "light", width: int = 0
) -> None:
    """Take one picture.

    Args:
        browser: to take it with.
        home: to look at.
        name: of the file.
        path: of the page; what follows a blank is the value of the button that is clicked there.
        theme: light or dark.
        width: of the window; 0 is the usual one.
    """
    size = {**SIZE, "width": width or SIZE["width"]}
    context = browser.new_context(base_url=home.url, viewport=size)
    page = context.new_page()
    page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]  # one of Playwright's literals
    address, _, button = path.partition(" ")
    page.goto(address)
    if address in BUS_PAGES:
        page.locator(BUS_PAGES[address]).first.wait_for(timeout=PATIENCE_MS)
    if button:
        page.locator("[name='param.version']").fill("2.4")
        page.locator(f"button[value={button}]").click()
    page.screenshot(path=IMAGES / f"{name}.png", animations="disabled", caret="hide")
    context.close()


def main() -> None:
    """Take all pictures."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name, broker(Path(name)) as mq:
        folder = Path(name) / "house"
        folder.mkdir()
        with house(folder, started_s=FURNISHED_S, mq=mq) as home, sync_playwright() as playwright:
            ids = furnish(home)
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
            take(browser, home, "now", "/")
            take(browser, home, "now-dark", "/", theme="dark")
            take(browser, home, "now-narrow", "/", width=360)
            take(browser, home, "deployments", "/deployments")
            take(browser, home, "deployment", f"/deployments/{ids['running']}")
            take(browser, home, "playbook-run", f"/playbooks/{ids['playbook']}/run preview")
            take(browser, home, "playbook-changes", f"/playbooks/{ids['playbook']}/diff")
            take(browser, home, "workers", "/workers")
            tasks = busy(home)
            take(browser, home, "tasks", "/tasks")
            take(browser, home, "task", f"/tasks/{tasks['running']}")
            release = f"/deployments/{deployments.release(home)}#matrix"
            take(browser, home, "deployment-release", release)
            take(
                browser,
                home,
                "deployment-fleet",
                f"/deployments/{deployments.huge(home)}#matrix",
                theme="dark",
            )
            browser.close()


if __name__ == "__main__":
    main()
