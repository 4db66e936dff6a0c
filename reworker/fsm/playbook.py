"""What a playbook says, as data: steps, sequences, how they are to be run. `parsing` reads it from text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

#: seconds a published step may wait for a worker; our choice, outlasts a worker's restart.
QUEUE_TIMEOUT_S = 900.0

#: characters of a host: the longest DNS name.
HOST_CHARACTERS = 253

_HOST = re.compile(r"[\w\[:][\w.:%\[\]-]*")

#: ``{phase: {transport: (target, ...)}}``; phases are started, completed and failed.
Notify = Mapping[str, Mapping[str, tuple[str, ...]]]


class OnUnknown(StrEnum):
    """What to do when it cannot be known whether a step took effect."""

    VERIFY = "verify"
    RETRY = "retry"
    FAIL = "fail"
    ASK = "ask"


class SequenceKind(StrEnum):
    """What a sequence is for; a plan holds them in this order."""

    CHECK = "check"
    EXECUTION = "execution"
    ACTION = "action"


@dataclass(frozen=True, kw_only=True)
class Retry:
    """How often a step that failed is tried again: `attempts` in all, doubling `backoff_s` between them."""

    attempts: int
    backoff_s: float = 1.0


@dataclass(frozen=True, kw_only=True)
class When:
    """On which outcome of an earlier step a step depends: that it completed, or did not.

    `step` is its id. `data`, unless None, must be contained in the data it returned. Within one sequence
    the outcome is that on the same host, else that on any host.
    """

    step: str
    data: Any = None
    is_negated: bool = False


@dataclass(frozen=True, kw_only=True)
class Approval:
    """Wait until `of` people approve; `is_not_self` leaves out who started the deployment."""

    text: str
    of: int = 1
    is_not_self: bool = False
    expires_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """What the final reply of a check must be: equal to `body`, or contain it."""

    body: Any
    is_subset: bool = False


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step as written: what to do, without where.

    An approval is a step without a command, with `approval` set. `title` names checks and actions.
    `dynamic_names` are the values that must be given at submit; `timeout_s` None means that the step may
    run for ever; `delay_s` passes before its first dispatch. `verify` finds out whether the step took
    effect, `rollback` takes it back. `priority`, 0 to 255, is for queues that hand out the most urgent first.
    `domains` are where its workers stand, in the order in which they are tried; none is without a domain in a
    plan, and nothing said about it in a playbook.
    """

    key: str
    command: str
    subcommand: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    notify: Notify = field(default_factory=dict)
    dynamic_names: tuple[str, ...] = ()
    timeout_s: float | None = None
    queue_timeout_s: float = QUEUE_TIMEOUT_S
    delay_s: float = 0.0
    is_idempotent: bool = False
    on_unknown: OnUnknown = OnUnknown.ASK
    retry: Retry | None = None
    when: When | None = None
    verify: Step | None = None
    rollback: Step | None = None
    approval: Approval | None = None
    expectation: Expectation | None = None
    id: str = ""
    title: str = ""
    priority: int = 0
    domains: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Sequence:
    """Steps that are done on one host after the other; `notify` speaks of the sequence as a whole.

    `batch_count` hosts are at work at once, and the next so many begin when all of these have ended. More
    than `max_failure_count` failed hosts fail the deployment. `needs` are the ids of the sequences that come
    before; None is the one written before it. `domains` are those of its steps that say nothing themselves.
    """

    hosts: tuple[str, ...]
    steps: tuple[Step, ...]
    description: str = ""
    notify: Notify = field(default_factory=dict)
    id: str = ""
    kind: SequenceKind = SequenceKind.EXECUTION
    batch_count: int = 1
    max_failure_count: int = 0
    needs: tuple[str, ...] | None = None
    domains: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Playbook:
    """A valid playbook; `params` is a JSON-Schema-like mapping of parameter names, kept as it is.

    `takes_locks` keeps other deployments from its hosts, and from its `environment` when it names one;
    `timeout_s` is for the whole deployment, None is without limit. `domains` are those of its sequences.
    """

    group: str
    name: str
    execution: tuple[Sequence, ...]
    params: Mapping[str, Any] = field(default_factory=dict)
    is_unattended: bool = False
    environment: str = ""
    takes_locks: bool = True
    timeout_s: float | None = None
    domains: tuple[str, ...] = ()


def host_key(name: str) -> str:
    """Return what all spellings of a host have in common, be it upper case, IDN or with a trailing dot.

    Empty if it is no host.
    """
    if len(name) > HOST_CHARACTERS or not _HOST.fullmatch(name):
        return ""
    try:
        return name.encode("idna").decode("ascii").lower().rstrip(".")
    except UnicodeError:
        return ""


def dynamic_names(steps: Iterable[Step]) -> frozenset[str]:
    """Return the values that must be given for these steps, their checks and their ways back."""
    found: set[str] = set()
    for step in steps:
        found.update(*(one.dynamic_names for one in (step, step.verify, step.rollback) if one))
    return frozenset(found)
