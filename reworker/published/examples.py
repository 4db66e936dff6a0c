"""An example of each message, as it is on the bus: body and headers."""

from __future__ import annotations

from typing import Any

from reworker.messages import ReplyHeaders, StepHeaders, headers_of_reply, headers_of_step

#: an attempt's id, as correlation ids are.
ATTEMPT = "01a2006182dfcc61dc770f56.3"

_STEP_HEADERS = headers_of_step(
    StepHeaders(
        attempt=3,
        idempotency_key="01a2006182dfcc61dc770f56:2",
        deadline_s=300.0,
        heartbeat_s=15.0,
        queue_timeout_s=900.0,
        not_after_s=1798761600.0,
    )
)
_REPLY_HEADERS = headers_of_reply(ReplyHeaders(worker="web1:4711:0", seq=2))

#: by name of the schema: bodies, in the order in which they may come.
BODIES: dict[str, tuple[dict[str, Any], ...]] = {
    "step": (
        {
            "group": "web",
            "parameters": {
                "command": "service",
                "subcommand": "Restart",
                "hosts": ["web1"],
                "service": "httpd",
            },
            "dynamic": {"build": 42},
            "notify": {"failed": {"irc": ["#release"]}},
        },
    ),
    "reply": (
        {"status": "running", "percent": 50, "message": "half done"},
        {"status": "completed", "data": {"restarted": "httpd"}, "message": "done"},
        {"status": "unknown", "reason": "the host went away"},
    ),
    "reply-level-1": (
        {"status": "started"},
        {"status": "failed", "message": "httpd did not come up"},
    ),
    "output": ({"message": "restarting httpd"},),
    "notification": (
        {
            "slug": "web1 failed",
            "message": "httpd did not come up",
            "phase": "failed",
            "target": ["#release"],
        },
    ),
    "job": ({"group": "web", "playbook_id": "01a2006182dfcc61dc770f56", "dynamic": {"build": 42}},),
    "job-answer": (
        {"id": "01a2006182dfcc61dc770f57"},
        {"id": None, "error": "there is no such playbook"},
    ),
    "cancel": ({"attempt": ATTEMPT, "reason": "cancelled on request"},),
    "order": ({"reason": "the database is being moved"},),
    "pong": (
        {
            "worker": "sleepworker",
            "queue": "worker.sleepworker",
            "host": "web1",
            "pid": 4711,
            "state": "consuming",
            "version": "0.1.0",
            "running": [{"attempt": ATTEMPT, "instance": "web1:4711:0", "seconds": 1.5}],
        },
    ),
}
#: by name of the schema: the headers that go with its bodies.
HEADERS: dict[str, dict[str, Any]] = {"step": _STEP_HEADERS, "reply": _REPLY_HEADERS}
