"""Task definitions of Conductor, read as rules for the gateway. Pure.

A definition is stored as it came. Of what it says, only what it says counts: Conductor's three tries are no
default of ours, for a step of a release may not run twice by accident.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import msgspec

from reworker.errors import ConfigError
from reworker.gateway.contract import RetryLogic, TaskRules, TaskType
from reworker.gateway.settings import queue_of
from reworker.web.errors import HttpProblem

#: characters of a task type: as many as the name of a queue may have.
NAME_CHARACTERS = 200
#: largest number that any limit of a definition may be: thirty years of seconds.
LARGEST = 10**9


def name_in(document: Any) -> str:
    """Return the name of a definition.

    Raises:
        HttpProblem: 400 it is no definition, or nobody could poll for what it names.
    """
    name = document.get("name") if isinstance(document, dict) else None
    if not isinstance(name, str) or not 1 <= len(name) <= NAME_CHARACTERS or not name.isprintable():
        reason = f"a task definition is an object with a name of 1 to {NAME_CHARACTERS} characters"
        raise HttpProblem(400, "not-a-definition", reason)
    require_queue(TaskType(name), "name of the task definition")
    return name


def require_queue(kind: TaskType, where: str) -> None:
    """Refuse a task type or a domain whose name no queue can have.

    Args:
        kind: as it was given.
        where: it stands in the request.

    Raises:
        HttpProblem: 400 with what is wrong with it.
    """
    try:
        queue_of(kind)
    except ConfigError as error:
        reason = f"{where}: no queue can be named so: {error}; rename it in the worker and in the playbook"
        raise HttpProblem(400, "invalid-value", reason) from error


def rules_in(document: Mapping[str, Any]) -> TaskRules:
    """Return what a definition says to the gateway.

    Raises:
        HttpProblem: 400 a value makes no sense.
    """
    given = Given(document)
    default = TaskRules()
    template = document.get("inputTemplate")
    timeout_s = given.number("responseTimeoutSeconds", 0)
    return TaskRules(
        retry_count=int(given.number("retryCount", default.retry_count)),
        retry_logic=given.logic(),
        retry_delay_s=given.number("retryDelaySeconds", default.retry_delay_s),
        backoff_scale=given.number("backoffScaleFactor", default.backoff_scale),
        max_retry_delay_s=given.number("maxRetryDelaySeconds", default.max_retry_delay_s),
        response_timeout_s=timeout_s or None,
        timeout_s=given.number("timeoutSeconds", default.timeout_s),
        concurrent_count=int(given.number("concurrentExecLimit", default.concurrent_count)),
        rate_count=int(given.number("rateLimitPerFrequency", default.rate_count)),
        rate_s=given.number("rateLimitFrequencyInSeconds", default.rate_s) or default.rate_s,
        input_template=template if isinstance(template, dict) else {},
    )


class Given:
    """What stands in a definition; what is null was not said."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document

    def number(self, name: str, default: float) -> float:
        """Return a number of 0 or more.

        Raises:
            HttpProblem: 400 it is another value.
        """
        value = self._document.get(name)
        if value is None:
            return default
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not 0 <= value <= LARGEST:
            _refuse(name, value, f"a number from 0 to {LARGEST}")
        return float(value)

    def logic(self) -> RetryLogic:
        """Return how pauses between tries grow.

        Raises:
            HttpProblem: 400 nobody knows it.
        """
        value = self._document.get("retryLogic") or RetryLogic.FIXED
        try:
            return RetryLogic(value)
        except ValueError:
            _refuse("retryLogic", value, ", ".join(RetryLogic))


def _refuse(name: str, value: Any, wanted: str) -> NoReturn:
    extra = {
        "validationErrors": [{"path": name, "message": f"is {wanted}", "invalidValue": ascii(value)[:60]}]
    }
    raise HttpProblem(400, "invalid-value", f"{name} is {wanted}, found {ascii(value)[:60]}", extra)


def encoded(document: Mapping[str, Any]) -> bytes:
    """Return a definition as it is stored."""
    return msgspec.json.encode(document)
