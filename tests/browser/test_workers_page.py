"""The page of workers and bus, in a real browser, on a real broker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import Open
from tests.browser.crowd import crowd, member
from tests.browser.eyes import Eyes
from tests.browser.house import HOSTILE
from tests.browser.test_pages import look_at
from tests.integration.desk_support import Counter, bodies_in, channel_of, counter, put_letter
from tests.support.waiting import wait_until

#: rows of a table, and of the list of dead letters.
ROW_COUNT, LETTER_COUNT = 200, 100


@pytest.fixture
def channel(broker_url: str) -> Iterator[Any]:
    with channel_of(broker_url) as made:
        yield made


@pytest.fixture
def desk(broker_url: str, tmp_path: Path) -> Iterator[Counter]:
    with counter(tmp_path, broker_url, has_auth=False) as made:
        yield made


def wait_for_workers(desk: Counter, count: int) -> None:
    wait_until(lambda: len(desk.get("workers")["items"]) >= count, 60, poll_s=0.3)


@pytest.mark.parametrize("count", [0, 1, 1000])
def test_page_has_no_barrier_when_there_are_rows(
    count: int, channel: Any, broker_url: str, desk: Counter, eyes: Open
) -> None:
    quick = channel.connection.channel()
    for number in range(count):
        put_letter(quick, b"%d" % number, "odd", "worker.odd")
    with ExitStack() as stack:
        if count:
            stack.enter_context(crowd(broker_url, [member(number) for number in range(1, count + 1)]))
            wait_for_workers(desk, count)
        window = eyes(desk.url)
        found = {
            path: look_at(window, path, has_contrast=count < 2) for path in ("/workers", "/workers/dead")
        }
        assert {path: one for path, one in found.items() if one} == {}
        assert window.find("[data-row]").count() == min(count, LETTER_COUNT)
        window.go("/workers")
        assert window.find("#workers [data-row]").count() == min(count, ROW_COUNT)
        assert window.find("#queues [data-row]").count() == min(count + 1, ROW_COUNT)
        if count > ROW_COUNT:
            window.find("#workers a[rel=next]").click()
            assert f"{ROW_COUNT + 1} to {2 * ROW_COUNT} of {count}" in window.find("#workers").inner_text()


def test_hostile_text_is_text_when_it_is_in_worker_reason_or_body(
    channel: Any, broker_url: str, desk: Counter, eyes: Open
) -> None:
    evil = HOSTILE.replace("/", "")
    put_letter(channel, json.dumps(HOSTILE).encode(), HOSTILE, evil, **{HOSTILE[:40]: HOSTILE})
    with crowd(broker_url, [member(7, evil)]):
        wait_for_workers(desk, 1)
        (letter,) = desk.letters()
        window = eyes(desk.url)
        paths = ("/workers", "/workers/dead", f"/workers/dead/{letter['id']}")
        for path in paths:
            window.go(path)
            assert not window.was_evil(), path
            assert window.find("img[src=x]").count() == 0, path
            assert "<script>evil()" in window.text(), path
            assert "\u202e" not in window.text(), path
        window.go("/workers").find("#workers a.main").click()
        window.page.wait_for_url("**/workers/types/**")
        assert not window.was_evil()
        assert "<script>evil()" in window.text()


def test_letter_is_edited_sent_back_and_dropped_when_scripts_are_off(
    channel: Any, desk: Counter, eyes: Open
) -> None:
    channel.queue_declare("worker.fixed")
    put_letter(channel, b'{"a": 1', "not JSON", "worker.fixed")
    put_letter(channel, b"{}", "noise", "worker.gone")
    window = eyes(desk.url, has_scripts=False, expected=("status of 422", "status of 409"))
    window.go("/workers").find("text=Dead letters").click()
    window.find("[name=reason]").fill("json")
    window.find("main >> text=Look").click()
    assert window.find("[data-row]").count() == 1
    window.find("a.main").click()
    assert '{"a": 1' in window.find("pre").inner_text()
    send(window, '{"a": ', "typo")
    assert "It was not sent back: the body cannot be read as JSON" in window.find("[role=alert]").inner_text()
    assert window.find("textarea").input_value() == '{"a": ', "what was typed is still there"
    send(window, '{"a": 1}', "typo")
    assert "was sent back." in window.text()
    assert bodies_in(channel, "worker.fixed") == [b'{"a": 1}']

    window.find("a.main").click()
    window.find("#redrive [name=reason]").fill("again")
    window.find("#redrive button").click()
    assert "no queue is bound" in window.find("[role=alert]").inner_text()
    window.find("#drop [name=confirm]").check()
    window.find("#drop [name=reason]").fill("noise")
    window.find("#drop button").click()
    assert "was thrown away." in window.text()
    assert "There are no dead letters." in window.text()
    outcomes = [(action, outcome) for _, action, _, outcome in desk.audit()]
    assert outcomes == [
        ("dead_letter.redrive", "done"),
        ("dead_letter.redrive", "failed"),
        ("dead_letter.drop", "done"),
    ]


def send(window: Eyes, body: str, reason: str) -> None:
    """Edit the body of the letter that is shown, and send it back."""
    if not window.find("textarea").is_visible():
        window.find("summary >> text=Edit the body").click()
    window.find("textarea").fill(body)
    window.find("#redrive [name=reason]").fill(reason)
    window.find("#redrive button").click()


def test_page_follows_what_happens(channel: Any, desk: Counter, eyes: Open) -> None:
    window = eyes(desk.url).go("/workers")
    wait_until(lambda: window.find("#queues >> text=empty").count() == 1, 60, poll_s=0.2)
    put_letter(channel, b"{}")
    window.find("#queues >> text=letters").first.wait_for()
    wait_until(lambda: "1 dead" in window.page.title())


def test_page_says_how_to_name_a_broker_when_there_is_none(tmp_path: Path, eyes: Open) -> None:
    with counter(tmp_path, None, has_auth=False) as bare:
        window = eyes(bare.url)
        for path in ("/workers", "/workers/dead"):
            assert look_at(window, path) == []
            assert "reworker web --mq" in window.text()
