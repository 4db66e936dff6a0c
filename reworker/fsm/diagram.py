"""The page `docs/state-machine.md`, drawn from the transition tables.

Refresh: ``python -c "from reworker.fsm.diagram import page; print(page(), end='')" > docs/state-machine.md``
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import TypeVar

from reworker.fsm.attempts import (
    BACKOFF_CAP_S,
    CANCEL_GRACE_S,
    HEARTBEAT_SILENCE_S,
    MAX_TRIES_IN_DOUBT,
    MAX_TRIES_UNBEGUN,
)
from reworker.fsm.deployment import MAX_TRACKS
from reworker.fsm.playbook import QUEUE_TIMEOUT_S
from reworker.fsm.states import (
    ATTEMPT_TRANSITIONS,
    DEPLOYMENT_TRANSITIONS,
    LIVE_STATUSES,
    TERMINAL_STATUSES,
    AttemptStatus,
    DeploymentStatus,
)

Status = TypeVar("Status", bound=StrEnum)
Cause = TypeVar("Cause", bound=str)

_NEW_ATTEMPT = (AttemptStatus.READY, AttemptStatus.WAITING, AttemptStatus.SKIPPED)
#: when a worker must have begun the next try, if there is to be one.
_UNTIL_TRY = "its pause, the step's `queue_timeout` and"
_OPEN_ATTEMPT = LIVE_STATUSES | {AttemptStatus.WAITING}

_INTRODUCTION = """\
# The state machine

This page is drawn from the tables in `reworker/fsm/states.py`; a test fails when it is stale.
What is not in a table cannot happen: such an event changes nothing and is recorded as ignored.
The rules behind the tables are further down.
"""

_STAGES = f"""\
## The way of a deployment

| stage | what is done |
|---|---|
| queued | all locks of the plan are taken at once, in the order in which deployments came |
| checks | the operator's pre-deploy checks; a reply is held against what is expected |
| execution | the playbook's sequences |
| rollback | after a failure of the execution: steps that took effect and have a `rollback`, the last first |
| actions | the operator's post-deploy actions, after success and failure; the first that fails ends them |

A sequence begins when those it `needs` have ended; without `needs`, when the one written before it has.
Its hosts begin in batches: the next batch when every host of the one before has ended. On each host one step
follows the other. At most {MAX_TRACKS} hosts of a deployment are at work at once.

Each dispatch of a step is an attempt with a number of its own; answers to any other attempt are ignored.
A step whose `when` does not hold gets an attempt that is `skipped` from its beginning.

A step that fails, or an approval that is refused, ends the way of its host. One failed host more than
`max_failures` fails the deployment, as does the playbook's `timeout`. From then on nothing new is begun:
delays, retries and questions to people are dropped, what is under way may end, then follow rollback and
actions. Only when it is the timeout that failed it, workers are told to stop first.

A rollback takes back what completed, and what may have taken effect: steps in doubt, and steps that were
cancelled midway. It goes on one step at a time, and a step that cannot be taken back ends it.

`paused` dispatches nothing; what is under way may end, and everything else is noted. `cancelling` tells the
workers and waits for their answers; nothing is taken back, and no actions are done. A step that lies in a
queue holds it up until its worker refuses it, or until its queue timer is over and no worker begins it.
"""

_RULES = f"""\
## What follows from an attempt

| the attempt is | what follows |
|---|---|
| `completed` | the next step of its host, the next hosts or sequences, the next stage, or the end |
| `failed`, `unroutable`, `timed_out`, `cancelled` | a retry, if any is left, else the step failed |
| `unknown` | what the step says under `on_unknown` |
| any end, when the deployment is failing | the step failed, if it did not complete |
| any end, while `cancelling` | the deployment is `cancelled` once the last attempt has ended |

`unknown` means: nobody can tell whether the step took effect. `on_unknown` is `verify` for a step that has a
`verify` step, `retry` for one that says `idempotent: true`, else `ask`.

