"""What the page of a deployment costs: 1,000 hosts x 20 steps, and a log of a million lines.

    python -m tests.bench.bench_deployment_page

Prints bytes, the server's time and Chromium's first paint; nothing is judged here.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx
from playwright.sync_api import sync_playwright

from tests.bench.pages import place
from tests.browser import deployments
from tests.browser.eyes import CHROMIUM, FLAGS
from tests.browser.house import House, house, playbook_text

ROUNDS = 7
LINE_COUNT = 1_000_000
_FIRST_PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"


def main() -> None:
    """Print the figures."""
    print(place())
    with tempfile.TemporaryDirectory() as folder, house(Path(folder)) as home:
        huge = f"/deployments/{deployments.huge(home)}"
        report("1,000 hosts x 20 steps", home, huge)
        report("its running hosts", home, f"{huge}/hosts?group=live")
        logged = f"/deployments/{_logged(home)}"
        report(f"log of {LINE_COUNT:,} lines", home, f"{logged}/log")
        report("search in it, rare", home, f"{logged}/log?q=part+999000+of")
        report("search in it, in vain", home, f"{logged}/log?q=nosuchword")
        first_paints(home, {"1,000 hosts x 20 steps": huge, "log": f"{logged}/log"})


def _logged(home: House) -> str:
    own_id = home.start(playbook_text("chatty", {"approval": "go on?"}))
    deployments.write_log(home, own_id, LINE_COUNT)
    return own_id


def report(what: str, home: House, path: str) -> None:
    """Print bytes, wall and processor time of a page; the latter is the one to compare on a busy machine."""
    with httpx.Client(base_url=home.url) as client:
        body = client.get(path).content
        wall_s, cpu_s = _measured(lambda: client.get(path))
    print(f"{what}: {len(body):,} bytes, {wall_s * 1000:.0f} ms, of which {cpu_s * 1000:.0f} ms processor")


def _measured(work: Callable[[], object]) -> tuple[float, float]:
    """Return the median of (wall, processor) seconds; client and server are one process here."""
    walls, cpus = [], []
    for _ in range(ROUNDS):
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        work()
        walls.append(time.perf_counter() - wall_s)
        cpus.append(time.process_time() - cpu_s)
    return statistics.median(walls), statistics.median(cpus)


def first_paints(home: House, paths: dict[str, str]) -> None:
    """Print when Chromium first shows something of each page, from the click on."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        for what, path in paths.items():
            paints_ms = []
            for _ in range(ROUNDS):
                page = browser.new_page(base_url=home.url, bypass_csp=True)  # to ask for the first paint
                page.goto(path)
                page.wait_for_function(f"({_FIRST_PAINT}) > 0")
                paints_ms.append(float(page.evaluate(_FIRST_PAINT)))
                page.close()
            print(f"{what}: first paint {statistics.median(paints_ms):.0f} ms, best {min(paints_ms):.0f} ms")
        browser.close()


if __name__ == "__main__":
    main()
