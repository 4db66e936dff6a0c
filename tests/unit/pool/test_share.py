"""When a process has had its share, and settings that are read again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from reworker.config import MqSettings
from reworker.errors import ConfigError
from reworker.pool.recycling import Share, own_rss_bytes
from reworker.pool.reloading import FIXED, News, changed_fields, redactor_of
from reworker.pool.signals import Order, Orders
from reworker.testing import Harness
from reworker.worker import Job, Worker, step

MIB = 1 << 20


class NewWorker(Worker):
    """Reads what a file would hold from its class."""

    limit = 10.0
    is_broken = is_closed = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if self.is_broken:
            raise ConfigError("broken", key="limit")
        super().__init__(*args, **{**kwargs, "timeout_s": self.limit})

    def close(self) -> None:
        self.is_closed = True

    @step("Do")
    def do(self, job: Job) -> float | None:
        return job._attempt.timeout_s


def settings(**properties: Any) -> Any:
    return Harness(NewWorker, **properties).station.settings


@pytest.mark.parametrize(
    ("properties", "excess"),
    [
        ({}, ""),
        ({"max_jobs": 8}, ""),
        ({"max_jobs": 7}, "7 jobs are done (max_jobs 7)"),
        ({"max_rss_mib": 100}, ""),
        ({"max_rss_mib": 99}, "100 MiB of memory are used (max_rss_mib 99)"),
    ],
)
def test_process_has_had_its_share_when_a_limit_is_reached(properties: Any, excess: str) -> None:
    instances: Any = [SimpleNamespace(job_count=3), SimpleNamespace(job_count=4)]
    assert Share(instances, lambda: 100 * MIB + 5).excess(settings(**properties)) == excess


def test_memory_of_this_process_is_some_when_asked() -> None:
    assert 5 * MIB < own_rss_bytes() < 1 << 40


class FakeInstance:
    """Does errands when told to."""

    def __init__(self, harness: Harness) -> None:
        self.worker, self.station = harness.worker, harness.station
        self.errands: list[Any] = []

    def between_jobs(self, call: Any) -> None:
        self.errands.append(call)


def limit_of(harness: Harness, worker: Any) -> Any:
    harness.worker = worker
    return harness.run(harness.delivery({"parameters": {"subcommand": "Do"}})).data


def test_fresh_worker_takes_over_between_jobs_when_settings_are_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    harness = Harness(NewWorker)
    instance: Any = FakeInstance(harness)
    monkeypatch.setattr(NewWorker, "limit", 20.0)
    news = News([instance], harness.station.settings, lambda: MqSettings(user="new"))
    assert news.changed == ["timeout_s"]
    assert news.mq == MqSettings(user="new")
    news.apply()
    assert limit_of(harness, instance.worker) == 10.0
    old = instance.worker
    instance.errands.pop()()
    assert limit_of(harness, instance.worker) == 20.0
    assert (old.is_closed, instance.worker.is_closed) == (True, False)


def test_nothing_changes_when_the_settings_are_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = Harness(NewWorker)
    instance: Any = FakeInstance(harness)
    monkeypatch.setattr(NewWorker, "is_broken", True)
    with pytest.raises(ConfigError):
        News([instance], harness.station.settings)
    assert instance.errands == []


def test_what_a_start_uses_up_stays_when_settings_are_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = Harness(NewWorker)
    changes = {
        "domain": "eu",
        "instances": 3,
        "accept_from": ("core",),
        "ledger_max_count": 7,
        "health": "8000",
        "log_format": "json",
    }
    old = msgspec.structs.replace(harness.station.settings, **changes)
    news = News([FakeInstance(harness)], old)  # type: ignore[list-item]  # as much of one as is needed
    assert news.waiting == list(changes)
    assert (news.settings.domain, news.settings.instances) == ("eu", 3)
    assert changed_fields(old, news.settings) == []


def test_fields_that_stay_are_fields_when_named() -> None:
    assert set(FIXED) <= set(settings().__struct_fields__)


def test_output_is_masked_when_the_settings_say_so() -> None:
    assert redactor_of(settings()) is None
    redact = redactor_of(settings(redactions=["secret"]))
    assert redact is not None
    assert "secret" not in redact("a secret")


def test_orders_are_taken_in_turn_when_given() -> None:
    orders = Orders()
    orders.give(Order.QUIET)
    orders.give(Order.STOP)
    assert [orders.next(0), orders.next(0), orders.next(0)] == [Order.QUIET, Order.STOP, None]
