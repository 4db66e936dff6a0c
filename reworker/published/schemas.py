"""JSON Schemas (draft-07) of all that travels on the bus, by the names that people use for it."""

from __future__ import annotations

import inspect
import json
from typing import Any

from reworker import messages
from reworker.messages import FINAL_STATUSES, SLUG_LIMIT, STATUSES
from reworker.published import headers

DRAFT = "http://json-schema.org/draft-07/schema#"
#: statuses of level 1, in the order in which they come.
_LEVEL_1 = ("started", "completed", "failed")

#: what the struct of a message does not say: of its fields, and which there are beside them.
_FIELDS: dict[str, dict[str, dict[str, Any]]] = {
    "Step": {
        "group": {"description": "group of the playbook"},
        "parameters": {
            "description": "what to do, and where; the rest are the step's own",
            "properties": {
                "command": {"type": "string", "description": "chooses the worker"},
                "subcommand": {"type": "string", "description": "says what the worker has to do"},
                "hosts": {
                    "type": "array",
                    "items": {"type": "string"},
                    "description": "one host at a time; absent for what belongs to no host",
                },
            },
            "required": ["command", "subcommand"],
        },
        "dynamic": {"description": "values that were given for this deployment"},
        "notify": {"description": "whom to tell: phase, transport, targets"},
        "attempt": {
            "type": "object",
            "description": "what properties and headers say, for tools that show their worker the body alone",
            "properties": {
                "id": {"type": "string", "description": "the correlation id"},
                "reply_to": {"type": "string", "description": "where replies go"},
                "idempotent": {"type": "boolean", "description": "the step may safely run twice"},
                "heartbeat_s": {"type": "number", "description": "seconds between two `running` replies"},
            },
            "required": ["id", "reply_to"],
        },
    },
    "Reply": {
        "status": {"description": f"final are {', '.join(sorted(FINAL_STATUSES))}"},
        "data": {"description": "what the step returns: any JSON"},
        "message": {"description": "text for people"},
        "percent": {"description": "how far a running step is, 0 to 100"},
        "reason": {"description": "why it is unknown or cancelled"},
        "again_in_s": {
            "description": "a try has ended; after so many seconds the message is in the queue again"
        },
        "unless_started": {"description": "the step never began unless its `started` has come before"},
    },
    "OutputLine": {
        "message": {"description": "a line of output, 64 KiB at most"},
        "stream": {"description": "of a process; empty for a line of the worker"},
        "piece": {"description": "number of the piece within the attempt, from 1; 0 is not said"},
    },
    "Notification": {
        "slug": {"description": "the message in short", "maxLength": SLUG_LIMIT},
        "phase": {"description": "started, completed or failed"},
        "target": {"description": "whom to tell, as the transport names them"},
    },
    "JobRequest": {
        "playbook_id": {"description": "id of a stored playbook"},
        "dynamic": {"description": "values for it"},
        "source_ip": {"description": "where the request comes from, for the record"},
        "user_id": {"description": "who asks, for the record"},
    },
    "JobAnswer": {"id": {"description": "of the deployment; null when the request was refused"}},
    "Control": {"attempt": {"description": "correlation id of its messages"}},
}


def message_schemas() -> dict[str, dict[str, Any]]:
    """Return the schema of each body and of each table of headers, by name."""
    own = {name: _described(name, schema) for name, schema in messages.schemas().items()}
    return {
        "step": own["Step"],
        "step-headers": headers.step_headers(),
        "reply": own["Reply"],
        "reply-level-1": _level_1(own["Reply"]),
        "reply-headers": headers.reply_headers(),
        "output": own["OutputLine"],
        "notification": own["Notification"],
        "job": own["JobRequest"],
        "job-answer": own["JobAnswer"],
        "cancel": own["Control"],
        "order": own["WorkerOrder"],
        "pong": own["Pong"],
    }


def standalone(name: str) -> dict[str, Any]:
    """Return one schema with the name of its dialect, for a file of its own."""
    return {"$schema": DRAFT, **message_schemas()[name]}


def _described(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema of `messages` with what else is to be said of its fields."""
    found: dict[str, Any] = json.loads(json.dumps(schema))
    found.pop("$schema")
    found["description"] = " ".join(inspect.cleandoc(found["description"]).split())
    for field, said in _FIELDS.get(name, {}).items():
        found["properties"][field] = {**found["properties"].get(field, {}), **said}
    for part in found.get("definitions", {}).values():
        part["description"] = " ".join(inspect.cleandoc(part["description"]).split())
    return found


def _level_1(reply: dict[str, Any]) -> dict[str, Any]:
    """Return what a worker of level 1 answers: fewer statuses, and what goes with them."""
    assert set(_LEVEL_1) < STATUSES
    properties = {name: reply["properties"][name] for name in ("data", "message")}
    return {
        "title": "ReplyLevel1",
        "description": "Worker to core, level 1: one `started`, then `completed` or `failed`.",
        "type": "object",
        "properties": {"status": {"enum": list(_LEVEL_1)}, **properties},
        "required": ["status"],
    }
