"""JSON Schemas of the level 2 headers. What they are called and how they are written, `messages` knows."""

from __future__ import annotations

from typing import Any

from reworker.messages import ReplyHeaders, StepHeaders, headers_of_reply, headers_of_step

#: seconds, which travel as text: not every client has numbers with a point in AMQP tables.
_SECONDS = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(e[+-][0-9]+)?$"}
_LEVEL = {"const": 2, "description": "the sender speaks level 2"}
_TRACE = {"type": "string", "description": "W3C trace context, if there is one"}

_STEP: dict[str, dict[str, Any]] = {
    "x-reworker": _LEVEL,
    "x-attempt": {"type": "integer", "minimum": 1, "description": "number of the attempt, from 1"},
    "x-idempotent": {"type": "boolean", "description": "the step may safely run twice"},
    "x-idempotency-key": {
        "type": "string",
        "description": "the same for all attempts of one step on one host",
    },
    "x-fence": {
        "type": "integer",
        "minimum": 0,
        "description": "grows with every holder of the deployment's locks; 0 without",
    },
    "x-deadline-s": {**_SECONDS, "description": "seconds the step may run; absent without a limit"},
    "x-heartbeat-s": {
        **_SECONDS,
        "description": "seconds between two `running` replies; absent if none are wanted",
    },
    "x-queue-timeout-s": {
        **_SECONDS,
        "description": "seconds after its publish in which the step has to begin",
    },
    "x-not-after": {**_SECONDS, "description": "that moment, in seconds since 1970"},
    "traceparent": _TRACE,
}
_REPLY: dict[str, dict[str, Any]] = {
    "x-reworker": _LEVEL,
    "x-worker": {"type": "string", "description": "who sends it: host, process and instance"},
    "x-seq": {
        "type": "integer",
        "minimum": 1,
        "description": "number of the reply within the attempt, from 1",
    },
    "traceparent": _TRACE,
}


def step_headers() -> dict[str, Any]:
    """Return the schema of a step's headers; those are required that every core of level 2 sends."""
    return _table("StepHeaders", "Headers of a level 2 step.", _STEP, headers_of_step(StepHeaders()))


def reply_headers() -> dict[str, Any]:
    """Return the schema of a reply's headers; a level 1 worker sends none."""
    least = headers_of_reply(ReplyHeaders(worker="", seq=1))
    return _table("ReplyHeaders", "Headers of a level 2 reply.", _REPLY, least)


def _table(
    title: str, description: str, known: dict[str, dict[str, Any]], least: dict[str, Any]
) -> dict[str, Any]:
    return {
        "title": title,
        "description": f"{description} Others may stand beside them.",
        "type": "object",
        "properties": known,
        "required": list(least),
    }
