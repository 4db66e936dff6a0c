"""How long to wait before trying again; pure."""

from __future__ import annotations

from collections.abc import Callable

#: doublings after which the cap has certainly been reached; keeps 2**n a small number.
MAX_DOUBLINGS = 32


def delay_s(attempt: int, *, base_s: float, cap_s: float, rand: Callable[[], float]) -> float:
    """Return a full-jitter delay: uniform between `base_s` and ``min(cap_s, base_s * 2**attempt)``.

    Args:
        attempt: failed tries so far, from 1; smaller counts as 1.
        base_s: smallest delay, seconds.
        cap_s: largest delay, seconds.
        rand: returns a float in [0, 1), for example ``random.random``.

    Source: "full jitter", the usual cure for many clients reconnecting in step.
    """
    ceiling = min(cap_s, base_s * 2.0 ** min(max(attempt, 1), MAX_DOUBLINGS))
    return base_s + (max(ceiling, base_s) - base_s) * rand()
