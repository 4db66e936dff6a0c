"""What may come to the workers of docs/examples: none of it ends one, and the next step completes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pika
import pytest

from reworker.topology import names
from tests.conftest import require_server
from tests.support.foreign_workers import EXAMPLES, WORKERS, declare, needs, program
from tests.support.kit_runs import QUEUE
from tests.support.processes import Process

#: seconds for a worker to be ready, and for all replies, on a busy day.
PATIENCE_S = 60.0
REPLIES = "replies"
GOOD = json.dumps({"parameters": {"subcommand": "add", "a": 1, "b": 2}}).encode()
BODIES = (
    b"",
    b"\xff\xfe",
    b"null",
    b"[]",
    b"0",
    b'{"parameters": null}',
    b'{"parameters": "x"}',
    b'{"parameters": {"subcommand": {"toString": 1}}}',
    b'{"parameters": {"subcommand": "constructor"}}',
    b'{"parameters": {"subcommand": "add", "a": "1", "b": 2}}',
    b'{"parameters": {"subcommand": "add", "a": 1e308, "b": 1e308}}',
    b'{"parameters": {"subcommand": "add", "a": -1e308, "b": -1e308}}',
    b'{"parameters": {"subcommand": "add", "a": 1e999, "b": 1}}',
    b"[" * 20_000,
)
ODD: tuple[Any, ...] = (0, -1, True, "", "nan", "inf", "-1", "1e-12", [1], {}, {"toString": "x"}, 2**62)
HEADERS: tuple[dict[str, Any], ...] = (
    *({"x-reworker": 2, "x-heartbeat-s": one} for one in ODD),
    *({"x-reworker": 2, "x-not-after": one} for one in ODD),
    *({"x-reworker": one, "x-idempotent": one} for one in ODD),
)
PROPERTIES: tuple[dict[str, Any], ...] = (
    {},
    {"message_id": "m" * 255, "headers": {"x-reworker": 2}},
    {"correlation_id": "c" * 255},
    {"reply_to": "no.such.queue"},
    {"reply_to": "r" * 255},
    {"reply_to": b"\xff" * 200, "correlation_id": b"\xff" * 200},
    {"content_type": "text/plain", "content_encoding": "gzip", "type": "t", "priority": 9},
)
ORDERS = (b"", b"null", b"[]", b'{"attempt": 1}', b'{"attempt": {}}', b"\xff")


class Sender:
    """Publishes to a worker, and hears its replies.

    Args:
        url: of the broker.
    """

    def __init__(self, url: str) -> None:
        self._connection = pika.BlockingConnection(pika.URLParameters(url))
        self._channel = self._connection.channel()
        self._channel.queue_declare(REPLIES, exclusive=True)

    def step(self, body: bytes, **properties: Any) -> None:
        """Publish to the worker's queue."""
        self._channel.basic_publish("", QUEUE, body, pika.BasicProperties(**properties))

    def order(self, body: bytes) -> None:
        """Publish what should be an order to cancel."""
        key = f"cancel.{QUEUE.removeprefix('worker.')}"
        self._channel.basic_publish(names.CONTROL_EXCHANGE, key, body)

    def send_everything(self) -> list[str]:
        """Send what this module has, and a good step; return the ids of steps that have to be answered."""
        for one in ORDERS:
            self.order(one)
        ids = [f"body {number}" for number in range(len(BODIES))]
        for own_id, body in zip(ids, BODIES, strict=True):
            self.step(body, reply_to=REPLIES, correlation_id=own_id)
        for number, headers in enumerate(HEADERS):
            ids.append(f"headers {number}")
            self.step(GOOD, reply_to=REPLIES, correlation_id=ids[-1], headers=headers)
        for properties in PROPERTIES:
            self.step(GOOD, **properties)
        ids.append("last")
        self.step(GOOD, reply_to=REPLIES, correlation_id=ids[-1])
        return ids

    def replies_until(self, last_id: str) -> Iterator[tuple[str, str]]:
        """Yield correlation id and status of each reply, up to the final one with this id."""
        for method, properties, body in self._channel.consume(REPLIES, True, inactivity_timeout=PATIENCE_S):
            assert method is not None, f"no more replies in {PATIENCE_S} s"
            status = json.loads(body)["status"]
            yield properties.correlation_id, status
            if properties.correlation_id == last_id and status not in ("started", "running"):
                return

    def __enter__(self) -> Sender:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._connection.close()


@pytest.mark.parametrize("worker", [one for one in WORKERS if one != "shell"])
def test_worker_answers_each_step_once_and_goes_on_whatever_comes(
    process: Callable[..., Process],
    any_broker_url: str,
    tmp_path_factory: pytest.TempPathFactory,
    worker: str,
) -> None:
    for name, is_there in needs(worker).items():
        require_server(name, is_there)
    found = program(worker, any_broker_url, QUEUE, _kept(tmp_path_factory))
    running = process(command=found.command, environment=dict(found.environment))
    running.wait_for_line("consuming", PATIENCE_S)
    declare(any_broker_url, QUEUE)
    with Sender(any_broker_url) as sender:
        ids = sender.send_everything()
        heard = list(sender.replies_until(ids[-1]))
    finals = [(own_id, status) for own_id, status in heard if status not in ("started", "running")]
    assert [own_id for own_id, _ in finals] == ids
    assert {status for own_id, status in finals if own_id.startswith("body")} == {"failed"}
    assert {status for _, status in finals} <= {"completed", "failed", "cancelled"}
    assert finals[-1] == ("last", "completed")
    assert running.output.count("consuming") == 1, running.output
    assert running.terminate(PATIENCE_S) == 0, running.output


def _kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder for what is compiled, once for all tests of a session."""
    folder = tmp_path_factory.getbasetemp() / "foreign-bad-input"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.mark.parametrize("arguments", [(), ("amqp://127.0.0.1:1/",)])
def test_shell_worker_ends_saying_what_is_missing_when_it_is_not_told_its_queue(
    arguments: tuple[str, ...],
) -> None:
    script = EXAMPLES / "shell" / "frob.sh"
    done = subprocess.run(
        [script, *arguments], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode != 0
    assert ("the queue" if arguments else "the address of the broker") in done.stderr
