"""Checks of level 2: what makes redelivery, cancelling and long steps safe. A worker may do without."""

from __future__ import annotations

from reworker.bus.contract import Outcome
from reworker.conformance.level_1 import well_ended
from reworker.conformance.orders import cancel_message
from reworker.conformance.stand import Answer, Stand, missing, supported, untried
from reworker.messages import StepHeaders

#: seconds between heartbeats that are asked for.
HEARTBEAT_S = 1.0
#: seconds for which a step is too late.
LATE_S = 60.0
#: shorter than this, a long step shows nothing.
SHORTEST_LONG_S = 2 * HEARTBEAT_S
NEEDS_LONG = "give --long-parameters: parameters of a step that takes some seconds, and --long-s, how many"


def completed(stand: Stand) -> Answer:
    """A step of level 2 is started, then completed: its headers harm nobody."""
    return well_ended(stand, stand.ask(stand.orders.good, StepHeaders(heartbeat_s=60.0)))


def message_id(stand: Stand) -> Answer:
    """Replies have ids, so that one that comes again is known."""
    heard = [one for talk in stand.level_2_talks for one in talk.heard]
    if not heard:
        return untried("no reply to a step of level 2 came")
    advice = "give each reply a message_id of its own"
    statuses: dict[str, str] = {}
    for one in heard:
        if not one.message_id:
            return missing(f"{one.status} came without", advice)
        if statuses.setdefault(one.message_id, one.status) != one.status:
            return missing(f"two replies are called {one.message_id!r:.60}", advice)
    return supported(f"{len(statuses)} of {len(heard)} replies have one of their own")


def worker_header(stand: Stand) -> Answer:
    """Replies say which process they are of."""
    found = {one.headers.get("x-worker") for talk in stand.level_2_talks for one in talk.heard}
    if not found:
        return untried("no reply to a step of level 2 came")
    if None in found:
        return missing(
            "replies without the header x-worker", "set x-worker: host and process, such as web1:4711"
        )
    return supported(", ".join(sorted(str(one) for one in found))[:80])


def seq_header(stand: Stand) -> Answer:
    """Replies are numbered within their attempt, from 1."""
    talks = [talk for talk in stand.level_2_talks if talk.heard and talk.own_id not in stand.doubled]
    if not talks:
        return untried("no reply to a step of level 2 came")
    for talk in talks:
        numbers = [str(one.headers.get("x-seq")) for one in talk.heard]
        if numbers != [str(number) for number in range(1, len(numbers) + 1)]:
            advice = "number the replies of each step: the header x-seq is 1, 2, ..."
            return missing(f"of one step: {', '.join(numbers)}"[:120], advice)
    return supported("1, 2, ... in each step")


def redelivery_of_idempotent(stand: Stand) -> Answer:
    """A step that may be repeated is run again."""
    talk = stand.send_redelivered(stand.orders.good, StepHeaders(is_idempotent=True))
    if talk is None:
        return untried("the worker took each message before it could be given back")
    stand.wait_for_end(talk)
    if talk.end == "completed":
        return supported(talk.summary())
    return missing(talk.summary(), "run a redelivered step again when x-idempotent is true")


def redelivery_of_other(stand: Stand) -> Answer:
    """A step that may not be repeated is answered unknown."""
    talk = stand.send_redelivered(stand.orders.good, StepHeaders())
    if talk is None:
        return untried("the worker took each message before it could be given back")
    stand.wait_for_end(talk)
    if talk.end == "unknown" and not talk.started_count:
        return supported(talk.summary())
    advice = (
        "when redelivered is set and x-idempotent is not true, answer unknown, unless it may always run twice"
    )
    return missing(talk.summary(), advice)


def same_twice(stand: Stand) -> Answer:
    """The same message twice runs once."""
    talk = stand.begin(StepHeaders())
    stand.doubled.add(talk.own_id)
    message = stand.message(talk, stand.orders.good, StepHeaders())
    stand.publish(message)
    stand.publish(message)
    stand.wait_for_end(talk)
    next_talk = stand.ask(stand.orders.good)
    advice = "keep the ids of the attempts that have ended, with their final replies, and send those again"
    if talk.started_count > 1:
        return missing(f"it ran {talk.started_count} times", advice)
    if talk.end != "completed" or next_talk.end != "completed":
        return missing(talk.summary(), advice)
    return supported(talk.summary())


def too_late(stand: Stand) -> Answer:
    """A step whose time to begin has passed is not begun."""
    headers = StepHeaders(queue_timeout_s=1.0, not_after_s=stand.clock.now().timestamp() - LATE_S)
    talk = stand.ask(stand.orders.good, headers)
    if talk.end == "cancelled" and not talk.started_count:
        return supported(talk.summary())
    return missing(talk.summary(), "answer cancelled when the time of the header x-not-after has passed")


def heartbeats(stand: Stand) -> Answer:
    """A long step says that it is alive."""
    if reason := _no_long_step(stand):
        return untried(reason)
    headers = StepHeaders(is_idempotent=True, heartbeat_s=HEARTBEAT_S)
    talk = stand.ask(stand.orders.long or {}, headers, wait_s=stand.long_wait_s)
    count = sum(one.status == "running" for one in talk.heard)
    if talk.end != "completed":
        return missing(talk.summary(), "give --long-parameters of a step that ends well")
    if talk.took_s < SHORTEST_LONG_S:
        return untried(f"the long step took only {talk.took_s:.1f} s; {NEEDS_LONG}")
    if not count:
        advice = 'send {"status": "running"} every x-heartbeat-s seconds while a step runs'
        return missing(f"none in {talk.took_s:.1f} s", advice)
    return supported(f"{count} in {talk.took_s:.1f} s")


def deadline(stand: Stand) -> Answer:
    """A step that runs longer than it may is ended."""
    if reason := _no_long_step(stand):
        return untried(reason)
    headers = StepHeaders(is_idempotent=True, deadline_s=1.0)
    talk = stand.ask(stand.orders.long or {}, headers, wait_s=stand.long_wait_s)
    if talk.end in ("failed", "cancelled", "unknown"):
        return supported(talk.summary())
    return missing(
        talk.summary(), "end a step after x-deadline-s seconds and answer failed; the core counts, too"
    )


def cancel(stand: Stand) -> Answer:
    """A step that runs can be stopped."""
    if reason := _no_long_step(stand):
        return untried(reason)
    talk = stand.send(stand.orders.long or {}, StepHeaders(is_idempotent=True))
    if not stand.wait_for_start(talk):
        return missing(talk.summary(), "send started before the work begins")
    result = stand.desk.publish(cancel_message(stand.orders, talk.own_id), deadline_s=stand.timeout_s)
    stand.wait_for_end(talk, stand.long_wait_s)
    advice = f"listen on a queue of your own, bound to re.control with cancel.{stand.orders.command}"
    if result.outcome is Outcome.RETURNED:
        return missing("nobody listens to cancel messages", advice)
    if talk.end != "cancelled":
        return missing(talk.summary(), f"{advice}, and answer cancelled")
    return supported(talk.summary())


def _no_long_step(stand: Stand) -> str:
    """Return why there is none; empty when there is."""
    if stand.orders.long is None:
        return NEEDS_LONG
    if stand.orders.long_s < SHORTEST_LONG_S:
        return f"--long-s is {stand.orders.long_s:g}; at least {SHORTEST_LONG_S:g} are needed"
    return ""
