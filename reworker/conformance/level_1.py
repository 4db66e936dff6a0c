"""Checks of level 1: what a core needs of every worker."""

from __future__ import annotations

from reworker.conformance.orders import largest_body
from reworker.conformance.report import Support
from reworker.conformance.stand import Answer, Stand, missing, supported, untried
from reworker.conformance.talk import Talk

SAY_STARTED = 'send {"status": "started"} before the work begins'
SAY_FINAL = "send one final reply, completed or failed, whatever happens; an exception is a failed"
ADDRESS = "reply by the default exchange to the queue in reply_to, with the step's correlation_id"
GO_ON = (
    "a message that cannot be read must not stop the worker: answer failed if it can be, acknowledge, go on"
)
#: no JSON, however patiently it is read.
BROKEN_BODY = b'{"group": "conformance", "parameters": {"command": '


def consumer(stand: Stand) -> Answer:
    """Somebody reads the queue."""
    found = stand.wait_for_counts(consumers=True)
    if not found.consumer_count:
        return missing(f"nobody reads {stand.orders.queue}", "start the worker, then try again")
    if found.message_count:
        text = f"{found.message_count} messages wait in {stand.orders.queue} already"
        return supported(text, "use a queue that nobody else uses meanwhile")
    return supported(f"{found.consumer_count} of {stand.orders.queue}")


def binding(stand: Stand) -> Answer:
    """The queue gets what the core publishes."""
    if stand.is_routed():
        return supported(f"exchange re, routing key {stand.routing_key}")
    advice = f"bind {stand.orders.queue} to the exchange re with the key {stand.routing_key}"
    return missing(f"no queue gets the routing key {stand.routing_key}", advice)


def completed(stand: Stand) -> Answer:
    """A good step is started, then completed."""
    talk = stand.ask(stand.orders.good)
    stand.is_good_refused = talk.end == "failed"
    if stand.is_good_refused:
        return missing(talk.summary(), "give --parameters of a step that ends well")
    return well_ended(stand, talk)


def well_ended(stand: Stand, talk: Talk) -> Answer:
    """Return whether a step was started, then completed."""
    if talk.statuses[:2] == ["started", "completed"]:
        return supported(talk.summary())
    if not talk.heard:
        return missing(_silence(stand), ADDRESS)
    if not talk.started_count:
        return missing(f"no started: {talk.summary()}", SAY_STARTED)
    return missing(talk.summary(), SAY_FINAL)


def _silence(stand: Stand) -> str:
    text = f"nothing came in {stand.timeout_s:g} s"
    if not stand.desk.strays:
        return text
    return f"{text}, but replies with the correlation_id {stand.desk.strays[0].correlation_id!r:.80}"


def failed(stand: Stand) -> Answer:
    """A step that fails is started, then failed, with words."""
    if stand.orders.fail is None:
        return untried("give --fail-parameters: parameters of a step that fails")
    talk = stand.ask(stand.orders.fail)
    if talk.end == "completed":
        return missing(talk.summary(), "give --fail-parameters of a step that fails")
    if talk.end == "failed" and not talk.started_count:
        return missing(f"no started: {talk.summary()}", SAY_STARTED)
    return _refused(stand, talk)


def bad_parameters(stand: Stand) -> Answer:
    """Wrong parameters are answered failed."""
    if stand.orders.bad is None:
        return untried("give --bad-parameters: parameters that it has to refuse")
    return _refused(stand, stand.ask(stand.orders.bad))


def unknown_subcommand(stand: Stand) -> Answer:
    """A subcommand that there is not is answered failed."""
    return _refused(stand, stand.ask(stand.orders.unknown))


def _refused(stand: Stand, talk: Talk) -> Answer:
    if talk.end != "failed":
        seen = talk.summary() if talk.heard else _silence(stand)
        return missing(seen, 'answer {"status": "failed", "message": "what is wrong"}')
    advice = "" if talk.finals[0].words else "say what is wrong in message"
    return supported(talk.summary(), advice)


def not_json(stand: Stand) -> Answer:
    """A body that is no JSON does not stop the worker."""
    talk = stand.send(BROKEN_BODY)
    answer = _goes_on(stand)
    if answer.support is Support.MISSING:
        return answer
    stand.wait_for_end(talk, min(1.0, stand.timeout_s))
    if talk.end != "failed":
        return supported(f"not answered; {answer.seen}", "answer failed if there is a reply_to")
    return supported(f"{talk.summary()}; {answer.seen}")


