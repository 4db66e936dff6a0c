"""``reworker dead`` on real brokers: looking, sending back, throwing away; nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pika
import pytest

from reworker.bus.browse import QueueBrowser
from reworker.bus.connection import PikaBus
from reworker.bus.contract import Outgoing, Properties, publish_and_wait
from reworker.config import mq_settings
from reworker.messages import StepHeaders, headers_of_step
from reworker.topology.model import core_topology, worker_topology
from tests.integration.cli_support import reworker
from tests.support.ports import free_port
from tests.support.rabbitmq import RabbitMQNode
from tests.support.waiting import wait_until

#: for what does not depend on the broker.
EMBEDDED = pytest.mark.parametrize("any_broker_url", ["embedded"], indirect=True)
DEAD = {"x-dead-letter-exchange": "re.dead"}
COUNT = 2_000


@pytest.fixture
def channel(any_broker_url: str) -> Iterator[Any]:
    """Give a channel of a virtual host with a queue that dead-letters."""
    connection = pika.BlockingConnection(pika.URLParameters(any_broker_url))
    made = connection.channel()
    made.exchange_declare("re", "topic", durable=True)
    made.exchange_declare("re.dead", "fanout", durable=True)
    for queue, arguments in (("re.dead", {}), ("worker.odd", DEAD), ("worker.fixed", {})):
        made.queue_declare(queue, durable=True, arguments=arguments)
    made.queue_bind("re.dead", "re.dead", "")
    made.queue_bind("worker.odd", "re", "worker.odd")
    made.confirm_delivery()
    yield made
    connection.close()


def refuse(channel: Any, *bodies: bytes, **properties: Any) -> None:
    """Have messages dead-lettered by the broker, as a plugin's `basic_reject` does."""
    there = count_in(channel)
    for body in bodies:
        channel.basic_publish("re", "worker.odd", body, pika.BasicProperties(delivery_mode=2, **properties))
        method, _, _ = channel.basic_get("worker.odd")
        channel.basic_reject(method.delivery_tag, requeue=False)
    wait_until(lambda: count_in(channel) == there + len(bodies), message="the dead letters")


def put(channel: Any, count: int, **headers: Any) -> None:
    """Put letters straight into the dead-letter queue."""
    properties = pika.BasicProperties(delivery_mode=2, headers=headers)
    quick = channel.connection.channel()  # without a confirm for each
    total = count_in(channel) + count
    for number in range(count):
        quick.basic_publish("", "re.dead", b"%d" % number, properties)
    wait_until(lambda: count_in(channel) == total)


def count_in(channel: Any, queue: str = "re.dead") -> int:
    return int(channel.queue_declare(queue, passive=True).method.message_count)


def bodies_in(channel: Any, queue: str, count: int = 0) -> list[bytes]:
    """Take all from a queue, once so many are there: what a program has looked at comes back when it goes."""
    wait_until(lambda: count_in(channel, queue) >= count, message=f"{count} messages in {queue}")
    found = []
    while (got := channel.basic_get(queue, auto_ack=True))[0] is not None:
        found.append(got[2])
    return found


def dead(folder: Path, url: str, *arguments: str, **options: Any) -> Any:
    return reworker("dead", *arguments, "--mq", url, folder=folder, **options)


def letters(folder: Path, url: str, *arguments: str) -> list[Any]:
    result = dead(folder, url, "ls", "-o", "json", *arguments)
    assert result.returncode == 0, result.stderr
    found: list[Any] = json.loads(result.stdout)["letters"]
    return found


def test_letters_stay_in_their_order_when_thousands_are_looked_at(
    channel: Any, any_broker_url: str, tmp_path: Path
) -> None:
    put(channel, COUNT, **{"x-reworker-reason": "broken"})
    result = dead(tmp_path, any_broker_url, "ls")
    assert result.stdout.splitlines()[-1] == f"{COUNT} dead letters; looked at {COUNT} in re.dead"
    some = dead(tmp_path, any_broker_url, "ls", "--limit", "5").stdout.splitlines()
    assert (len(some), some[-1]) == (
        6,
        f"5 dead letters; looked at 5 in re.dead, {COUNT - 5} more are there",
    )
    assert bodies_in(channel, "re.dead", COUNT) == [b"%d" % number for number in range(COUNT)]


