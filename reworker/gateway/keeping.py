"""What is due about a lease: heartbeats, an early acknowledgement, the end of its time, silence."""

from __future__ import annotations

from functools import partial

from reworker.bus.contract import Outcome, Published, Verdict
from reworker.execution import may_repeat
from reworker.gateway.contract import LateResult
from reworker.gateway.ending import end
from reworker.gateway.lease import Lease, Phase
from reworker.jobs.attempt import Attempt
from reworker.jobs.losses import MAX_LOSSES
from reworker.jobs.returning import (
    DELIVERY_COUNT_HEADER,
    LOST_HEADER,
    UNTIL_HEADER,
    copy_of,
    number_in,
)
from reworker.jobs.trying import until_s
from reworker.messages import NOT_AFTER_HEADER, Reply

#: shortest time between two looks at a lease, seconds.
LOOK_S = 0.05
#: seconds between two tries to acknowledge early: the core has to have heard of the step.
ACK_AGAIN_S = 1.0
#: seconds between two heartbeats of a step whose connection was lost since; see `pool.watch`.
CUT_BEAT_S = 2.0
NEVER = float("inf")


def look_after(lease: Lease) -> None:
    """See to it that what is due about a lease is done at its time, from now on."""
    house = lease.lane.house
    with house.lock:
        if lease.timer is not None:
            lease.timer.cancel()
        if lease.phase not in (Phase.ENDING, Phase.OVER):
            due_mono_s = max(_due_mono_s(lease), house.clock.mono_s() + LOOK_S)
            lease.timer = house.timers.at(due_mono_s, partial(look, lease))


def look(lease: Lease) -> None:
    """Do what is due."""
    now_mono_s, phase = lease.lane.house.clock.mono_s(), lease.phase
    if phase in (Phase.ENDING, Phase.OVER):
        return
    is_with_worker = phase in (Phase.OFFERED, Phase.HELD)
    if now_mono_s >= (lease.end_mono_s or NEVER):
        _end_of_time(lease)
    elif is_with_worker and now_mono_s >= lease.silent_mono_s:
        _expire(lease)
    else:
        if phase is Phase.PARKED and now_mono_s >= lease.again_mono_s:
            lease.lane.offer_again(lease)
        _beat(lease, now_mono_s)
        _ack_early(lease, now_mono_s)
    look_after(lease)


def _due_mono_s(lease: Lease) -> float:
    """Return when something is due next."""
    due = [lease.end_mono_s or NEVER, _beat_mono_s(lease), _ack_mono_s(lease)]
    if lease.phase in (Phase.OFFERED, Phase.HELD):
        due.append(lease.silent_mono_s)
    elif lease.again_mono_s > lease.lane.house.clock.mono_s():
        due.append(lease.again_mono_s)
    now_mono_s = lease.lane.house.clock.mono_s()
    return min(min(due), now_mono_s + lease.response_s)


def _beat_mono_s(lease: Lease) -> float:
    attempt = lease.attempt
    every_s = attempt.headers.heartbeat_s if attempt.headers is not None else None
    if every_s is None:
        return NEVER
    every_s = min(every_s, CUT_BEAT_S) if lease.lane.intake.epoch != lease.began_epoch else every_s
    return (attempt.last_heartbeat_mono_s or attempt.started_mono_s) + every_s


def _beat(lease: Lease, now_mono_s: float) -> None:
    if now_mono_s >= _beat_mono_s(lease) and not lease.attempt.final_status:
        lease.attempt.last_heartbeat_mono_s = now_mono_s
        if lease.is_begun:
            lease.attempt.reply(Reply("running"))


def _ack_mono_s(lease: Lease) -> float:
    within_s = lease.lane.intake.ack_within_s
    return NEVER if within_s is None else lease.delivered_mono_s + within_s


def _ack_early(lease: Lease, now_mono_s: float) -> None:
    within_s = lease.lane.intake.ack_within_s
    if within_s is None or now_mono_s < lease.delivered_mono_s + within_s:
        return
    if lease.attempt.ack_early():
        lease.delivered_mono_s = NEVER
        text = "%s is leased for long and acknowledged, before the broker loses patience"
        lease.lane.house.logger.info(text, lease.attempt.correlation_id)
    else:
        lease.delivered_mono_s = now_mono_s + ACK_AGAIN_S - within_s


def _end_of_time(lease: Lease) -> None:
    if not lease.is_begun:
        lease.lane.give_back(lease)
        return
    lease.lane.house.counts["timed_out"] += 1
    text = f"TIMED_OUT: it had not ended {lease.attempt.timeout_s:g} s after it was handed to a worker"
    end(lease, Reply("failed", message=f"{text}, which was {_holder(lease)} at last"))


def _expire(lease: Lease) -> None:
    """Its worker has been silent for too long."""
    lane, attempt = lease.lane, lease.attempt
    if not lease.is_begun:  # nobody has written the answer
        lane.give_back(lease)
        return
    lane.house.counts["expired"] += 1
    text = f"{_holder(lease)} took it and has said nothing for {lease.response_s:g} s"
    lane.house.logger.warning("%s: %s", attempt.correlation_id, text)
    if attempt.is_cancelled:
        reason = attempt.station.cancellations.reason(attempt.correlation_id) or "no reason given"
        text = f"cancelled ({reason}); {text}; it may have run, in part or whole"
        end(lease, Reply("unknown", reason=text))
    elif not may_repeat(lane.performer, attempt):
        end(lease, Reply("unknown", reason=f"{text}; it may have run, in part or whole"))
    else:
        _send_to_others(lease)


def _send_to_others(lease: Lease) -> None:
    """Put a step whose worker is lost back into its queue, with the loss counted on it."""
    lane, attempt = lease.lane, lease.attempt
    station, delivery = attempt.station, attempt.delivery
    count = max(number_in(delivery, LOST_HEADER), number_in(delivery, DELIVERY_COUNT_HEADER)) + 1
    if count >= MAX_LOSSES:
        text = f"{count} workers took it and were heard of no more"
        attempt.refuse(text)
        end(lease, Reply("failed", message=f"dead-lettered: {text}"))
        return
    with lane.house.lock:
        if lease.phase in (Phase.ENDING, Phase.OVER):
            return
        lane.forget(lease)
        if lane.house.settings.late_result is LateResult.ACCEPT:
            lane.house.late.keep(lease.task_id, lease, len(delivery.body))
    station.open_attempts.pop(attempt.key, None)  # or the copy would be taken for a repetition
    end_s = until_s(attempt)
    changes = {
        LOST_HEADER: count,
        UNTIL_HEADER: None if end_s is None else str(end_s),
        NOT_AFTER_HEADER: None if end_s is None else str(end_s),
    }
    copy = copy_of(delivery, delivery.queue, changes, accepted=station.settings.accept_from)
    station.bus.publish(copy, partial(_on_sent_to_others, attempt))
    lane.note_end()


def _on_sent_to_others(attempt: Attempt, result: Published) -> None:
    if result.outcome is Outcome.CONFIRMED:
        attempt.leave()
    else:
        attempt.decide(Verdict.REQUEUE)
    attempt.finish()


def _holder(lease: Lease) -> str:
    return f"worker {lease.worker_id[:60]}" if lease.worker_id else "a worker"
