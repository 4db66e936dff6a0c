"""A window of the browser that notes everything it has to complain of."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Locator, Request

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)
#: milliseconds that a page may take for anything.
PATIENCE_MS = 60_000
_DATA = Path(__file__).parent / "data"
#: what tells that stored text has run.
_WATCH_EVIL = "window.evil = () => { window.wasEvil = true; }; window.alert = window.evil;"
_RUN_AXE = """async ([rules, hasContrast]) => {
  const options = {resultTypes: ["violations"], preload: false};
  if (rules.length) options.runOnly = {type: "rule", values: rules};
  else if (!hasContrast) options.rules = {"color-contrast": {enabled: false}};
  const found = await axe.run(document, options);
  return found.violations.flatMap((one) => one.nodes.slice(0, 3).map(
    (node) => `${one.id}: ${node.target.join(" ")}: ${node.failureSummary.replaceAll("\\n", " ")}`));
}"""


@cache
def axe() -> str:
    """Return the source of axe-core, which finds what keeps people from using a page."""
    return (_DATA / "axe.min.js").read_text(encoding="utf-8")


class Eyes:
    """A window at a server; `page` is Playwright's.

    Args:
        browser: to open it in.
        url: of the server.
        theme: light or dark, as the system of the person says.
        width: of the window, in CSS pixels.
        has_scripts: whether JavaScript is on.
        expected: parts of messages in the console that are no complaint.
    """

    def __init__(
        self,
        browser: Browser,
        url: str,
        *,
        theme: str = "light",
        width: int = 1280,
        has_scripts: bool = True,
        expected: tuple[str, ...] = (),
    ) -> None:
        self._context = browser.new_context(
            base_url=url,
            color_scheme=theme,  # type: ignore[arg-type]  # one of Playwright's literals
            viewport={"width": width, "height": 800},
            java_script_enabled=has_scripts,
        )
        self._context.set_default_timeout(PATIENCE_MS)
        self._context.add_init_script(_WATCH_EVIL)
        self._host, self._expected, self._has_scripts = urlsplit(url).netloc, expected, has_scripts
        self.complaints: list[str] = []
        self.page = self._context.new_page()
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.complaints.append(f"error in a script: {error}"))
        self.page.on("request", self._on_request)

    def _on_console(self, message: ConsoleMessage) -> None:
        is_expected = any(part in message.text for part in self._expected)
        if message.type in ("error", "warning") and not is_expected:
            self.complaints.append(f"{message.type} in the console at {self.page.url}: {message.text}")

    def _on_request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.netloc != self._host:
            self.complaints.append(f"request to another host: {request.url}")

    def go(self, path: str, status: int = 200) -> Eyes:
        """Open an address, which must answer with this status."""
        response = self.page.goto(path)
        assert response is not None
        assert response.status == status, (path, response.status)
        return self

    def text(self) -> str:
        """Return what can be read on the page, when it is there to its end."""
        self.page.wait_for_load_state()
        return self.page.locator("body").inner_text()

    def find(self, selector: str) -> Locator:
        """Return the elements of a selector, when the page is there to its end.

        A click waits until the next page begins, no longer: half a table was read under load.
        """
        self.page.wait_for_load_state()
        return self.page.locator(selector)

    def keys(self, *keys: str) -> Eyes:
        """Press keys, one after the other."""
        for one in keys:
            self.page.keyboard.press(one)
        return self

    def barriers(self, *rules: str, has_contrast: bool = True) -> list[str]:
        """Return what keeps people from using the page, as axe finds it, by these rules or all.

        Contrast takes most of the time: of many rows alike it says nothing new.
        """
        self.page.evaluate(f"window.axe || (() => {{ {axe()} }})()")
        found: list[str] = self.page.evaluate(_RUN_AXE, [list(rules), has_contrast])
        return found

    def overflow(self) -> int:
        """Return by how many pixels the page is wider than the window."""
        wide: int = self.page.evaluate(
            "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        return wide

    def was_evil(self) -> bool:
        """Tell whether stored text has run on this page."""
        return bool(self.page.evaluate("() => Boolean(window.wasEvil)"))

    def evaluate(self, script: str) -> Any:
        """Return what a script gives."""
        return self.page.evaluate(script)

    def close(self) -> list[str]:
        """Close the window; return the complaints."""
        if self._has_scripts and self.page.url != "about:blank" and self.was_evil():
            self.complaints.append(f"stored text has run at {self.page.url}")
        self._context.close()
        return self.complaints
