"""One system under attack: a core and a worker, which are killed or cut off, again and again.

Only processes that the lane has started are touched. Each strike begins with nothing under way, so that the
n-th passage of a point is the same moment in every run, as far as threads allow.
"""

from __future__ import annotations

import signal
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from reworker.clock import SystemClock
from reworker.core.batch import Applied
from reworker.core.service import Service
from reworker.drill.faults import EXIT_CODE, VARIABLE, Action, points_of
from reworker.drill.frames import FrameFault, FrameProxy, Side
from reworker.drill.lives import Life, Nursery
from reworker.drill.orders import Order, mixed_orders
from reworker.drill.strikes import Blow, Pair
from reworker.drill.truth import (
    OVER,
    Fault,
    Problem,
    attempts_of,
    evidence_of,
    leftovers,
    problems_of,
)
from reworker.drill.worker import MARKS_VARIABLE, ONCE, WORKER, Mark, marks_in
from reworker.errors import DeploymentNotFound
from reworker.fsm.events import Decision
from reworker.fsm.states import AttemptStatus, DeploymentStatus
from reworker.storage.contract import Storage

ROLES = ("core", "worker")
#: a second core on the same database, which is never struck.
PARTNER = "partner"
#: seconds of the core's lease here: so soon is a publish in doubt found.
LEASE_S = 0.5
#: seconds a process stands still: longer than its claims hold.
STILL_S = 2 * LEASE_S
#: seconds for which the second of a pair may go on after the first was struck: perhaps it has nothing to do.
GRACE_S = 0.2
#: seconds for a process to begin its work, and for deployments to end, on a busy day.
READY_S, REST_S = 30.0, 60.0
#: seconds between two looks at the deployments.
LOOK_S = 0.02
#: threads of the worker, so that deployments run side by side.
INSTANCE_COUNT = 3
#: what a role says when it works.
READY_WORDS = {"core": " runs on ", PARTNER: " runs on ", "worker": "consuming "}
ACTOR = "drill"
#: how the names of the drill's cores begin.
OWN_CORES = "drill-"


class Site(msgspec.Struct, frozen=True):
    """Where a lane works.

    Args:
        mq: URL or file of the broker; `core_mq` and `worker_mq` may lead there by another way.
        db: URL of the database.
        folder: for marks and for what the processes say.
        storage: the same database, open.
        service: on it.
    """

    mq: str
    db: str
    folder: Path
    storage: Storage
    service: Service
    core_mq: str = ""
    worker_mq: str = ""


