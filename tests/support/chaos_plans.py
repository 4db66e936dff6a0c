"""Random playbooks that use every feature, on a few hosts that all of them want."""

from __future__ import annotations

import random
from typing import Any

#: what the playbooks of one run fight for.
HOSTS = tuple(f"h{number}" for number in range(8))
#: settings of the cores: a check before every deployment, an action after it, a trigger, and who is told.
RULES: dict[str, Any] = {
    "pre_deploy_checks": [
        {
            **{"name": "may begin", "command": "chaos", "subcommand": "Do", "idempotent": True},
            **{"parameters": {"label": "check"}, "expect": {"status": "completed"}, "match": "subset"},
        }
    ],
    "post_deploy_actions": [
        {
            **{"name": "say so", "command": "chaos", "subcommand": "Do", "idempotent": True},
            "parameters": {"label": "action"},
        }
    ],
    "phase_notification": {"topic": "notify.irc", "target": ["#release"]},
}


class Writer:
    """Writes playbooks; equal generators write equal ones."""

    def __init__(self, moments: random.Random) -> None:
        self._moments = moments

    def playbook(self) -> dict[str, Any]:
        """Return a playbook."""
        chance = self._chance
        document: dict[str, Any] = {"group": "chaos", "name": "everything", "execution": []}
        for number in range(self._moments.randint(1, 3)):
            document["execution"].append(self._sequence(number))
        if chance(20):
            document["environment"] = "production"
        if chance(8):
            document["locks"] = False
        if chance(8):
            document["timeout"] = self._moments.uniform(0.5, 4)
        if chance(40):
            document["unattended"] = True
        return document

    def _chance(self, percent: int) -> bool:
        return self._moments.uniform(0, 100) < percent

    def _sequence(self, number: int) -> dict[str, Any]:
        hosts = self._moments.sample(HOSTS, self._moments.randint(1, 3))
        found: dict[str, Any] = {
            "id": f"s{number}",
            "hosts": hosts,
            "strategy": {
                "batch": self._moments.choice([1, 2, "50%", "100%"]),
                "max_failures": self._moments.choice([0, 0, 0, 1, "50%"]),
            },
            "notify": {"failed": {"irc": ["#release"]}},
            "steps": [self._step(number, offset) for offset in range(self._moments.randint(2, 4))],
        }
        if self._chance(60):
            found["needs"] = [f"s{one}" for one in range(number) if self._chance(50)]
        return found

    def _step(self, number: int, offset: int) -> dict[str, Any]:
        label = f"s{number}-{offset}"
        if self._chance(10):
            approval = {"text": "good?", "of": self._moments.choice([1, 1, 2]), "expires": 20}
            return {"approval": approval, "id": label}
        found = {
            **self._deed("Do", label, odds=12),
            "id": label,
            "idempotent": self._chance(50),
            **self._doubt(self._chance(30)),
        }
        if found["on_unknown"] == "verify":
            found["verify"] = {"chaos:Look": {"label": label}}
        if self._chance(55):
            is_idempotent = self._chance(50)
            found["rollback"] = self._deed("Undo", label, odds=4)
            found["rollback"] = {
                **found["rollback"],
                "idempotent": is_idempotent,
                **self._doubt(False),
                **self._retry(),
            }
        if offset and self._chance(25):
            other = f"s{number}-{self._moments.randrange(offset)}"
            found["when"] = self._moments.choice([other, f"not {other}"])
        times = self._times()
        if "verify" in found:
            times.pop("timeout", None)  # it would wait for its worker to stop, longer than a round takes
        return {**found, **self._retry(), **times}

    def _deed(self, subcommand: str, label: str, odds: int) -> dict[str, Any]:
        seconds = round(self._moments.choice([0.02, 0.1, 0.4]) * self._moments.random(), 3)
        own_odds = self._moments.choice([0, 0, odds, 2 * odds])
        return {f"chaos:{subcommand}": {"label": label, "seconds": seconds, "odds": own_odds}}

    def _doubt(self, can_verify: bool) -> dict[str, Any]:
        return {"on_unknown": "verify" if can_verify else self._moments.choice(["retry", "ask", "fail"])}

    def _retry(self) -> dict[str, Any]:
        return {"retry": {"attempts": 3, "backoff": 0.1}} if self._chance(45) else {}

    def _times(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self._chance(15):
            found["delay"] = 0.1
        if self._chance(20):
            found["timeout"] = self._moments.choice([0.05, 2])
        if self._chance(15):
            found["queue_timeout"] = 3
        return found
