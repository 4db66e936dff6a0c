"""Queues, workers and dead letters over HTTP, on real brokers, and on one that is away."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reworker import __version__
from reworker.broker.server import BrokerThread
from reworker.cli.wiring import running_worker
from reworker.core.principal import Limits, Scope
from reworker.messages import StepHeaders, headers_of_step
from tests.integration.desk_support import Counter, bodies_in, channel_of, counter, put_letter
from tests.integration.topology_support import Plugin
from tests.support.ports import free_port
from tests.support.waiting import wait_until

#: for what does not depend on the broker.
EMBEDDED = pytest.mark.parametrize("any_broker_url", ["embedded"], indirect=True)
HOSTILE = "<script>evil()</script>"


@pytest.fixture
def channel(any_broker_url: str) -> Iterator[Any]:
    with channel_of(any_broker_url) as made:
        yield made


@pytest.fixture
def desk(any_broker_url: str, tmp_path: Path) -> Iterator[Counter]:
    with counter(tmp_path, any_broker_url) as made:
        yield made


def test_queues_and_workers_are_seen(channel: Any, any_broker_url: str, desk: Counter) -> None:
    put_letter(channel, b"{}")
    with running_worker("noop", any_broker_url):
        # what is shown was seen some seconds ago, perhaps before the worker consumed
        queue = wait_until(
            lambda: (got := desk.queue("worker.noopworker")) and got["consumers"] and got, poll_s=0.1
        )
        assert (queue["kind"], queue["consumers"], queue["ready"]) == ("worker", 1, 0)
        wait_until(lambda: desk.get("workers")["items"], poll_s=0.1)
        found = desk.get("workers")
        (worker,) = found["items"]
        assert (worker["worker"], worker["state"], worker["version"]) == (
            "noopworker",
            "consuming",
            __version__,
        )
        assert (found["state"], found["versions"]) == ("up", [__version__])
        dead = wait_until(lambda: (got := desk.queue("re.dead")) and got["ready"] and got, poll_s=0.1)
        assert (dead["kind"], dead["ready"], dead["consumers"]) == ("dead", 1, 0)
        channel.queue_declare("worker.noopworker.retry.5s")
        for number in range(30):
            put_letter(channel, b"%d" % number)
        grown = wait_until(lambda: (desk.queue("re.dead")["change_per_s"] or 0) > 0, poll_s=0.2)
        assert grown
        wait_until(lambda: desk.queue("re.dead")["ready"] == 31, poll_s=0.2)
    assert "***" in desk.get("queues")["broker"]


def test_worker_is_quiet_until_it_is_told_to_go_on(any_broker_url: str, desk: Counter) -> None:
    with running_worker("noop", any_broker_url) as pool:
        told = desk.admin.post("/api/v1/workers/noop/quiet", json={"reason": "patching"})
        assert [one["state"] for one in told.json()["items"]] == ["quiet"]
        assert str(pool.state) == "quiet"
        pong = desk.client(Scope.READ).post("/api/v1/workers/noopworker/ping").json()
        assert [one["state"] for one in pong["items"]] == ["quiet"]
        told = desk.admin.post("/api/v1/workers/noop/resume", json={"reason": "patched"})
        assert [one["state"] for one in told.json()["items"]] == ["consuming"]
    nobody = desk.admin.post("/api/v1/workers/nobody/quiet", json={"reason": "x"})
    assert (nobody.status_code, nobody.json()["type"]) == (404, "urn:reworker:problem:worker-not-found")
    assert desk.audit() == [
        ("admin", "worker.quiet", "noop", "done"),
        ("admin", "worker.resume", "noop", "done"),
        ("admin", "worker.quiet", "nobody", "failed"),
    ]


def test_worker_that_was_stopped_is_gone_at_once(any_broker_url: str, desk: Counter) -> None:
    def states() -> list[str]:
        return [one["state"] for one in desk.get("workers")["items"]]

    with running_worker("noop", any_broker_url):
        wait_until(lambda: states() == ["consuming"], poll_s=0.1)
    (left,) = wait_until(lambda: (now := states()) != ["consuming"] and (now,), poll_s=0.1)
    assert left == [], "it was not silent, it said goodbye"


def test_dead_letter_is_edited_and_sent_back(channel: Any, desk: Counter) -> None:
    channel.queue_declare("worker.fixed")
    put_letter(channel, b'{"a": 1', "not JSON", "worker.fixed")
    put_letter(channel, b"{}", "other", "worker.gone")
    first, other = desk.letters()
    path = f"/api/v1/dead-letters/{first['id']}"
    shown = desk.admin.get(path).json()
    assert (shown["body"], shown["is_editable"], shown["letter"]["reason"]) == ('{"a": 1', True, "not JSON")
    assert shown["properties"]["headers"]["x-reworker-key"] == "worker.fixed"
    for wrong in ("{", "[1, 1", "NaN", '{"a": 1, "a": 2}'):
        answer = desk.admin.post(f"{path}/redrive", json={"reason": "typo", "body": wrong})
        assert (answer.status_code, answer.json()["type"]) == (400, "urn:reworker:problem:not-json")
    assert bodies_in(channel, "worker.fixed") == []
    done = desk.admin.post(f"{path}/redrive", json={"reason": "typo", "body": '{"a": 1}'})
    assert done.status_code == 204, done.text
    assert bodies_in(channel, "worker.fixed") == [b'{"a": 1}']
    assert [one["id"] for one in desk.letters()] == [other["id"]]
    left = desk.admin.post(f"/api/v1/dead-letters/{other['id']}/redrive", json={"reason": "again"})
    assert left.status_code == 409
    assert "no queue is bound" in left.json()["detail"]
    assert [one["id"] for one in desk.letters()] == [other["id"]], "it lies where it was"
    assert desk.audit() == [
        ("admin", "dead_letter.redrive", first["id"], "done"),
        ("admin", "dead_letter.redrive", other["id"], "failed"),
    ]
    details = [row.detail for row in desk.access.audit() if row.action.startswith("dead")]
    assert details[1] == "typo (body edited, 8 bytes)"
    assert details[0].startswith("again: no queue is bound")


@EMBEDDED
def test_step_and_letter_of_nowhere_stay_unless_they_are_forced(channel: Any, desk: Counter) -> None:
    channel.queue_declare("worker.fixed")
    put_letter(channel, b"1", queue="worker.fixed", **headers_of_step(StepHeaders()))
    put_letter(channel, b"2")
    step, lost = desk.letters()
    assert step["is_step"]
    for one, needs, more in ((step, "force", {"force": True}), (lost, "queue", {"queue": "worker.fixed"})):
        path = f"/api/v1/dead-letters/{one['id']}/redrive"
        left = desk.admin.post(path, json={"reason": "r"})
        assert (left.status_code, left.json()["needs"]) == (409, needs)
        assert desk.admin.post(path, json={"reason": "r", **more}).status_code == 204
    assert bodies_in(channel, "worker.fixed") == [b"1", b"2"]


@EMBEDDED
def test_dead_letters_are_listed_by_page_and_filter(channel: Any, desk: Counter) -> None:
    for number in range(7):
        put_letter(channel, b"%d" % number, "odd" if number % 2 else f"{HOSTILE} even", "worker.x")
    page = desk.get("dead-letters", limit=3)
    assert (len(page["items"]), page["looked_at"], page["ready"]) == (3, 7, 7)
    seen, pages = page["items"], 1
    while page["next"]:
        page, pages = desk.get("dead-letters", limit=3, cursor=page["next"]), pages + 1
        seen += page["items"]
    assert (len({one["id"] for one in seen}), pages) == (7, 3)
    assert len(desk.letters(reason="ODD")) == 3
    assert len(desk.letters(queue="worker.y")) == 0
    for query in ({"limit": 0}, {"limit": 10**9}, {"cursor": "zz"}, {"limits": 3}, {"before": "soon"}):
        answer = desk.admin.get("/api/v1/dead-letters", params=query)
        assert answer.status_code == 422, query


@EMBEDDED
def test_dead_letter_is_dropped_once_and_only_with_a_reason(channel: Any, desk: Counter) -> None:
    put_letter(channel, b"{}")
    (letter,) = desk.letters()
    path = f"/api/v1/dead-letters/{letter['id']}"
    assert desk.admin.delete(path).status_code == 422
    assert desk.admin.delete(path, params={"reason": " "}).status_code == 422
    assert desk.admin.delete(path, params={"reason": "noise"}).status_code == 204
    assert desk.admin.delete(path, params={"reason": "noise"}).status_code == 404
    assert desk.letters() == []
    assert desk.audit() == [
        ("admin", "dead_letter.drop", letter["id"], "done"),
        ("admin", "dead_letter.drop", letter["id"], "failed"),
    ]


@EMBEDDED
def test_only_administrators_without_limits_change_anything(channel: Any, desk: Counter) -> None:
    put_letter(channel, b"{}")
    (letter,) = desk.letters()
    path = f"/api/v1/dead-letters/{letter['id']}"
    reader, runner = desk.client(Scope.READ), desk.client(Scope.RUN, Scope.WORKER)
    for one in (reader, runner):
        assert one.post(f"{path}/redrive", json={"reason": "r"}).status_code == 403
        assert one.delete(path, params={"reason": "r"}).status_code == 403
        assert one.post("/api/v1/workers/noop/quiet", json={"reason": "r"}).status_code == 403
    assert reader.get(path).status_code == 200
    assert runner.get(path).status_code == runner.get("/api/v1/queues").status_code == 403
    limited = Limits(groups=("web",))
    some, other = desk.client(Scope.READ, limits=limited), desk.client(Scope.ADMIN, limits=limited)
    assert some.get("/api/v1/queues").status_code == 200
    assert some.get("/api/v1/dead-letters").status_code == some.get(path).status_code == 403
    assert other.delete(path, params={"reason": "r"}).status_code == 403
    assert ("admin", "dead_letter.drop", letter["id"], "denied") in desk.audit()
    assert len(desk.letters()) == 1
    assert {outcome for _, _, _, outcome in desk.audit()} == {"denied"}


def test_broker_that_is_away_is_said_and_holds_nobody_up(tmp_path: Path) -> None:
    url = f"amqp://guest:secret@127.0.0.1:{free_port()}/"
    with counter(tmp_path, url) as desk:
        found = wait_until(lambda: (got := desk.get("queues"))["state"] == "away" and got, poll_s=0.1)
        assert "Connection refused" in found["reason"]
        assert "secret" not in json.dumps(found)
        first = found["away_since"]
        began_mono_s = time.monotonic()
        for path in ("queues", "workers", "queues"):
            assert desk.get(path)["away_since"] == first
        assert time.monotonic() - began_mono_s < 4, "to wait for a look each time would take longer"
        letters = desk.admin.get("/api/v1/dead-letters")
        assert (letters.status_code, letters.json()["type"]) == (503, "urn:reworker:problem:broker-away")
        order = desk.admin.post("/api/v1/workers/noop/quiet", json={"reason": "r"})
        assert order.status_code == 503


def test_broker_that_comes_back_is_seen_again(tmp_path: Path) -> None:
    broker = BrokerThread()
    broker.start()
    try:
        with counter(tmp_path, broker.url()) as desk:

            def look(state: str) -> Any:
                return wait_until(
                    lambda: (got := desk.get("queues"))["state"] == state and got, 20, poll_s=0.1
                )

            assert look("up")["away_since"] is None
            broker.stop()
            assert look("away")["away_since"]
            broker.start()
            assert look("up")["away_since"] is None
    finally:
        broker.stop()


def test_server_without_a_broker_says_how_to_give_one(tmp_path: Path) -> None:
    with counter(tmp_path, None) as desk:
        answer = desk.admin.get("/api/v1/queues")
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:reworker:problem:no-broker")
        assert "--mq" in answer.json()["detail"]


@EMBEDDED
def test_broker_without_our_queues_has_no_dead_letters(any_broker_url: str, desk: Counter) -> None:
    assert desk.letters() == []
    assert desk.admin.get("/api/v1/dead-letters/ab").status_code == 404
    found = wait_until(lambda: (got := desk.get("queues"))["state"] == "up" and got, poll_s=0.1)
    assert found["items"] == []


@pytest.mark.rabbitmq
def test_management_plugin_tells_what_amqp_does_not(
    plugin: Plugin, plugin_vhost: str, tmp_path: Path
) -> None:
    url = plugin.node.url(plugin_vhost)
    with channel_of(url) as channel, counter(tmp_path, url, management=plugin.url) as desk:
        channel.queue_declare("worker.unknown", durable=True)
        channel.queue_declare("strange", durable=True)
        for _ in range(5):
            channel.basic_publish("", "worker.unknown", b"x")
        method, _, _ = channel.basic_get("worker.unknown")
        queue = wait_until(
            lambda: (got := desk.queue("worker.unknown")) and got["unacked"] == 1 and got, 30, poll_s=0.3
        )
        assert (queue["ready"], queue["consumers"]) == (4, 0)
        assert "management plugin at" in desk.get("queues")["source"]
        assert desk.queue("strange") is None

        def is_moving() -> bool:
            channel.basic_publish("", "worker.unknown", b"x")
            channel.basic_get("worker.unknown", auto_ack=True)
            rates = desk.queue("worker.unknown")
            return bool(rates["in_per_s"] and rates["out_per_s"] and rates["rates_from"] == "broker")

        wait_until(is_moving, 30, poll_s=0.3)
        channel.basic_ack(method.delivery_tag)
