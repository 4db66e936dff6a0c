"""After which errors, how often and with what pauses a job is tried: in code and in settings."""

from __future__ import annotations

import ssl
from typing import Any

import pytest

from reworker.errors import JobCancelled, JobError, JobFailed, JobTimeout, JobUnknown
from reworker.jobs.retry import Retry, class_of, policy_of, retry_of
from reworker.jobs.settings import WorkerSettings
from reworker.testing import Harness
from reworker.worker import step
from tests.unit.worker.kit import StepWorker

LISTED = Retry(retry_on=(ConnectionError, "TimeoutError", "ssl.SSLError", "JobFailed"))


@pytest.mark.parametrize(
    ("policy", "error", "is_taken"),
    [
        (Retry(), ValueError(), True),
        (Retry(), SystemExit(), False),
        (Retry(), KeyboardInterrupt(), False),
        (Retry(), JobFailed(), False),
        (Retry(), JobTimeout(), False),
        (LISTED, ConnectionResetError(), True),
        (LISTED, TimeoutError(), True),
        (LISTED, ssl.SSLCertVerificationError(), True),
        (LISTED, JobFailed(), True),
        (LISTED, JobTimeout(), False),
        (LISTED, ValueError(), False),
        (Retry(retry_on=(JobError,)), JobTimeout(), True),
        (Retry(retry_on=(BaseException,)), JobFailed(), False),
        (Retry(retry_on=(BaseException, JobError)), JobUnknown(), False),
        (Retry(retry_on=(BaseException, JobError)), JobCancelled(), False),
        (Retry(retry_on=("not.there.Error",)), ValueError(), False),
    ],
)
def test_policy_takes_an_error_when_it_lists_its_kind(
    policy: Retry, error: BaseException, is_taken: bool
) -> None:
    assert policy.takes(error) is is_taken


@pytest.mark.parametrize(
    "options",
    [
        {"attempts": 0},
        {"attempts": "3"},
        {"backoff_s": 0},
        {"cap_s": -1},
        {"cap_s": float("inf")},
        {"retry_on": ("TimeOutError",)},
        {"retry_on": ("no such",)},
        {"retry_on": ("print",)},
        {"retry_on": (int,)},
        {"retry_on": (7,)},
    ],
)
def test_policy_is_refused_when_a_value_is_wrong(options: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError), match="retry: "):
        Retry(**options)


def test_name_of_an_error_is_found_where_its_module_is_loaded() -> None:
    assert class_of("ssl.SSLError") is ssl.SSLError
    assert class_of("JobTimeout") is JobTimeout
    assert class_of("ssl.no_such_thing") is None
    assert class_of("ssl.create_default_context") is None


def test_pause_grows_by_chance_between_two_bounds() -> None:
    policy = Retry(backoff_s=2.0, cap_s=10.0)
    assert [policy.pause_s(tries, lambda: 0.0) for tries in (1, 2, 3)] == [2.0, 2.0, 2.0]
    assert [policy.pause_s(tries, lambda: 1.0) for tries in (1, 2, 3)] == [4.0, 8.0, 10.0]
    assert Retry(backoff_s=20.0, cap_s=10.0).pause_s(1, lambda: 1.0) == 10.0


@pytest.mark.parametrize(("value", "made"), [(None, None), (4, Retry(4)), (LISTED, LISTED)])
def test_retry_of_a_step_is_a_number_or_a_policy(value: Any, made: Retry | None) -> None:
    assert retry_of(value) == made


@pytest.mark.parametrize("value", [True, "3", 2.5, 0])
def test_step_is_refused_when_its_retry_is_neither(value: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="retry: "):
        step("Do", retry=value)


def settings(**properties: Any) -> WorkerSettings:
    return Harness(StepWorker, **properties).station.settings


def test_settings_win_over_the_code_key_by_key() -> None:
    own = Retry(2, backoff_s=5.0)
    assert policy_of(own, settings()) is own
    assert policy_of(own, settings(retry_attempts=9)) == Retry(9, backoff_s=5.0)
    changed = policy_of(own, settings(retry_backoff_s=1, retry_cap_s="7", retry_on="TimeoutError, OSError"))
    assert changed == Retry(2, backoff_s=1.0, cap_s=7.0, retry_on=("TimeoutError", "OSError"))


def test_settings_give_a_policy_to_code_without_one_when_they_name_attempts() -> None:
    assert policy_of(None, settings()) is None
    assert policy_of(None, settings(retry_backoff_s=1)) is None
    assert policy_of(None, settings(retry_attempts=2)) == Retry(2)
