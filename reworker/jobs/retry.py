"""How often a job that failed is tried, after what errors and with what pauses; pure but for chance."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable
from typing import Protocol

import msgspec

from reworker import backoff, errors
from reworker.errors import JobCancelled, JobError, JobRetry, JobUnknown

#: ends that no try can follow: somebody wants no more, or nobody knows what has happened.
_NEVER = (JobCancelled, JobUnknown, JobRetry)
Kind = type[BaseException] | str


class Retry(msgspec.Struct, frozen=True):
    """How a step that failed is tried again; between two tries its message waits at the broker.

    Args:
        attempts: tries in all, from 1.
        backoff_s: shortest pause, seconds; it may double with each try, and is chosen by chance in between.
        cap_s: longest pause, seconds.
        retry_on: classes of errors, or their names: ``TimeoutError``, ``package.module.Class``. `JobFailed`
            and `JobTimeout` count only when they are named; `JobUnknown` and `JobCancelled` never do.

    Raises:
        ValueError, TypeError: a value is wrong.
    """

    attempts: int = 3
    backoff_s: float = 1.0
    cap_s: float = 900.0
    retry_on: tuple[Kind, ...] = (Exception,)

    def __post_init__(self) -> None:
        if not isinstance(self.attempts, int) or self.attempts < 1:
            raise ValueError(f"retry: expected at least 1 attempt, found {self.attempts!r}")
        if not 0 < self.backoff_s < float("inf") or not 0 < self.cap_s < float("inf"):
            raise ValueError(f"retry: expected pauses above 0, found {self.backoff_s!r} and {self.cap_s!r}")
        for kind in self.retry_on:
            check_kind(kind)

    def takes(self, error: BaseException) -> bool:
        """Tell whether a try may follow an error of this kind."""
        if isinstance(error, _NEVER):
            return False
        kinds = [found for one in self.retry_on if (found := class_of(one)) is not None]
        if isinstance(error, JobError):
            kinds = [one for one in kinds if issubclass(one, JobError)]
        return isinstance(error, tuple(kinds))

    def pause_s(self, tries: int, rand: Callable[[], float]) -> float:
        """Return the seconds to wait after so many tries."""
        base_s = min(self.backoff_s, self.cap_s)
        return backoff.delay_s(tries, base_s=base_s, cap_s=self.cap_s, rand=rand)


class RetrySettings(Protocol):
    """What an operator may set; None and nothing leave it to the code."""

    @property
    def retry_attempts(self) -> int | None:
        """Tries in all."""
        ...

    @property
    def retry_backoff_s(self) -> float | None:
        """Shortest pause, seconds."""
        ...

    @property
    def retry_cap_s(self) -> float | None:
        """Longest pause, seconds."""
        ...

    @property
    def retry_on(self) -> tuple[str, ...]:
        """Names of errors."""
        ...


def retry_of(value: int | Retry | None) -> Retry | None:
    """Return the policy that `@step(retry=...)` was given; a number is that many attempts.

    Raises:
        TypeError, ValueError: it is none.
    """
    if value is None or isinstance(value, Retry):
        return value
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"retry: expected a number of attempts or a Retry, found {value!r}")
    return Retry(attempts=value)


def policy_of(own: Retry | None, settings: RetrySettings) -> Retry | None:
    """Return what holds for a job: what its code says, where the settings say nothing; None is no retry."""
    numbers = settings.retry_attempts, settings.retry_backoff_s, settings.retry_cap_s
    if numbers == (None, None, None) and not settings.retry_on:
        return own
    given = dict(
        zip(("attempts", "backoff_s", "cap_s"), numbers, strict=True), retry_on=settings.retry_on or None
    )
    changes = {name: value for name, value in given.items() if value is not None}
    if not changes or (own is None and "attempts" not in changes):
        return own
    return msgspec.structs.replace(own or Retry(), **changes)


def check_kind(kind: object) -> None:
    """Check a class of errors, or the name of one.

    Raises:
        TypeError, ValueError: it is no error, or a name without a module that nobody knows.
    """
    if isinstance(kind, str):
        parts = kind.split(".")
        if not all(one.isidentifier() for one in parts) or (len(parts) == 1 and class_of(kind) is None):
            raise ValueError(
                f"retry: no error is called {kind!r}; give a built-in one or package.module.Class"
            )
    elif not (isinstance(kind, type) and issubclass(kind, BaseException)):
        raise TypeError(f"retry: expected a class of errors, found {kind!r}")


def class_of(kind: Kind) -> type[BaseException] | None:
    """Return the class of errors that is meant; None while nobody has imported its module.

    Nothing is imported for it: an error that was raised comes from a module that is there.
    """
    if not isinstance(kind, str):
        return kind
    module, _, name = kind.rpartition(".")
    places = (sys.modules.get(module),) if module else (builtins, errors)
    found = next((one for place in places if (one := getattr(place, name, None)) is not None), None)
    return found if isinstance(found, type) and issubclass(found, BaseException) else None
