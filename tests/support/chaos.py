"""Cores and workers that are killed at random while people and programs do all that they may do."""

from __future__ import annotations

import json
import random
import signal
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import msgspec

from reworker.cli.drill import PRELOADED, run_command
from reworker.core.resumption import Scope
from reworker.core.service import DeploymentView, Service
from reworker.drill.lives import Life, Nursery
from reworker.errors import NotResumable, StorageUnavailable
from reworker.fsm.deployment import Attempt
from reworker.fsm.events import Decision
from reworker.fsm.states import AttemptStatus, DeploymentStatus
from reworker.storage.contract import Storage
from tests.support.chaos_plans import RULES, Writer
from tests.support.chaos_worker import MARKS_VARIABLE, WORKER

#: seconds of a core's lease; how long one stands still at most, which is longer.
LEASE_S, STILL_S = 0.5, 1.2
#: seconds between two looks, and in which everything has to end when it is left in peace.
LOOK_S, REST_S = 0.03, 75.0
READY_S = 60.0
#: deployments that are open at once.
OPEN_COUNT = 10
_DECISIONS = (Decision.RETRY,) * 5 + (Decision.COMPLETE,) * 2 + (Decision.SKIP, Decision.FAIL)


class Place(msgspec.Struct, frozen=True):
    """Where it all happens: the broker, the database as URL and open, and a folder."""

    mq: str
    db: str
    folder: Path
    storage: Storage
    service: Service