class Lane:
    """A core and a worker that live on a site; belongs to one thread. Close it in the end.

    Args:
        nursery: starts the processes.
        site: where they work.
        name: of the lane, in the names of its hosts.
        has_partner: there is a second core, which has to do all the work of one that is struck.
    """

    def __init__(self, nursery: Nursery, site: Site, name: str, *, has_partner: bool = False) -> None:
        self._nursery, self._site, self._name = nursery, site, name
        self._clock = SystemClock()
        self._roles = (*ROLES, PARTNER) if has_partner else ROLES
        self._lives: dict[str, Life] = {}
        self._marks = site.folder / "marks"
        self._session_count = self._decision_count = 0
        #: every deployment made here.
        self.orders: dict[str, Order] = {}
        #: what was seen to be wrong before the end.
        self.problems: list[Problem] = []

    @property
    def decision_count(self) -> int:
        """How often a person had to be asked."""
        return self._decision_count

    def _start(self, role: str, fault: str = "") -> Life:
        """Start the core or the worker, with or without a fault."""
        site = self._site
        arguments = {
            "core": ["core", "--mq", site.core_mq or site.mq, "--db", site.db],
            PARTNER: ["core", "--mq", site.mq, "--db", site.db],
            "worker": ["worker", WORKER, site.worker_mq or site.mq, "--instances", str(INSTANCE_COUNT)],
        }
        environment = {
            VARIABLE: fault,
            MARKS_VARIABLE: str(self._marks),
            "REWORKER_CORE_LEASE_S": str(LEASE_S),
            "REWORKER_CORE_NAME": f"{OWN_CORES}{role}",
        }
        output = site.folder / f"{role}.log"
        self._lives[role] = self._nursery.start(arguments[role], environment, output)
        return self._lives[role]

    def open(self) -> None:
        """Start all, and wait until all work.

        Raises:
            TimeoutError: one does not; with what it said.
        """
        for role in self._roles:
            self._start(role)
        for role in self._roles:
            self._lives[role].wait_for_word(READY_WORDS[role], READY_S)

    def close(self) -> None:
        """Stop all in good order, once the last messages are out: a cancel may be on its way."""
        until_mono_s = self._clock.mono_s() + REST_S
        while self._site.storage.reader.outbox_count() and self._clock.mono_s() < until_mono_s:
            time.sleep(LOOK_S)
        for role in reversed(self._roles):
            if role in self._lives:
                self._lives[role].stop()

    def kill(self) -> None:
        """Kill what still runs; safe at any time."""
        for life in self._lives.values():
            life.kill()

    def submit(self, note: str) -> list[str]:
        """Start three deployments and return their ids."""
        self._session_count += 1
        orders = mixed_orders(f"{self._name}-{self._session_count}", note=note)
        return [self._submit_order(order) for order in orders]

    def _submit_order(self, order: Order) -> str:
        """Start one deployment and return its id."""
        own_id = self._site.service.submit(order.playbook(), actor=ACTOR, unattended=order.is_unattended)
        self.orders[own_id] = order
        return own_id

    def count_passages(self, role: str) -> dict[str, int]:
        """Return how often each point is passed while three deployments run undisturbed."""
        self._lives[role].kill()
        life = self._start(role, f"{role}.any:0:{Action.COUNT}")
        self.settle(self.submit("counting"))
        lines = life.output.splitlines()
        self._start_again(role)
        return {point: lines.count(f"passed {point}") for point in points_of(role)}

    def _start_again(self, role: str) -> None:
        """Replace a process, without a fault."""
        self._lives[role].kill()
        self._start(role)

    def strike(self, blow: Blow) -> bool:
        """Strike once while three deployments run, see them to their end, and tell whether it hit."""
        life, ids = self._begin(blow)
        is_hit = self._wait_for_blow(life, blow, ids)
        if is_hit and blow.action is Action.STOP:
            time.sleep(STILL_S)  # the fault itself
            life.send_signal(signal.SIGCONT)
        else:
            if self._has_partner_of(blow.role):
                self.settle(ids)
            # also when it was missed: it must not strike in another's turn
            self._start_again(blow.role)
        self.settle(ids)
        return is_hit

    def _begin(self, blow: Blow) -> tuple[Life, list[str]]:
        """Start a process that is going to be struck, and three deployments."""
        self._lives[blow.role].kill()
        if not self._has_partner_of(blow.role):
            ids = self.submit(str(blow))
            return self._start(blow.role, str(blow)), ids
        life = self._start(blow.role, str(blow))
        # else the partner has done everything before this one begins
        life.is_said(READY_WORDS[blow.role], READY_S)
        return life, self.submit(str(blow))

    def _has_partner_of(self, role: str) -> bool:
        return role == "core" and PARTNER in self._roles

    def strike_both(self, pair: Pair) -> bool:
        """Strike core and worker in one session, so that neither is there for a while; see `strike`.

        Each dies at its point. When one has died, and the other does not come to its own soon, it is killed.
        """
        blows = (pair.core, pair.worker)
        for blow in blows:
            self._lives[blow.role].kill()
        ids = self.submit(str(pair))
        lives = [self._start(blow.role, str(blow)) for blow in blows]
        until_mono_s, is_over = self._clock.mono_s() + REST_S, False
        while self._clock.mono_s() < until_mono_s and not is_over:
            is_over = self._are_at_rest(ids)
            if any(life.has_ended(LOOK_S) for life in lives):
                break
        for life in lives:
            life.has_ended(GRACE_S)
        struck_count = sum(self._is_struck(life, blow) for life, blow in zip(lives, blows, strict=True))
        for life in lives:
            life.kill()
        if pair.is_long:
            time.sleep(STILL_S)  # the fault itself
        for blow in blows:
            self._start(blow.role)
        self.settle(ids)
        return struck_count > 0

    def kill_amid(self, role: str, after_s: float) -> bool:
        """Kill a process at a moment, see three deployments to their end, and tell whether they were amid."""
        ids = self.submit(f"{role} killed after {after_s:.3f} s")
        time.sleep(after_s)  # the moment itself
        is_amid = not self._are_at_rest(ids)
        self._start_again(role)
        self.settle(ids)
        return is_amid

    def harm(self, proxy: FrameProxy, fault: FrameFault, victim_count: int) -> bool:
        """Harm the connections behind a proxy while one deployment runs; tell whether it came to that.

        Args:
            proxy: leads to the broker, for the core or the worker of this lane.
            fault: at which frame of a connection, counted from its first.
            victim_count: connections that are harmed: as many as the process has.
        """
        proxy.arm(fault, victim_count)
        self._run_one(str(fault))
        proxy.disarm()
        return proxy.strike_count > 0

    def count_frames(self, proxy: FrameProxy) -> dict[Side, int]:
        """Return the number of the last frame in each direction, from the connect to a deployment's end."""
        proxy.cut_all()
        self._run_one("counting frames")
        return dict(proxy.last_numbers)

    def _run_one(self, note: str) -> None:
        """See one deployment to its end."""
        self._session_count += 1
        hosts = (f"{self._name}-{self._session_count}",)
        order = Order(ONCE, hosts, step_count=2, is_unattended=False, note=note)
        self.settle([self._submit_order(order)])

    def _wait_for_blow(self, life: Life, blow: Blow, ids: Sequence[str]) -> bool:
        """Wait until the process is struck, or until there is nothing left that could bring it about."""
        until_mono_s, is_over = self._clock.mono_s() + REST_S, False
        while self._clock.mono_s() < until_mono_s and not is_over:
            # looked at before the process: some points come after the end of the deployments
            is_over = self._are_at_rest(ids)
            if life.has_ended(LOOK_S):
                break
            if blow.action is Action.STOP and is_still(life.pid):
                return True
        return self._is_struck(life, blow)

    def _is_struck(self, life: Life, blow: Blow) -> bool:
        """Tell whether a process has ended; not as it should is a problem."""
        if life.exit_code not in (None, EXIT_CODE):
            words = life.output[-2000:]
            text = f"untrue: the {blow.role} ended with code {life.exit_code} before {blow}\n{words}"
            self.problems.append(Problem(Fault.UNTRUE, text))
        return life.exit_code is not None

    def _are_at_rest(self, ids: Iterable[str]) -> bool:
        return all(self._status(own_id) in (*OVER, DeploymentStatus.WAITING) for own_id in ids)

    def _status(self, own_id: str) -> str:
        return self._site.storage.reader.deployment(own_id).status

    def settle(self, ids: Sequence[str]) -> None:
        """Wait for the end of deployments; decide, as a person would, to try again what is in doubt."""
        until_mono_s, open_ids = self._clock.mono_s() + REST_S, list(ids)
        while open_ids:
            status = self._status(open_ids[0])
            if status in OVER:
                del open_ids[0]
                continue
            if status == DeploymentStatus.WAITING:
                self._decide(open_ids[0])
            if self._clock.mono_s() > until_mono_s:
                self._note_stuck(open_ids)
                return
            time.sleep(LOOK_S)

    def _decide(self, own_id: str) -> None:
        for row in attempts_of(self._site.service, own_id):
            if row.status == AttemptStatus.UNKNOWN:
                result = self._site.service.decide(own_id, row.number, Decision.RETRY, actor=ACTOR)
                self._decision_count += result.applied is Applied.CHANGED

    def _note_stuck(self, ids: Sequence[str]) -> None:
        words = "\n".join(f"--- {role}\n{life.output[-2000:]}" for role, life in self._lives.items())
        self.problems.append(
            Problem(Fault.STUCK, f"stuck: {', '.join(map(str, ids))} did not end in {REST_S:g} s\n{words}")
        )

    def outcomes(self) -> Counter[str]:
        """Return how many of the deployments made here have which status."""
        return Counter(self._status(own_id) for own_id in self.orders)

    def judge(self) -> list[Problem]:
        """Return everything that is wrong with the deployments made here; call it after `close`."""
        marks: dict[str, list[Mark]] = defaultdict(list)
        for mark in marks_in(self._marks):
            marks[mark.deployment_id].append(mark)
        found = list(self.problems)
        for own_id, order in self.orders.items():
            found += self._judge_one(own_id, order, marks[own_id])
        return found + leftovers(self._site.storage)

    def _judge_one(self, own_id: str, order: Order, marks: list[Mark]) -> list[Problem]:
        site = self._site
        try:
            return problems_of(evidence_of(site.storage, site.service, own_id, order, marks))
        except DeploymentNotFound:
            return [Problem(Fault.LOST, f"lost: deployment {own_id} ({order.note}) has vanished")]


def is_still(pid: int) -> bool:
    """Tell whether a process stands still."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] == "T"