| `on_unknown` | what is done |
|---|---|
| `verify` | the verify step: if it completed, so did the step; if it failed, the step again; else ask |
| `retry` | the step is dispatched again |
| `ask` | a person decides: `retry`, `skip`, `fail` or `complete` |
| `fail` | the step failed |

After {MAX_TRIES_IN_DOUBT} dispatches of a step `verify` and `retry` ask, too. A deployment is `waiting` when
people are asked and nothing else is under way; an unattended one fails where a person would be asked. A doubt
about the publish itself (`DispatchUnknown`) is not verified, as the message may still come to a worker; a
confirm or the worker can end it: the arrows that leave `unknown`. A step that was sent and has not started,
and of which its worker says that it never began (`unless_started`), is dispatched again whatever `on_unknown`
says, {MAX_TRIES_UNBEGUN} times at most.

An approval is an attempt that is `waiting` until enough people have approved, one has refused, or it expires.
A step with a delay, or with a retry to come, is `waiting` as well. A waiting attempt is `cancelled` when the
deployment fails or is cancelled. A `started` that never came is implied by the first `running` or final
answer.

## Timers

| timer | runs from | due after | event |
|---|---|---|---|
| queue | `sent` | the step's `queue_timeout`, else {QUEUE_TIMEOUT_S:g} s | `QueueTimedOut` |
| run | `started` | the step's `timeout`, else never | `RunTimedOut` |
| heartbeat | the last `running` | {HEARTBEAT_SILENCE_S:g} s | `HeartbeatLost` |
| heartbeat | a try that ended | {_UNTIL_TRY} {HEARTBEAT_SILENCE_S:g} s | `HeartbeatLost` |
| cancel | telling a worker that has begun to stop | {CANCEL_GRACE_S:g} s | `CancelTimedOut` |
| delay | the end of the step before | the step's `delay` | `DelayEnded` |
| delay | a timeout, before verifying | {CANCEL_GRACE_S:g} s | `DelayEnded` |
| delay | a failed attempt | its `backoff`, doubled each time, at most {BACKOFF_CAP_S:g} s | `DelayEnded` |
| approval | asking for it | its `expires`, else never | `ApprovalExpired` |
| deployment | the start, to the end of the execution | the `timeout`, else never | `DeploymentTimedOut` |
| locks | the release of a lock it waits for | at once | `LocksDue` |
"""


def page() -> str:
    """Return the page in MyST Markdown."""
    attempt_ends = [status for status in AttemptStatus if status not in _OPEN_ATTEMPT]
    return "\n".join(
        [
            _INTRODUCTION,
            "## Deployment\n",
            _diagram(DEPLOYMENT_TRANSITIONS, [DeploymentStatus.QUEUED], sorted(TERMINAL_STATUSES)),
            _table(DEPLOYMENT_TRANSITIONS, "trigger"),
            "## Attempt\n",
            _diagram(ATTEMPT_TRANSITIONS, _NEW_ATTEMPT, attempt_ends),
            _table(ATTEMPT_TRANSITIONS, "event"),
            _STAGES,
            _RULES,
        ]
    )


def _diagram(
    transitions: Mapping[tuple[Status, Cause], Status], firsts: Iterable[Status], ends: Iterable[Status]
) -> str:
    """Return a Mermaid diagram with one arrow for each pair of states."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for (source, cause), target in transitions.items():
        arrows.setdefault((source, target), []).append(cause)
    lines = [f"{source} --> {target}: {', '.join(causes)}" for (source, target), causes in arrows.items()]
    lines = [*(f"[*] --> {first}" for first in firsts), *lines, *(f"{end} --> [*]" for end in ends)]
    body = "\n".join(f"    {line}" for line in lines)
    return f"```mermaid\nstateDiagram-v2\n{body}\n```\n"


def _table(transitions: Mapping[tuple[Status, Cause], Status], cause_title: str) -> str:
    rows = [f"| `{source}` | {cause} | `{target}` |" for (source, cause), target in transitions.items()]
    return "\n".join([f"| from | {cause_title} | to |", "|---|---|---|", *rows, ""])
