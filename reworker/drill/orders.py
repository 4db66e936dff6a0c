"""What a drill deploys: small playbooks of its own worker, each on hosts of its own."""

from __future__ import annotations

import json
from collections.abc import Sequence

import msgspec

from reworker.drill.worker import AGAIN, ONCE

#: group of the drill's playbooks, by which its deployments are known.
GROUP = "drill"


class Order(msgspec.Struct, frozen=True):
    """One deployment to make, and what has to come of it.

    Args:
        key: its step, `ONCE` or `AGAIN`.
        hosts: names that no other order has, so that none waits for another's lock.
        step_count: steps on each host, one after the other.
        is_unattended: nobody can be asked; a doubt fails it.
        seconds: that each step takes.
        note: what was done to it, for people.
    """

    key: str
    hosts: tuple[str, ...]
    step_count: int = 3
    is_unattended: bool = True
    seconds: float = 0.002
    note: str = ""

    @property
    def is_idempotent(self) -> bool:
        """Tell whether its steps may be repeated."""
        return self.key == AGAIN

    @property
    def places(self) -> list[tuple[str, int]]:
        """Every host and number that a step of it has."""
        return [(host, number) for host in self.hosts for number in range(self.step_count)]

    def playbook(self) -> str:
        """Return the text of its playbook."""
        steps = [
            {self.key: {"number": number, "seconds": self.seconds}, "idempotent": self.is_idempotent}
            for number in range(self.step_count)
        ]
        document = {
            "group": GROUP,
            "name": self.key,
            "execution": [{"hosts": list(self.hosts), "steps": steps}],
        }
        return json.dumps(document)


def mixed_orders(name: str, *, hosts: Sequence[str] = ("a", "b"), **fields: object) -> tuple[Order, ...]:
    """Return three: safe to repeat; not, and nobody to ask; not, with somebody to ask.

    Args:
        name: makes their hosts' names unique.
        hosts: ends of the hosts' names, for each.
        fields: others of `Order`.
    """
    kinds = ((AGAIN, True), (ONCE, True), (ONCE, False))
    return tuple(
        msgspec.convert(
            {
                **fields,
                "key": key,
                "is_unattended": is_unattended,
                "hosts": [f"{name}-{number}-{host}" for host in hosts],
            },
            Order,
        )
        for number, (key, is_unattended) in enumerate(kinds)
    )
