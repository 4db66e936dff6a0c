"""The AsyncAPI 3 document of the bus, as a worker sees it, and a program that asks for deployments.

Source: https://www.asyncapi.com/docs/reference/specification/v3.0.0, and its bindings for AMQP, 0.3.0.
"""

from __future__ import annotations

import json
from typing import Any

from reworker import __version__
from reworker.published.examples import BODIES, HEADERS
from reworker.published.schemas import message_schemas
from reworker.topology import names

ASYNCAPI = "3.0.0"
#: of the bindings for AMQP 0-9-1.
BINDING = "0.3.0"
_LICENSE = {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"}
_ABOUT = (
    "reworker runs the steps of playbooks on workers, over AMQP 0-9-1. The operations are those of a worker; "
    "the last one is of a program that asks for a deployment. Every body is a JSON object in UTF-8; unknown "
    "keys are to be ignored. Where a correlation id or an address for replies is said to be in a header, it "
    "is a property of AMQP, for which AsyncAPI has no word. Servers are not named: they are yours."
)
_LOCATION = "$message.header#/correlation_id"
_CORRELATIONS = {
    "attempt": {
        "description": "property `correlation_id`, `<deployment id>.<attempt number>`: of all of an attempt",
        "location": _LOCATION,
    },
    "question": {
        "description": "property `correlation_id` of the question, which the answer has too",
        "location": _LOCATION,
    },
}
#: messages that belong to no attempt.
_QUESTIONS = ("job", "job-answer", "ping", "pong")
_PARAMETERS = {
    "command": "what the playbook writes before the colon",
    "domain": "where the worker stands",
    "transport": "email, webhook, irc or one of yours",
}

#: message -> (title, what it is); its payload is the schema of its name, and so are its headers, if any.
_MESSAGES: dict[str, tuple[str, str]] = {
    "step": ("Step", "One step on one host. `message_id` is unique per attempt, `delivery_mode` is 2."),
    "reply": ("Reply, level 2", "How an attempt stands: one `started`, any number of `running`, one final."),
    "reply-level-1": ("Reply, level 1", "One `started`, then `completed` or `failed`."),
    "output": ("Line of output", "A line for the log of the deployment."),
    "notification": ("Notification", "Text for people."),
    "job": ("Job request", "Start a deployment of a stored playbook."),
    "job-answer": ("Answer to a job request", "The id of the deployment, or why there is none."),
    "cancel": ("Cancel", "Stop this attempt, or refuse it when it comes."),
    "order": ("Pause or resume", "Take no new steps, or take them again; all workers of the type."),
    "ping": ("Ping", "Who is there? The body is empty, or anything."),
    "pong": ("Answer to a ping", "Who a worker is, and how it stands."),
}


def document() -> dict[str, Any]:
    """Return the AsyncAPI document; every reference is to something in it."""
    return {
        "asyncapi": ASYNCAPI,
        "info": {
            "title": "reworker",
            "version": __version__,
            "description": _ABOUT,
            "license": _LICENSE,
        },
        "defaultContentType": "application/json",
        "channels": _channels(),
        "operations": _operations(),
        "components": {
            "messages": {name: _message(name) for name in _MESSAGES},
            "schemas": _schemas(),
            "correlationIds": _CORRELATIONS,
        },
    }


def _channels() -> dict[str, Any]:
    step = names.step_key("{command}")
    replies = "The queue that `reply_to` names, by way of the default exchange"
    return {
        "steps": _routed(step, names.EXCHANGE, "Steps of a command.", "step"),
        "domainSteps": _routed(
            names.step_key("{command}", "{domain}"),
            names.EXCHANGE,
            "Steps of a command for the workers of a domain.",
            "step",
        ),
        "replies": _answered(f"{replies}: `{names.REPLY_QUEUE}` of a core.", "reply", "reply-level-1"),
        "output": _routed(names.OUTPUT_KEY, names.EXCHANGE, "Lines of output.", "output"),
        "notifications": _routed(
            names.notify_key("{transport}"), names.EXCHANGE, "Notifications for people.", "notification"
        ),
        "cancels": _control("cancel.{command}", "Attempts to stop.", "cancel"),
        "pauses": _control("pause.{command}", "Orders to take no new steps.", "order"),
        "resumes": _control("resume.{command}", "Orders to take new steps again.", "order"),
        "pings": _control(names.PING_KEY, "Questions who is there.", "ping"),
        "pongs": _answered(f"{replies} of the ping.", "pong"),
        "jobs": _routed(
            names.JOB_KEY, names.EXCHANGE, f"Job requests; the core's queue is `{names.JOB_QUEUE}`.", "job"
        ),
        "jobAnswers": _answered(f"{replies} of the request.", "job-answer"),
    }


def _routed(address: str, exchange: str, description: str, message: str) -> dict[str, Any]:
    """Return a channel whose address is a routing key of a durable topic exchange of ours."""
    parameters = {
        name: {"description": text} for name, text in _PARAMETERS.items() if f"{{{name}}}" in address
    }
    made = {"name": exchange, "type": "topic", "durable": True, "autoDelete": False}
    binding = {"is": "routingKey", "exchange": made, "bindingVersion": BINDING}
    return {
        "address": address,
        "description": description,
        "messages": {message: {"$ref": f"#/components/messages/{message}"}},
        **({"parameters": parameters} if parameters else {}),
        "bindings": {"amqp": binding},
    }


def _control(address: str, description: str, message: str) -> dict[str, Any]:
    text = f"{description} Each worker process binds an exclusive queue of its own."
    return _routed(address, names.CONTROL_EXCHANGE, text, message)


def _answered(description: str, *messages: str) -> dict[str, Any]:
    """Return a channel whose address whoever asks has said."""
    found = {name: {"$ref": f"#/components/messages/{name}"} for name in messages}
    return {"address": None, "description": description, "messages": found}


def _operations() -> dict[str, Any]:
    take = {"amqp": {"ack": True, "bindingVersion": BINDING}}
    send = {"amqp": {"deliveryMode": 2, "mandatory": True, "bindingVersion": BINDING}}
    step_reply = _reply("replies", "reply", "reply-level-1")
    return {
        "runStep": _operation("receive", "steps", "Run a step", take, step_reply),
        "runDomainStep": _operation("receive", "domainSteps", "Run a step of a domain", take, step_reply),
        "sendOutput": _operation("send", "output", "Send a line of output", send),
        "sendNotification": _operation("send", "notifications", "Tell people", send),
        "cancel": _operation("receive", "cancels", "Stop an attempt", take),
        "pause": _operation("receive", "pauses", "Take no new steps", take),
        "resume": _operation("receive", "resumes", "Take new steps again", take),
        "answerPing": _operation("receive", "pings", "Say who is there", take, _reply("pongs", "pong")),
        "requestDeployment": _operation(
            "send", "jobs", "Start a deployment", send, _reply("jobAnswers", "job-answer")
        ),
    }


def _operation(
    action: str, channel: str, summary: str, bindings: dict[str, Any], reply: dict[str, Any] | None = None
) -> dict[str, Any]:
    found = {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "summary": summary,
        "bindings": bindings,
    }
    return found if reply is None else {**found, "reply": reply}


def _reply(channel: str, *messages: str) -> dict[str, Any]:
    return {
        "address": {"description": "property `reply_to`", "location": "$message.header#/reply_to"},
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in messages],
    }


def _message(name: str) -> dict[str, Any]:
    title, summary = _MESSAGES[name]
    found: dict[str, Any] = {"name": name, "title": title, "summary": summary}
    if name in HEADERS:
        found["headers"] = {"$ref": f"#/components/schemas/{name}-headers"}
    if name != "ping":
        found["payload"] = {"$ref": f"#/components/schemas/{name}"}
        found["examples"] = [_example(name, body) for body in BODIES[name]]
    if name != "order":
        kind = "question" if name in _QUESTIONS else "attempt"
        found["correlationId"] = {"$ref": f"#/components/correlationIds/{kind}"}
    return found


def _example(name: str, body: dict[str, Any]) -> dict[str, Any]:
    return {"headers": HEADERS[name], "payload": body} if name in HEADERS else {"payload": body}


def _schemas() -> dict[str, Any]:
    """Return all schemas side by side: what one defines for itself becomes one of them."""
    found: dict[str, Any] = {}
    for name, schema in message_schemas().items():
        text = json.dumps(schema).replace("#/definitions/", "#/components/schemas/")
        found[name] = json.loads(text)
        found |= found[name].pop("definitions", {})
    return found
