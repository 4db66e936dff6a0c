"""The routing keys of steps, also of one whose domain is chosen when it is published. Pure.

Until then its row has all the domains in its key, with commas between: so a restart keeps them.
"""

from __future__ import annotations

import msgspec

from reworker.fsm.domains import NO_DOMAIN, name_of
from reworker.storage.contract import OutboxRow
from reworker.topology import names

#: between the domains of a row that has a choice; no domain has it in its name.
SEPARATOR = ","


def has_choice(row: OutboxRow) -> bool:
    """Tell whether the domain of a step's message is still to be chosen."""
    return row.kind == "step" and SEPARATOR in row.routing_key


def key_of(command: str, domains: tuple[str, ...]) -> str:
    """Return the routing key of a step; of one that has a choice, what stands in its row for it."""
    if len(domains) > 1:
        return names.step_key(command, SEPARATOR.join(domains))
    return names.step_key(command, name_of(domains[0]) if domains else "")


def keys_of(command: str, domains: tuple[str, ...]) -> tuple[str, ...]:
    """Return the routing keys that a step may be sent with, in the order in which they are tried."""
    return tuple(names.step_key(command, name_of(one)) for one in domains or (NO_DOMAIN,))


def parts_of(key: str) -> tuple[str, list[str]]:
    """Return the command and the domains that `key_of` was given."""
    domains, _, command = key.removeprefix(names.WORKER_PREFIX).rpartition(".")
    return command, domains.split(SEPARATOR)


def routed(row: OutboxRow, domain: str) -> OutboxRow:
    """Return a row whose domain has been chosen; empty is none."""
    command, _ = parts_of(row.routing_key)
    return msgspec.structs.replace(row, routing_key=names.step_key(command, domain))
