"""How values look on pages: times, durations, statuses; and characters that would mislead, shown as such."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from markupsafe import Markup, escape

#: control characters, and those that turn or hide text: a name must look like what it is.
_MISLEADING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2060-\u2069\ufeff]"
)
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86400
_KIB, _SIZES = 1024, ("KiB", "MiB", "GiB")

#: status -> how it is drawn; those that are not here are neutral.
TONES = {
    "running": "live",
    "started": "live",
    "sent": "live",
    "ready": "live",
    "rolling_back": "live",
    "cancelling": "live",
    "completed": "good",
    "done": "good",
    "ok": "good",
    "waiting": "ask",
    "unknown": "ask",
    "paused": "ask",
    "unroutable": "ask",
    "late": "ask",
    "failed": "bad",
    "denied": "bad",
    "expired": "back",
    "revoked": "bad",
    "away": "bad",
    "timed_out": "bad",
    "rollback_failed": "bad",
    "rolled_back": "back",
    "up": "good",
    "consuming": "good",
    "quiet": "ask",
    "draining": "ask",
    "unread": "ask",
    "not found": "ask",
    "not polled": "ask",
    "letters": "ask",
    "silent": "bad",
    "complete": "good",
    "error": "bad",
    "timeout": "bad",
    "killed": "bad",
    "scheduled": "live",
}


def visible(value: Any) -> Any:
    """Return what a template shows of a value: nothing of None, and no character that misleads."""
    if value is None:
        return ""
    if isinstance(value, str) and not isinstance(value, Markup):
        return _MISLEADING.sub(lambda found: f"\\u{ord(found[0]):04x}", value)
    return value


def exact(value: str) -> Markup:
    """Return a text as it is, for fields that send it back to us: what is edited must not change by itself.

    A browser takes away a line end at the beginning of such a field, so it gets one.
    """
    return Markup("\n") + escape(value)


def when(value: datetime | None) -> Markup:
    """Return a moment, in UTC; `app.js` adds how long ago that is."""
    if value is None:
        return Markup('<span class="faint">never</span>')
    exact_text = value.strftime("%Y-%m-%dT%H:%M:%SZ")
    return Markup('<time datetime="{}">{}</time>').format(exact_text, value.strftime("%Y-%m-%d %H:%M:%S"))


def running(since: datetime) -> Markup:
    """Return what lasts since a moment; `app.js` writes how long that is."""
    exact_text = since.strftime("%Y-%m-%dT%H:%M:%SZ")
    return Markup('<time datetime="{}" data-span>since {}</time>').format(
        exact_text, since.strftime("%H:%M:%S")
    )


def duration(seconds: float | None) -> str:
    """Return a duration in the two units that say most: ``4 m 12 s``."""
    if seconds is None:
        return ""
    whole = max(0, round(seconds))
    if whole < _MINUTE_S:
        return f"{seconds:.1f} s" if 0 < seconds < 10 else f"{whole} s"
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S} m {whole % _MINUTE_S} s"
    if whole < _DAY_S:
        return f"{whole // _HOUR_S} h {whole % _HOUR_S // _MINUTE_S} m"
    return f"{whole // _DAY_S} d {whole % _DAY_S // _HOUR_S} h"


def brief(seconds: float) -> str:
    """Return a duration that may be short: ``12 ms``, and above a second as `duration` says it."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else duration(seconds)


def size(value_bytes: int) -> str:
    """Return a size in the unit that fits: ``1.5 MiB``."""
    if value_bytes < _KIB:
        return f"{value_bytes} bytes"
    value = float(value_bytes)
    for unit in _SIZES:
        value /= _KIB
        if value < _KIB or unit == _SIZES[-1]:
            break
    return f"{value:.1f} {unit}"


def count(value: int, one: str, many: str = "") -> str:
    """Return a number with its noun: ``1 step``, ``2,000 steps``."""
    return f"{value:,} {one if value == 1 else many or one + 's'}"


def status(value: str) -> Markup:
    """Return a status: always in words, and in a colour for those who see it."""
    tone = TONES.get(str(value), "plain")
    return Markup('<span class="status {}">{}</span>').format(tone, visible(str(value)).replace("_", " "))


def needed(kind: str) -> Markup:
    """Return what is asked of a person."""
    return Markup('<span class="status ask">{}</span>').format(kind)


def short(value: str, limit: int = 80) -> str:
    """Return a text that fits a line."""
    line = " ".join(value.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


FILTERS: dict[str, Callable[..., Any]] = {
    "exact": exact,
    "when": when,
    "running": running,
    "duration": duration,
    "brief": brief,
    "size": size,
    "count": count,
    "status": status,
    "needed": needed,
    "short": short,
}
