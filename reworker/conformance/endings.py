"""Checks that end a process of the worker: whether a step that it was working on is kept."""

from __future__ import annotations

import os
import signal

from reworker.bus.browse import QueueBrowser
from reworker.config import MqSettings
from reworker.conformance.level_2 import NEEDS_LONG
from reworker.conformance.stand import Answer, Stand, missing, supported, untried
from reworker.conformance.talk import Talk
from reworker.errors import ConfigError
from reworker.messages import StepHeaders

ACK_LAST = "acknowledge a step after the broker has confirmed its final reply"
#: seconds for a process that takes no more steps to end, so that what it has not settled comes back.
GRACE_S = 1.0
GIVE_PID = (
    "give --kill-pid or --stop-pid, the process of a worker that is alone on its queue, and --long-parameters"
)


def killed(stand: Stand, pid: int | None) -> Answer:
    """A step is not acknowledged before it was answered: when its worker is killed, it comes back."""
    if pid is None:
        return untried("give --kill-pid: the process of the worker, which is killed")
    talk = _begin_long(stand, pid, signal.SIGKILL)
    if isinstance(talk, Answer):
        return talk
    found = stand.wait_for_counts(consumers=False)
    if not found.consumer_count:
        stand.returned_count = found.message_count - 1
        if found.message_count:
            return supported("the step was in the queue again when its worker was killed")
    elif stand.wait_for_end(talk, stand.long_wait_s):
        return supported(f"another worker answered it: {talk.summary()}")
    return missing("a step was gone for good when its worker was killed", ACK_LAST)


def stopped(stand: Stand, pid: int | None) -> Answer:
    """A worker that is told to stop finishes what it does."""
    if pid is None:
        return untried("give --stop-pid: the process of the worker, which is stopped by SIGTERM")
    talk = _begin_long(stand, pid, signal.SIGTERM)
    if isinstance(talk, Answer):
        return talk
    stand.wait_for_end(talk, stand.long_wait_s)
    stand.wait_for_counts(consumers=False)
    stand.desk.wait(lambda: False, GRACE_S)
    found = stand.wait_for_counts(consumers=False)
    if talk.end != "completed":
        return missing(talk.summary(), "on SIGTERM take no more steps, finish what runs, then end")
    if found.consumer_count:
        return missing(
            "it goes on after SIGTERM", "on SIGTERM take no more steps, finish what runs, then end"
        )
    stand.returned_count = found.message_count
    return supported(f"{talk.summary()}, then it was gone")


def acknowledged(stand: Stand) -> Answer:
    """What was answered does not come back when the worker has gone."""
    if stand.returned_count is None:
        return untried(GIVE_PID)
    if stand.returned_count > 0:
        seen = f"{stand.returned_count} messages came back that had been answered"
        return missing(seen, "acknowledge each message once its final reply was sent")
    return supported("nothing that had been answered came back")


def _begin_long(stand: Stand, pid: int, number: signal.Signals) -> Talk | Answer:
    """Send a long step, and the signal once it was begun."""
    if stand.orders.long is None:
        return untried(NEEDS_LONG)
    talk = stand.send(stand.orders.long, StepHeaders())
    stand.doubled.add(talk.own_id)
    if not stand.wait_for_start(talk):
        return missing(talk.summary(), "send started before the work begins")
    send_signal(pid, number)
    return talk


def send_signal(pid: int, number: int) -> None:
    """Send a signal to the worker's process; 0 only asks whether that could be done.

    Raises:
        ConfigError: there is no such process, or it is not ours.
    """
    try:
        os.kill(pid, number)
    except OSError as error:
        text = (
            f"no signal reaches process {pid}: {error.strerror}; give a process of this machine that is yours"
        )
        raise ConfigError(text, key="--kill-pid, --stop-pid") from error


def withdraw(settings: MqSettings, queue: str, own_ids: set[str]) -> int:
    """Take steps of the kit out of a queue, lest a later worker runs them; return how many there were."""
    count = 0
    with QueueBrowser(settings, queue) as look:
        for found in look.messages(look.ready_count):
            if found.properties.correlation_id in own_ids:
                look.remove(found)
                count += 1
    return count
