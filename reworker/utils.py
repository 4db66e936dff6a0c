"""Public helpers by their names of 2014; nothing new belongs here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def step_to_notification_format(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the notification that a step's parameters describe: ``{slug, message, phase, target}``.

    Raises:
        KeyError: one of the four is missing.
    """
    parameters = body["parameters"]
    return {key: parameters[key] for key in ("slug", "message", "phase", "target")}
