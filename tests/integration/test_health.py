"""`/healthz`, `/readyz` and `/metrics` of real processes whose broker or database goes away."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from pathlib import Path

import pika
import pytest

from reworker.broker.server import BrokerThread
from tests.integration.worker_support import SCRIPTED, FakeCore, start_scripted
from tests.support.operators import Endpoint, fake_systemd
from tests.support.ports import free_port
from tests.support.processes import Process
from tests.support.waiting import wait_until

Start = Callable[..., Process]
WORKER = "scriptedworker"
QUEUE = f"worker.{WORKER}"


def test_worker_tells_what_its_jobs_did_when_asked(process: Start, any_broker_url: str) -> None:
    with FakeCore(any_broker_url) as core:
        endpoint = Endpoint(start_scripted(process, any_broker_url, "--health", "0", "--instances", "2"))
        endpoint.wait_for("/readyz", 200)
        for number, (outcome, end) in enumerate(
            [("complete", "completed"), ("complete", "completed"), ("fail", "failed")]
        ):
            core.wait(core.send(number, outcome=outcome), "started", end)
        core.send_raw("broken", b"broken", reply_to=None)
        core.wait(core.send(9, outcome="hang"), "started")
        labels = {"worker": WORKER, "subcommand": "Play"}
        wait_until(lambda: endpoint.figure("reworker_jobs_total", status="completed", **labels) == 2)
        wait_until(lambda: endpoint.figure("reworker_jobs_total", status="failed", **labels) == 1)
        wait_until(lambda: endpoint.figure("reworker_job_duration_seconds_count", **labels) == 3)
        wait_until(lambda: endpoint.figure("reworker_jobs_in_flight", worker=WORKER) == 1)
        wait_until(lambda: endpoint.figure("reworker_dead_letters_total", worker=WORKER) == 1)
        assert endpoint.figure("reworker_bus_connected", worker=WORKER) == 1
        assert (endpoint.figure("process_resident_memory_bytes") or 0) > 1_000_000


def test_worker_is_not_ready_while_its_broker_is_away(process: Start) -> None:
    with BrokerThread(port=free_port()) as broker:
        endpoint = Endpoint(start_scripted(process, broker.url(), "--health", "0"))
        endpoint.wait_for("/readyz", 200)
        broker.stop()
        endpoint.wait_for("/readyz", 503, "no connection to the broker")
        assert endpoint.get("/healthz").status == 200, "a new start would not bring the broker back"
        assert endpoint.figure("reworker_bus_connected", worker=WORKER) == 0
        broker.start()
        endpoint.wait_for("/readyz", 200)
        assert (endpoint.figure("reworker_bus_reconnects_total", worker=WORKER) or 0) >= 1


def make_deaf(url: str) -> pika.BlockingConnection:
    """Take the queue away from its worker, so that it cannot be had again while this connection lives."""
    thief = pika.BlockingConnection(pika.URLParameters(url))

    def is_taken() -> bool:
        channel = thief.channel()
        try:
            channel.queue_delete(QUEUE)
            channel.queue_declare(QUEUE, exclusive=True)
        except pika.exceptions.ChannelClosedByBroker:
            return False  # the worker was faster
        return True

    wait_until(is_taken)
    return thief


@pytest.mark.rabbitmq
def test_deaf_worker_is_neither_ready_nor_healthy_nor_feeds_the_watchdog(
    process: Start, rabbitmq_url: str, tmp_path: Path
) -> None:
    address = str(tmp_path / "notify")
    with fake_systemd(address) as systemd:
        worker = start_scripted(
            process, rabbitmq_url, "--health", "0", NOTIFY_SOCKET=address, WATCHDOG_USEC="1000000"
        )
        endpoint = Endpoint(worker)
        endpoint.wait_for("/readyz", 200)
        systemd.wait_for("WATCHDOG=1", 3)
        thief = make_deaf(rabbitmq_url)
        endpoint.wait_for("/readyz", 503, "is deaf, with ")
        assert endpoint.get("/healthz").status == 503, "a new start may help"
        assert endpoint.figure("reworker_bus_consumers", worker=WORKER) == 1, "that of the control messages"
        systemd.wait_for("STATUS=worker scriptedworker is deaf")
        before = systemd.hear().count("WATCHDOG=1")
        wait_until(
            lambda: any(int(one) >= 7 for one in re.findall(r"for (\d+) s", endpoint.get("/healthz").reasons))
        )
        assert systemd.hear().count("WATCHDOG=1") == before
        thief.close()


def test_worker_that_takes_no_work_is_not_ready_and_lives(process: Start, broker_url: str) -> None:
    with FakeCore(broker_url) as core:
        worker = start_scripted(process, broker_url, "--health", "0")
        endpoint = Endpoint(worker)
        core.wait(core.send(1, outcome="slow", seconds=4), "started")
        worker.send_signal(signal.SIGUSR2)
        endpoint.wait_for("/readyz", 503, '["worker scriptedworker is quiet"]')
        worker.send_signal(signal.SIGTERM)
        endpoint.wait_for("/readyz", 503, "is draining")
        assert endpoint.get("/healthz").status == 200
        assert worker.wait() == 0


def test_core_is_not_ready_while_its_database_or_broker_is_away(process: Start, tmp_path: Path) -> None:
    database = tmp_path / "own" / "core.db"
    with BrokerThread(port=free_port()) as broker:
        core = process(
            *("-m", "reworker", "core", "--mq", broker.url(), "--db", str(database)),
            environment={"REWORKER_CORE_HEALTH": "127.0.0.1:0"},
        )
        endpoint = Endpoint(core)
        endpoint.wait_for("/readyz", 200)
        assert endpoint.figure("reworker_events_total") == 0
        broker.stop()
        endpoint.wait_for("/readyz", 503, "the core has had no connection")
        broker.start()
        endpoint.wait_for("/readyz", 200)
        database.parent.rename(tmp_path / "away")
        endpoint.wait_for("/readyz", 503, "the database is away")
        assert endpoint.get("/healthz").status == 200
        assert endpoint.figure("reworker_core_database_up") == 0


def test_address_that_is_taken_ends_the_start(process: Start, broker_url: str) -> None:
    port = str(free_port())
    Endpoint(start_scripted(process, broker_url, "--health", port))
    second = process(*SCRIPTED, broker_url, environment={"REWORKER_HEALTH": port})
    assert second.wait() == 2
    assert f"127.0.0.1:{port}" in second.output
