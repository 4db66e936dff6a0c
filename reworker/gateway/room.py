"""Room for another task type: how many one token may have, and which type makes way when there is none."""

from __future__ import annotations

from collections.abc import Mapping

from reworker.gateway.contract import TaskType
from reworker.gateway.lane import Lane
from reworker.gateway.settings import GatewaySettings
from reworker.task_errors import NoRoomForType, TooManyTypes


def make_room(
    lanes: dict[str, Lane], kind: TaskType, owner: str, settings: GatewaySettings, now_mono_s: float
) -> Lane | None:
    """See to it that there is room for another type; return the one that made way for it, to be closed.

    The house's lock is held. Workers poll every few seconds: a type for which nobody has for a minute, and of
    which nothing is leased, costs little to take on again.

    Args:
        lanes: by queue.
        kind: that is polled for the first time.
        owner: token of who polls; empty is everybody's, which has no limit of its own.
        settings: have the limits.
        now_mono_s: on the monotonic clock.

    Raises:
        TooManyTypes: the owner has as many as one may.
        NoRoomForType: all are in use.
    """
    is_own_limit = bool(owner) and _count_of(lanes, owner) >= settings.max_types_each
    if not is_own_limit and len(lanes) < settings.max_types:
        return None
    oldest_mono_s = now_mono_s - settings.make_way_s
    idle = [
        one
        for one in lanes.values()
        if one.is_idle_since(oldest_mono_s) and (one.owner == owner or not is_own_limit)
    ]
    if idle:
        return lanes.pop(min(idle, key=_polled_mono_s).queue)
    if is_own_limit:
        raise TooManyTypes(kind.name, settings.max_types_each)
    raise NoRoomForType(kind.name, settings.max_types)


def _count_of(lanes: Mapping[str, Lane], owner: str) -> int:
    return sum(one.owner == owner for one in lanes.values())


def _polled_mono_s(lane: Lane) -> float:
    return lane.last_polled_mono_s
