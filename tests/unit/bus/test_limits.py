"""How long a delivery may stay unsettled, on each version of the broker."""

from __future__ import annotations

import logging

import pytest

from reworker.bus.limits import ARGUMENT, Patience, Product, Terms, product_of

OLD, POLICY, NEW = (Product("RabbitMQ", version) for version in ("3.10.8", "4.0.5", "4.3.6"))
OTHER = Product("reworker", "0.9")
CLOSED = (
    "PRECONDITION_FAILED - delivery acknowledgement on channel 3 timed out. "
    "Timeout value used: 60000 ms. This timeout value can be configured"
)
REFUSED = (
    "PRECONDITION_FAILED - invalid arg 'x-consumer-timeout' for queue 'q' in vhost '/' "
    "of queue type rabbit_classic_queue"
)


def patience_of(product: Product, configured_s: float | None = None) -> Patience:
    patience = Patience(configured_s)
    patience.meet(product)
    return patience


def test_product_is_read_from_what_the_broker_says() -> None:
    assert product_of({"product": "RabbitMQ", "version": "4.3.6"}) == NEW
    assert product_of(None) == Product()


@pytest.mark.parametrize(
    ("version", "numbers"), [("3.10.8", (3, 10)), ("4.3.0-rc.1+2", (4, 3)), ("", (0, 0)), ("master", (0, 0))]
)
def test_numbers_are_those_of_the_version(version: str, numbers: tuple[int, int]) -> None:
    assert Product("RabbitMQ", version).numbers == numbers


@pytest.mark.parametrize(
    ("product", "configured_s", "within_s"),
    [
        (OLD, None, 1350.0),
        (POLICY, None, 1350.0),
        (Product("RabbitMQ", "?"), None, 1350.0),
        (OLD, 60.0, 45.0),
        (OTHER, None, None),
        (OTHER, 60.0, 45.0),
    ],
)
def test_deliveries_are_to_be_settled_early_when_the_consumer_cannot_choose(
    product: Product, configured_s: float | None, within_s: float | None
) -> None:
    for longest_s in (None, 1.0):
        assert patience_of(product, configured_s).terms("q", longest_s) == Terms(within_s)


def test_consumer_asks_for_its_longest_job_when_the_broker_lets_it() -> None:
    terms = patience_of(NEW).terms("q", 7200.0)
    assert terms.arguments == {ARGUMENT: 7_500_000}
    assert terms.ack_within_s == 7350.0


def test_consumer_asks_for_thirty_days_when_nobody_knows_its_longest_job() -> None:
    assert patience_of(NEW).terms("q", None).arguments == {ARGUMENT: 30 * 86_400_000}


def test_consumer_that_pulls_has_the_time_of_the_broker() -> None:
    assert patience_of(NEW).terms("q", None, may_ask=False) == Terms(1350.0)


def test_consumer_that_settles_at_once_asks_for_nothing() -> None:
    for product in (OLD, NEW):
        assert patience_of(product, 60.0).terms("q", 0.0) == Terms()


def test_classic_queue_is_consumed_without_limit_when_it_refused_the_argument() -> None:
    patience = patience_of(NEW)
    assert patience.note_refusal("q", 406, REFUSED)
    assert patience.terms("q", None) == Terms()
    assert patience.terms("other", None).arguments
    patience.meet(NEW)
    assert patience.terms("q", None) == Terms()
    patience.forget("q")
    assert patience.terms("q", None).arguments


def test_timeout_is_learnt_from_the_words_of_the_broker(caplog: pytest.LogCaptureFixture) -> None:
    patience = patience_of(OLD)
    assert not patience.note_refusal("q", 406, CLOSED)
    assert patience.terms("q", None) == Terms(45.0)
    assert patience.terms("other", None) == Terms(1350.0)
    assert "not 1800 s as believed" in caplog.text
    assert "Set ack_timeout: 60" in caplog.text
    assert not patience.note_refusal("q", 406, CLOSED)
    assert len(caplog.records) == 1
    patience.meet(POLICY)  # another server may be set up in another way
    assert patience.terms("q", None) == Terms(1350.0)


@pytest.mark.parametrize(("code", "text"), [(404, CLOSED), (404, REFUSED), (406, "PRECONDITION_FAILED - x")])
def test_nothing_is_learnt_from_other_words(code: int, text: str) -> None:
    patience = patience_of(OLD)
    assert not patience.note_refusal("q", code, text)
    assert patience.terms("q", None) == Terms(1350.0)


@pytest.mark.parametrize(
    ("product", "words"),
    [
        (OLD, "consumer_timeout = 7500000 in rabbitmq.conf"),
        (POLICY, r"""rabbitmqctl set_policy ack-worker.x '^worker\.x$' '{"consumer-timeout": 7500000}'"""),
    ],
)
def test_operator_is_told_once_how_to_keep_long_jobs_with_the_broker(
    product: Product, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    patience = patience_of(product)
    for _ in range(2):
        patience.terms("worker.x", 7200.0)
    patience.terms("worker.short", 60.0)
    (record,) = caplog.records
    assert words in record.getMessage()


def test_operator_is_told_of_all_queues_when_there_are_many(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    patience_of(POLICY).terms("worker.code.#", 7200.0, may_ask=False)
    assert r"set_policy ack-worker.code.# '^worker\.code\..+$' " in caplog.text
