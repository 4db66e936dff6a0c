"""Workers that poll over HTTP, on the page of workers, in a real browser on a real broker."""

from __future__ import annotations

from pathlib import Path

import pytest

from reworker.gateway.contract import PollData, TaskType
from tests.browser.conftest import Open
from tests.browser.house import HOSTILE
from tests.browser.test_pages import look_at
from tests.integration.desk_support import counter
from tests.support.fake_gateway import FakeGateway

#: rows of a table.
ROW_COUNT = 200
AT_S = 1_790_000_000.0


def polled(number: int) -> PollData:
    return PollData(TaskType("paint", "garden" if number % 2 else ""), f"painter-{number}", AT_S)


@pytest.mark.parametrize("count", [0, 1, 1000])
def test_workers_that_poll_are_shown_without_a_barrier(
    count: int, broker_url: str, tmp_path: Path, eyes: Open
) -> None:
    gateway = FakeGateway()
    gateway.known = [polled(number) for number in range(1, count + 1)]
    with counter(tmp_path, broker_url, has_auth=False, gateway=gateway) as desk:
        window = eyes(desk.url)
        assert look_at(window, "/workers", has_contrast=count < 2) == []
        part = window.find("#pollers")
        assert part.locator("[data-row]").count() == min(count, ROW_COUNT)
        text = part.inner_text()
        if not count:
            assert "No worker has polled this server within the hour." in text
        else:
            row = part.locator("[data-row]").first.inner_text()
            assert all(word in row for word in ("painter-1", "paint", "garden"))
            assert part.locator("[data-row] a").first.get_attribute("href") == "/workers/types/paint"
        if count > ROW_COUNT:
            part.locator("a[rel=next]").click()
            assert f"{ROW_COUNT + 1} to {2 * ROW_COUNT} of {count}" in window.find("#pollers").inner_text()


def test_worker_that_polls_is_found_by_its_name_and_is_only_text(
    broker_url: str, tmp_path: Path, eyes: Open
) -> None:
    gateway = FakeGateway()
    evil = PollData(TaskType(HOSTILE[:90], ""), HOSTILE, AT_S)
    gateway.known = [evil, polled(1), polled(2)]
    with counter(tmp_path, broker_url, has_auth=False, gateway=gateway) as desk:
        window = eyes(desk.url, has_scripts=False).go("/workers")
        assert "<script>evil()" in window.find("#pollers").inner_text()
        assert window.find("img[src=x]").count() == 0
        window.find("main [name=q]").fill("garden")
        window.find("main >> text=Filter").click()
        assert window.find("#pollers [data-row]").count() == 1
        assert "painter-1" in window.find("#pollers").inner_text()
