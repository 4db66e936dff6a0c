"""The page `docs/state-machine.md`, drawn from the transition tables.

Refresh: ``python -c "from reworker.fsm.diagram import page; print(page(), end='')" > docs/state-machine.md``
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import TypeVar

from reworker.fsm.attempts import CANCEL_GRACE_S, HEARTBEAT_SILENCE_S, MAX_TRIES_IN_DOUBT
from reworker.fsm.playbook import QUEUE_TIMEOUT_S
from reworker.fsm.states import (
    ATTEMPT_TRANSITIONS,
    DEPLOYMENT_TRANSITIONS,
    TERMINAL_STATUSES,
    AttemptStatus,
    DeploymentStatus,
)

Status = TypeVar("Status", bound=StrEnum)
Cause = TypeVar("Cause", bound=str)

_INTRODUCTION = """\
# The state machine

This page is drawn from the tables in `reworker/fsm/states.py`; a test fails when it is stale.
What is not in a table cannot happen: such an event changes nothing and is recorded as ignored.

A deployment runs its steps one after the other: sequence by sequence, in each host by host, on each host
step by step. Each dispatch of a step is an attempt with a number of its own; answers to any other attempt
are ignored.
"""

_RULES = f"""\
## What follows from an attempt

| the attempt is | the deployment |
|---|---|
| `completed` | dispatches the next step, or is `completed` |
| `failed`, `unroutable`, `timed_out`, `cancelled` | is `failed`, with step, host and reason |
| `unknown` | does what the step says under `on_unknown` |
| any end, while `cancelling` | is `cancelled` |

`unknown` means: nobody can tell whether the step took effect. `on_unknown` is `retry` for a step that says
`idempotent: true`, else `ask`. `retry` opens a new attempt, {MAX_TRIES_IN_DOUBT} in all, then asks. `ask`
makes the deployment `waiting` until a person decides `retry`, `skip`, `fail` or `complete`; an unattended
deployment fails instead. Only a doubt about the publish itself (`DispatchUnknown`) can still be ended by a
confirm or by the worker: the arrows that leave `unknown`. Steps after a failed one count as skipped.

A `started` that never came is implied by the first `running` or final answer. `paused` lets the open attempt
end and dispatches nothing. `cancelling` tells the worker and waits for its answer.

| timer | from | due after | event |
|---|---|---|---|
| queue | `sent` | the step's `queue_timeout`, else {QUEUE_TIMEOUT_S:g} s | `QueueTimedOut` |
| run | `started` | the step's `timeout`, else never | `RunTimedOut` |
| heartbeat | the last `running` | {HEARTBEAT_SILENCE_S:g} s | `HeartbeatLost` |
| cancel | `cancelling` | {CANCEL_GRACE_S:g} s | `CancelTimedOut` |
"""


def page() -> str:
    """Return the page in MyST Markdown."""
    attempt_ends = [status for status in AttemptStatus if not status.is_live]
    return "\n".join(
        [
            _INTRODUCTION,
            "## Deployment\n",
            _diagram(DEPLOYMENT_TRANSITIONS, DeploymentStatus.QUEUED, sorted(TERMINAL_STATUSES)),
            _table(DEPLOYMENT_TRANSITIONS, "trigger"),
            "## Attempt\n",
            _diagram(ATTEMPT_TRANSITIONS, AttemptStatus.READY, attempt_ends),
            _table(ATTEMPT_TRANSITIONS, "event"),
            _RULES,
        ]
    )


def _diagram(
    transitions: Mapping[tuple[Status, Cause], Status], first: Status, ends: Iterable[Status]
) -> str:
    """Return a Mermaid diagram with one arrow for each pair of states."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for (source, cause), target in transitions.items():
        arrows.setdefault((source, target), []).append(cause)
    lines = [f"{source} --> {target}: {', '.join(causes)}" for (source, target), causes in arrows.items()]
    lines = [f"[*] --> {first}", *lines, *(f"{end} --> [*]" for end in ends)]
    body = "\n".join(f"    {line}" for line in lines)
    return f"```mermaid\nstateDiagram-v2\n{body}\n```\n"


def _table(transitions: Mapping[tuple[Status, Cause], Status], cause_title: str) -> str:
    rows = [f"| `{source}` | {cause} | `{target}` |" for (source, cause), target in transitions.items()]
    return "\n".join([f"| from | {cause_title} | to |", "|---|---|---|", *rows, ""])
