"""Where deployments are or are to be, and which of them somebody may see. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from reworker.core.principal import Limits, Place, Principal, Scope
from reworker.core.tokens import is_literal
from reworker.fsm.plan import Plan
from reworker.storage.contract import DeploymentFilter, DeploymentRow, PlaceCount

#: who may do something to a deployment may see it.
SEEING = (Scope.READ, Scope.RUN, Scope.CANCEL, Scope.APPROVE)
#: groups or environments that a query names at most; of more, all are read and looked at one by one.
NAMED_COUNT = 500


def place_of(plan: Plan) -> Place:
    """Return where a plan is carried out: group, environment and every host that any step of it is for."""
    hosts = {host: None for one in plan.sequences for host in one.hosts if host}
    return Place(plan.group, plan.environment, tuple(hosts))


def place_of_row(row: DeploymentRow) -> Place:
    """Return where a deployment is, as far as its row says: without its hosts."""
    return Place(row.group, row.environment)


def may_any(who: Principal, scopes: Iterable[Scope], place: Place) -> bool:
    """Tell whether one of these scopes is enough there."""
    return any(who.may(one, place) for one in scopes)


def narrowed(
    wanted: DeploymentFilter, limits: Limits, places: Callable[[], Iterable[PlaceCount]]
) -> DeploymentFilter | None:
    """Return a filter that leaves out most of what limits forbid, and nothing that they allow.

    Args:
        wanted: what was asked for.
        limits: of who asks; its hosts do not matter for seeing.
        places: gives where the deployments that are wanted are, for patterns.

    Returns:
        None when nothing can be left.
    """
    found: list[PlaceCount] = []
    for part in ("groups", "environments"):
        patterns = getattr(limits, part)
        if not patterns:
            continue
        names = getattr(wanted, part)
        if not names and all(map(is_literal, patterns)):
            names = patterns
        if not names:
            found = found or list(places())
            names = tuple({getattr(one, part[:-1]): None for one in found})
        own = Limits(**{part: patterns})
        fitting = tuple(name for name in names if _is_allowed(name, part, own))
        if not fitting:
            return None
        if len(fitting) <= NAMED_COUNT:
            wanted = msgspec.structs.replace(wanted, **{part: fitting})
    return wanted


def _is_allowed(name: str, part: str, limits: Limits) -> bool:
    """Tell whether a name is one that these limits allow, by the one rule there is for that."""
    who = Principal("", "", frozenset({Scope.READ}), limits)
    return who.may(Scope.READ, Place(group=name) if part == "groups" else Place(environment=name))
