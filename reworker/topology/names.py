"""Names on the wire, in one place. Source: our protocol; `re`, `worker.*` and `output` are those of 2014."""

from __future__ import annotations

#: topic exchange for steps, output and notifications.
EXCHANGE = "re"
#: topic exchange for cancel, pause and ping.
CONTROL_EXCHANGE = "re.control"
#: stands for the core where a worker type has its suffix.
CORE = "core"
#: where rejected messages go, exchange and queue.
DEAD_EXCHANGE = "re.dead"
DEAD_QUEUE = "re.dead"
#: the core's queues.
REPLY_QUEUE = "re.replies"
OUTPUT_QUEUE = "re.output"
JOB_QUEUE = "recore"
#: routing keys.
JOB_KEY = "job.create"
OUTPUT_KEY = "output"
PING_KEY = "ping"
NOTIFY_PREFIX = "notify."
WORKER_PREFIX = "worker."
#: before the queue's name in that of its marker, which says that somebody polls it over HTTP.
POLLED_PREFIX = f"{EXCHANGE}.polled."
#: seconds for which a marker outlives the last poll; our choice, longer than clients wait between two polls.
POLLED_EXPIRES_S = 15
#: seconds after which the marker of a polled queue is declared anew; well within its life.
POLLED_RENEW_S = 5
#: `reply_to` of messages that want no reply.
NO_REPLY = "log"


def worker_queue(suffix: str, domain: str = "") -> str:
    """Return the queue of a worker type; a domain separates variants of it."""
    return f"{WORKER_PREFIX}{domain}.{suffix}" if domain else f"{WORKER_PREFIX}{suffix}"


def retry_queue(queue: str, delay_s: int) -> str:
    """Return the queue in which messages for `queue` wait before they are tried again."""
    return f"{queue}.retry.{delay_s}s"


def is_retry_queue(name: str, queue: str) -> bool:
    """Tell whether `name` is one of the queues in which messages for `queue` wait."""
    rest = name.removeprefix(f"{queue}.retry.")
    return rest != name and rest.endswith("s") and rest[:-1].isdecimal()


def is_own(queue: str) -> bool:
    """Tell whether a queue is for messages of ours, or of the broker's, by its name."""
    return queue == JOB_QUEUE or queue.startswith((WORKER_PREFIX, f"{EXCHANGE}.", "amq."))


def polled_queue(queue: str) -> str:
    """Return the marker of a queue whose workers poll over HTTP: the broker knows no consumers of it.

    It is a queue with one message in it, which lives as long as a poll counts. That the queue is there says
    nothing: whoever looks at it renews its own expiry, on RabbitMQ.
    """
    return f"{POLLED_PREFIX}{queue}"


def control_queue(suffix: str, own_id: str) -> str:
    """Return the queue by which one worker process gets control messages."""
    return f"{CONTROL_EXCHANGE}.{suffix}.{own_id}"


def step_key(command: str, domain: str = "") -> str:
    """Return the routing key of a step's command; in a domain, of the workers that stand there."""
    return f"{WORKER_PREFIX}{domain}.{command}" if domain else f"{WORKER_PREFIX}{command}"


def queues_of(command: str, domain: str = "") -> tuple[str, ...]:
    """Return the queues that take a command unless their workers are told otherwise; see `commands_of`.

    Most worker types have the longer name, so it comes first.
    """
    return (worker_queue(f"{command}worker", domain), worker_queue(command, domain))


def notify_key(transport: str) -> str:
    """Return the routing key of a notification."""
    return f"{NOTIFY_PREFIX}{transport}"


def commands_of(suffix: str) -> tuple[str, ...]:
    """Return the commands a worker type answers unless it is told otherwise.

    ``megafrobberworker`` answers to its own name and to ``megafrobber``, which is what playbooks say.
    """
    short = suffix.removesuffix("worker")
    return (suffix,) if short in ("", suffix) else (suffix, short)


def step_keys(suffix: str, domain: str = "") -> tuple[str, ...]:
    """Return the keys that the queue of a worker type is bound with unless it is told otherwise."""
    return tuple(step_key(one, domain) for one in commands_of(suffix))


def owes_status(routing_key: str) -> bool:
    """Tell whether a message with this key expects replies; output and notifications do not."""
    return routing_key != OUTPUT_KEY and not routing_key.startswith(NOTIFY_PREFIX)