def test_letter_goes_back_to_where_it_came_from_when_it_is_sent_back(
    channel: Any, any_broker_url: str, tmp_path: Path
) -> None:
    refuse(channel, b"first", b"second", b"third", message_id="m", app_id="me", headers={"x-own": "1"})
    second = letters(tmp_path, any_broker_url)[1]
    assert (second["reason"], second["queue"], second["by"]) == ("rejected", "worker.odd", "broker")
    result = dead(tmp_path, any_broker_url, "redrive", second["id"][:8])
    assert (result.returncode, result.stdout.splitlines()[-1]) == (0, "1 dead letter sent back")
    _, properties, body = channel.basic_get("worker.odd", auto_ack=True)
    assert (body, properties.message_id, properties.app_id) == (b"second", "m", "me")
    assert set(properties.headers) == {"x-own", "x-reworker-redriven"}
    assert bodies_in(channel, "re.dead", 2) == [b"first", b"third"]


@EMBEDDED
def test_only_the_letters_that_are_meant_are_sent_back_when_there_are_filters(
    channel: Any, any_broker_url: str, tmp_path: Path
) -> None:
    refuse(channel, b"a", b"b")
    put(channel, 2, **{"x-reworker-reason": "poison", "x-reworker-queue": "worker.x"})
    chosen = ("--all", "--queue", "worker.odd", "--reason", "REJECT", "--newer-than", "1h")
    asked = dead(tmp_path, any_broker_url, "redrive", *chosen, stdin=subprocess.DEVNULL)
    assert asked.returncode == 2
    assert "2 dead letters would be sent back: say --yes" in asked.stderr
    planned = dead(tmp_path, any_broker_url, "redrive", *chosen, "--dry-run")
    assert planned.stdout.splitlines()[-1] == "2 dead letters would be sent back"
    done = dead(tmp_path, any_broker_url, "redrive", *chosen, "--yes", "-o", "json")
    assert len(json.loads(done.stdout)["ids"]) == 2
    assert bodies_in(channel, "worker.odd") == [b"a", b"b"]
    assert bodies_in(channel, "re.dead", 2) == [b"0", b"1"]


def test_letter_is_left_when_it_cannot_go_back(channel: Any, any_broker_url: str, tmp_path: Path) -> None:
    put(channel, 1)
    headers = {"x-reworker-reason": "r", "x-reworker-exchange": "gone", "x-reworker-key": "k"}
    put(channel, 1, **headers)
    put(channel, 1, **{**headers, "x-reworker-exchange": "re"})
    step = headers_of_step(StepHeaders())
    put(channel, 1, **{**headers, "x-reworker-exchange": "re", "x-reworker-key": "worker.odd", **step})
    result = dead(tmp_path, any_broker_url, "redrive", "--all", "--yes")
    assert (result.returncode, result.stdout) == (1, "0 dead letters sent back\n")
    reasons = [line.partition(" is left: ")[2] for line in result.stderr.splitlines()]
    assert reasons[0] == "it does not say where it came from: give --to QUEUE"
    assert reasons[1].startswith("no queue is bound to exchange 'gone'")
    assert reasons[2].startswith("no queue is bound to exchange 're' with routing key 'k'")
    assert reasons[3].startswith("a step whose core has its answer")
    result = dead(tmp_path, any_broker_url, "redrive", "--all", "--yes", "--force", "--to", "worker.fixed")
    assert result.stdout.splitlines()[-1] == "4 dead letters sent back"
    assert len(bodies_in(channel, "worker.fixed")) == 4
    assert bodies_in(channel, "re.dead") == []


@EMBEDDED
def test_letters_are_gone_when_they_are_dropped(channel: Any, any_broker_url: str, tmp_path: Path) -> None:
    refuse(channel, b"same", b"same", b"other")
    first, twin, other = (one["id"] for one in letters(tmp_path, any_broker_url))
    assert twin == f"{first}.2", "what is equal is told apart"
    assert dead(tmp_path, any_broker_url, "drop", twin).returncode == 0
    assert [one["id"] for one in letters(tmp_path, any_broker_url)] == [first, other]
    assert dead(tmp_path, any_broker_url, "drop", first, other, "--yes").returncode == 0
    assert letters(tmp_path, any_broker_url) == []