class Chaos:
    """A round of it; everything random comes from `moments`. Close it in the end.

    Args:
        place: where.
        moments: chooses.
        core_count: on the one database.
    """

    def __init__(self, place: Place, moments: random.Random, core_count: int) -> None:
        self._place, self._moments = place, moments
        self._writer = Writer(moments)
        self._nursery = Nursery(run_command, (*PRELOADED, "tests.support.chaos_worker"))
        self._roles = [f"core-{one}" for one in range(core_count)] + ["worker-0", "worker-1"]
        self._lives: dict[str, Life] = {}
        self._still: dict[str, float] = {}
        self._dead: dict[str, float] = {}
        self._resumed: set[str] = set()
        self.ids: list[str] = []
        self.counts: Counter[str] = Counter()
        rules = place.folder / "rules.json"
        rules.write_text(json.dumps(RULES))

    @property
    def marks_file(self) -> Path:
        """What the workers did."""
        return self._place.folder / "marks"

    def open(self) -> None:
        """Start everything and wait until it works."""
        for role in self._roles:
            self._start(role)
        for role in self._roles:
            self._lives[role].wait_for_word("consuming " if "worker" in role else " runs on ", READY_S)

    def _start(self, role: str) -> None:
        place = self._place
        environment = {
            MARKS_VARIABLE: str(self.marks_file),
            "REWORKER_CORE_LEASE_S": str(LEASE_S),
            "REWORKER_CORE_NAME": role,
        }
        arguments = ["worker", WORKER, place.mq, "--instances", "3"]
        if role.startswith("core"):
            rules = str(place.folder / "rules.json")
            arguments = ["core", "--mq", place.mq, "--db", place.db, "-c", rules]
        self._lives[role] = self._nursery.start(arguments, environment, place.folder / f"{role}.log")

    @property
    def strike_count(self) -> int:
        """How often a process was killed or stopped."""
        return sum(count for what, count in self.counts.items() if what.endswith(("killed", "stopped")))

    def run(self, duration_s: float, least_count: float) -> None:
        """Let it happen for so long, then see everything to its end in peace; what is left open is stuck.

        Args:
            duration_s: how long; longer on a busy machine, until
            least_count: strikes have come.
        """
        until_s = time.monotonic() + duration_s
        next_strike_s = time.monotonic() + 0.3
        while time.monotonic() < until_s or self.strike_count < least_count:
            # a core that stands still amid a transaction holds up everybody, who then comes again
            with suppress(StorageUnavailable):
                self._live()
            if time.monotonic() > next_strike_s:
                self._strike()
                next_strike_s = time.monotonic() + self._moments.uniform(0.1, 0.9)
            self._revive(time.monotonic())
            time.sleep(LOOK_S)
        self._revive(float("inf"))
        self._settle()

    def _live(self) -> None:
        """Start what there is room for, and meddle with the others."""
        views = self._open_views()
        if len(views) < OPEN_COUNT:
            self._submit()
        for view in views:
            self._meddle(view)

    def _submit(self) -> None:
        text = json.dumps(self._writer.playbook())
        actor = self._moments.choice(["ann", "bob"])
        self.ids.append(self._place.service.submit(text, actor=actor))

    def _open_views(self) -> list[DeploymentView]:
        found = []
        for own_id in self.ids:
            view = self._place.service.deployment(own_id)
            if not view.is_over:
                found.append(view)
            elif own_id not in self._resumed and self._moments.random() < 0.5:
                self._resume(view)
            self._resumed |= {own_id} if view.is_over else set()
        return found

    def _resume(self, view: DeploymentView) -> None:
        """Go on with one that has failed."""
        if view.state.status is DeploymentStatus.COMPLETED or len(self._resumed) > 400:
            return
        scope = Scope(start="2") if self._moments.random() < 0.2 else Scope()
        try:
            self.ids.append(self._place.service.retry(view.row.id, scope, actor="ann"))
            self.counts["resumed"] += 1
        except NotResumable:
            self.counts["not resumable"] += 1

    def _strike(self) -> None:
        """Kill a process, or let it stand still."""
        role = self._moments.choice(self._roles)
        if role in self._still or role in self._dead:
            return
        is_kill = self._moments.random() < 0.75
        self.counts[f"{role.partition('-')[0]} {'killed' if is_kill else 'stopped'}"] += 1
        if is_kill:
            self._lives[role].kill()
            self._dead[role] = time.monotonic() + self._moments.choice([0, 0, 0.2, 1.5, 4])
        else:
            self._lives[role].send_signal(signal.SIGSTOP)
            self._still[role] = time.monotonic() + self._moments.uniform(0.1, STILL_S)

    def _revive(self, now_s: float) -> None:
        for role, until_s in list(self._still.items()):
            if now_s >= until_s:
                del self._still[role]
                self._lives[role].send_signal(signal.SIGCONT)
        for role, until_s in list(self._dead.items()):
            if now_s >= until_s:
                del self._dead[role]
                self._start(role)

    def _meddle(self, view: DeploymentView) -> None:
        """Do something to an open deployment that a person might do."""
        service, own_id = self._place.service, view.row.id
        self._answer(view, is_hasty=False)
        dice = self._moments.random()
        if view.state.status is DeploymentStatus.PAUSED and dice < 0.1:
            service.resume(own_id)
        elif dice < 0.001:
            service.cancel(own_id, actor="bob", reason="changed my mind")
            self.counts["cancelled"] += 1
        elif dice < 0.003:
            service.pause(own_id)
            self.counts["paused"] += 1

    def _answer(self, view: DeploymentView, *, is_hasty: bool) -> None:
        for attempt in view.state.attempts:
            if attempt.is_for_people and (is_hasty or self._moments.random() < 0.15):
                self._answer_one(view.row.id, attempt)

    def _answer_one(self, own_id: str, attempt: Attempt) -> None:
        service = self._place.service
        if attempt.status is AttemptStatus.UNKNOWN:
            service.decide(own_id, attempt.number, self._moments.choice(_DECISIONS), actor="ann")
            self.counts["decided"] += 1
        elif self._moments.random() < 0.1:
            service.refuse(own_id, attempt.number, actor="bob")
            self.counts["refused"] += 1
        else:
            for actor in ("ann", "cid"):
                service.approve(own_id, attempt.number, actor=actor)
            self.counts["approved"] += 1

    def _settle(self) -> None:
        until_s = time.monotonic() + REST_S
        while views := self._waiting():
            for view in views:
                self._answer(view, is_hasty=True)
                if view.state.status is DeploymentStatus.PAUSED:
                    self._place.service.resume(view.row.id)
            if time.monotonic() > until_s:
                return
            time.sleep(LOOK_S)

    def _waiting(self) -> list[DeploymentView]:
        return [view for view in map(self._place.service.deployment, self.ids) if not view.is_over]

    def words(self) -> str:
        """Return what went wrong in the processes, as they say."""
        found = []
        for role in self._roles:
            lines = (self._place.folder / f"{role}.log").read_text(errors="replace").splitlines()
            found += [f"{role}: {line}" for line in lines if "ERROR" in line or "Traceback" in line][-10:]
        return "\n".join(found)

    def close(self) -> None:
        """Stop everything in good order."""
        for role in reversed(self._roles):
            self._lives[role].stop()

    def kill(self) -> None:
        """Kill what still runs; safe at any time."""
        for life in self._lives.values():
            life.kill()