def no_reply_to(stand: Stand) -> Answer:
    """A step that nobody waits for does not stop the worker."""
    talk = stand.begin(None)
    stand.publish(stand.message(talk, stand.orders.good, has_reply_to=False))
    return _goes_on(stand)


def _goes_on(stand: Stand) -> Answer:
    talk = stand.ask(stand.orders.good)
    if talk.end != "completed":
        return missing(f"the next step: {talk.summary()}", GO_ON)
    return supported("the next step completed")


def large_step(stand: Stand) -> Answer:
    """A step may have 1 MiB."""
    talk = stand.begin(None)
    body = largest_body(stand.orders, stand.address(talk, None))
    stand.publish(stand.message(talk, body))
    stand.wait_for_end(talk)
    return well_ended(stand, talk)


def output(stand: Stand) -> Answer:
    """Lines of output come under the id of their step."""
    lines = [line for talk in stand.desk.talks.values() for line in talk.lines]
    if lines:
        return supported(f"{len(lines)} lines, the first: {lines[0]:.60}")
    advice = 'publish {"message": "..."} to the exchange re, routing key output, with the correlation_id'
    return missing("no line under the correlation_id of a step", advice)


def redelivery(stand: Stand) -> Answer:
    """A redelivered step is answered, whether it runs again or not."""
    talk = stand.send_redelivered(stand.orders.good, None)
    if talk is None:
        return untried("the worker took each message before it could be given back")
    stand.wait_for_end(talk)
    if talk.end:
        return supported(talk.summary())
    return missing(f"the flag redelivered was set, and {talk.summary()}", SAY_FINAL)


def correlation_id(stand: Stand) -> Answer:
    """Every reply has the correlation id of its step."""
    if stand.desk.strays:
        seen = f"{len(stand.desk.strays)} replies with another: {stand.desk.strays[0].correlation_id!r:.80}"
        return missing(seen, "copy correlation_id from the step's properties to those of each reply")
    count = sum(len(talk.heard) for talk in stand.desk.talks.values())
    if not count:
        return untried("no reply came at all")
    return supported(f"that of the step in all {count} replies")


def app_id(stand: Stand) -> Answer:
    """Replies say which worker they are of."""
    heard = [one for talk in stand.desk.talks.values() for one in talk.heard]
    found = {one.app_id for one in heard}
    if not heard:
        return untried("no reply came at all")
    if None in found:
        return missing("replies without it", "set app_id of each reply to the worker's name")
    return supported(", ".join(sorted(map(str, found))))


def order(stand: Stand) -> Answer:
    """Started comes before the final reply, and nothing after that."""
    for talk in _single(stand):
        if talk.end and talk.started_count and (talk.statuses[0] != "started" or not talk.heard[-1].is_final):
            return missing(
                ", ".join(one.status for one in talk.heard), "send replies in order, on one channel"
            )
    ended = [talk for talk in _single(stand) if talk.end and talk.started_count]
    return (
        supported("started first, the final reply last") if ended else untried("no step was begun and ended")
    )


def one_of_each(stand: Stand) -> Answer:
    """Each step has one started at most and one final reply."""
    for talk in _single(stand):
        if len(talk.finals) > 1 or talk.started_count > 1:
            return missing(talk.summary(), "send one started and one final reply for each step, no more")
    ended = sum(bool(talk.end) for talk in _single(stand))
    return supported(f"in {ended} steps") if ended else untried("no step has ended")


def _single(stand: Stand) -> list[Talk]:
    return [talk for own_id, talk in stand.desk.talks.items() if own_id not in stand.doubled]


def empty_queue(stand: Stand) -> Answer:
    """Nothing of ours is left in the queue."""
    found = stand.wait_for_counts(waiting=0)
    if not found.message_count:
        return supported(f"nothing waits in {stand.orders.queue}")
    advice = "acknowledge every message once its final reply was sent, and do not requeue what cannot be read"
    count = found.message_count
    what = "1 message waits" if count == 1 else f"{count} messages wait"
    return missing(f"{what} in {stand.orders.queue}", advice)