@EMBEDDED
def test_letter_is_shown_without_control_characters(
    channel: Any, any_broker_url: str, tmp_path: Path
) -> None:
    evil = "\x1b]0;title\x07\u202e"
    refuse(channel, evil.encode() + b"\xff" + b"x" * 5_000, headers={"x-evil": evil})
    (letter,) = letters(tmp_path, any_broker_url)
    text = dead(tmp_path, any_broker_url, "show", letter["id"]).stdout
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "header x-evil" in text
    assert "more bytes]" in text
    document = json.loads(dead(tmp_path, any_broker_url, "show", letter["id"], "-o", "json").stdout)
    assert document["properties"]["headers"]["x-evil"] == evil
    assert document["size_bytes"] == len(evil.encode()) + 5_001


@EMBEDDED
def test_wrong_input_is_told_when_a_command_is_typed(
    channel: Any, any_broker_url: str, tmp_path: Path
) -> None:
    put(channel, 1)
    known = letters(tmp_path, any_broker_url)[0]["id"]
    away = f"amqp://guest:secret@127.0.0.1:{free_port()}/"
    wrong = [
        (
            any_broker_url,
            ("show", "nope"),
            1,
            "no dead letter 'nope' in re.dead; `reworker dead ls` lists them",
        ),
        (any_broker_url, ("drop",), 2, "give the ids of the letters, or --all"),
        (any_broker_url, ("drop", known, "--all"), 2, "give the ids of the letters, or --all"),
        (any_broker_url, ("drop", known, "--reason", "x"), 2, "filters go with --all"),
        (any_broker_url, ("ls", "--older-than", "soon"), 2, "'soon' is no age"),
        (any_broker_url, ("ls", "--dead-queue", "no.such"), 2, "404"),
        (away, ("ls",), 5, "Connection refused"),
    ]
    for url, arguments, code, text in wrong:
        result = dead(tmp_path, url, *arguments)
        assert (result.returncode, text in result.stderr) == (code, True), (arguments, result.stderr)
        assert "secret" not in result.stderr
    assert bodies_in(channel, "re.dead", 1) == [b"0"]


KILLED = textwrap.dedent(
    """
    import os, signal, sys
    from reworker.bus.browse import QueueBrowser
    from reworker.cli.main import main

    def die(self, found):
        os.kill(os.getpid(), signal.SIGKILL)

    QueueBrowser.remove = die
    sys.argv = ["reworker", "dead", "redrive", "--all", "--yes", "--mq", sys.argv[1]]
    main()
    """
)


def test_nothing_is_lost_when_the_command_is_killed_between_its_publish_and_its_ack(
    channel: Any, any_broker_url: str, tmp_path: Path
) -> None:
    refuse(channel, b"a", b"b")
    command = [sys.executable, "-c", KILLED, any_broker_url]
    code = subprocess.run(command, cwd=tmp_path, check=False, env=os.environ).returncode
    assert code == -signal.SIGKILL
    assert bodies_in(channel, "worker.odd") == [b"a"]
    assert {one["size_bytes"] for one in letters(tmp_path, any_broker_url)} == {1}
    assert bodies_in(channel, "re.dead", 2) == [b"a", b"b"]


@pytest.fixture
def quorum_vhost(rabbitmq: RabbitMQNode) -> Iterator[str]:
    """Give a virtual host whose queues are quorum queues unless a type is asked for."""
    vhost = rabbitmq.add_vhost()
    try:
        if rabbitmq.evaluate("erlang:function_exported(rabbit_vhost, update_metadata, 3)") != "true":
            pytest.skip("this version has no default type of a virtual host")
        metadata = '#{default_queue_type => <<"quorum">>}'
        rabbitmq.evaluate(f'ok = rabbit_vhost:update_metadata(<<"{vhost}">>, {metadata}, <<"test">>)')
        yield vhost
    finally:
        rabbitmq.delete_vhost(vhost)


@pytest.mark.rabbitmq
def test_letter_stays_however_often_it_is_looked_at_when_queues_are_quorum_queues(
    rabbitmq: RabbitMQNode, quorum_vhost: str
) -> None:
    settings = mq_settings(rabbitmq.url(quorum_vhost))
    with closing(PikaBus(settings, name="test")) as bus:
        bus.open(timeout_s=30)
        bus.declare(core_topology())
        bus.declare(worker_topology("worker.odd", ["worker.odd"]))
        publish_and_wait(bus, Outgoing("re.dead", "", b"a letter", Properties(delivery_mode=2)))
    for _ in range(25):
        with QueueBrowser(settings, "re.dead") as browser:
            assert [one.body for one in browser.messages(10)] == [b"a letter"]
