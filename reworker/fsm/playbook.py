"""What a playbook says, read from YAML or JSON text: `parse` and `problems`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

#: seconds a published step may wait for a worker; our choice, outlasts a worker's restart.
QUEUE_TIMEOUT_S = 900.0


class OnUnknown(StrEnum):
    """What to do when it cannot be known whether a step took effect; `verify` will be added here."""

    RETRY = "retry"
    FAIL = "fail"
    ASK = "ask"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step as written: what to do, without where.

    `notify` is ``{phase: {transport: (target, ...)}}``; `dynamic_names` are the values that must be given
    at submit; `timeout_s` None means that the step may run for ever.
    """

    key: str
    command: str
    subcommand: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    notify: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    dynamic_names: tuple[str, ...] = ()
    timeout_s: float | None = None
    queue_timeout_s: float = QUEUE_TIMEOUT_S
    is_idempotent: bool = False
    on_unknown: OnUnknown = OnUnknown.ASK
    id: str = ""


@dataclass(frozen=True, kw_only=True)
class Sequence:
    """Steps that are done on one host after the other; `notify` speaks of the sequence as a whole."""

    hosts: tuple[str, ...]
    steps: tuple[Step, ...]
    description: str = ""
    notify: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    id: str = ""


@dataclass(frozen=True, kw_only=True)
class Playbook:
    """A valid playbook; `params` is a JSON-Schema-like mapping of parameter names, kept as it is."""

    group: str
    name: str
    execution: tuple[Sequence, ...]
    params: Mapping[str, Any] = field(default_factory=dict)
    is_unattended: bool = False
