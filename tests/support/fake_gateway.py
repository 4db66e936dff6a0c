"""A gateway without a broker: steps come from the test, and what workers say is written down."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from reworker.gateway.contract import (
    CallLater,
    Offer,
    Poll,
    PollData,
    Standing,
    TaskRules,
    TaskType,
    Update,
    Updated,
)
from reworker.gateway.tally import PollTally

#: the deployment of all steps.
DEPLOYMENT = "5" * 24


def offer_of(kind: TaskType, task_id: str, **fields: Any) -> Offer:
    """Return an offer of a step; its parameters and the rest may be given."""
    parameters = fields.pop("parameters", {"command": kind.name, "subcommand": "Do", "speed": 3})
    values: dict[str, Any] = {
        "task_id": task_id,
        "type": kind,
        "attempt_id": f"{DEPLOYMENT}.1",
        "group": "web",
        "parameters": parameters,
        "dynamic": {"color": "red", "speed": 1},
        "message": {"parameters": parameters},
        "poll_count": 1,
        "retry_count": 0,
        "worker_id": "",
        "queued_s": 1000.5,
        "offered_s": 1001.25,
        "updated_s": 1002.0,
        "response_timeout_s": 9.5,
    }
    return Offer(**(values | fields))


class FakePoll:
    """One poll; see `contract.Poll`."""

    def __init__(
        self, owner: FakeGateway, kind: TaskType, worker_id: str, count: int, on_done: Callable[[Poll], None]
    ) -> None:
        self._owner, self.kind, self.worker_id, self.count = owner, kind, worker_id, count
        self._on_done = on_done
        self.offers: Sequence[Offer] = ()
        self.state = "waiting"

    def answer(self, offers: Sequence[Offer]) -> None:
        """Give it these, once."""
        if self.state == "waiting":
            self.state = "answered"
            self.offers = [msgspec.structs.replace(one, worker_id=self.worker_id) for one in offers]
            self._on_done(self)

    def cancel(self) -> None:
        """See `contract.Poll.cancel`."""
        if self.state in ("waiting", "answered"):
            self._owner.queues.setdefault(self.kind, [])[:0] = self.offers
            self.state = "cancelled"

    def written(self) -> None:
        """See `contract.Poll.written`."""
        if self.state == "answered":
            self.state = "written"
            self._owner.leased.update({one.task_id: one for one in self.offers})


class FakeGateway:
    """See `contract.Gateway`; any thread.

    Args:
        standing: how updates of tasks that somebody has are taken, unless they go on.
    """

    def __init__(self, standing: Standing = Standing.DONE) -> None:
        self.standing = standing
        self.queues: dict[TaskType, list[Offer]] = {}
        self.leased: dict[str, Offer] = {}
        self.polls: list[FakePoll] = []
        self.holds_s: list[float] = []
        self.owners: list[str] = []
        self.refusal: Exception | None = None
        self.known: list[PollData] = []
        self.updates: list[Update] = []
        self.extended: list[str] = []
        self.said: list[tuple[str, list[str]]] = []
        self.rules: dict[str, TaskRules | None] = {}
        self.counts: Mapping[str, int] = Counter()
        self.tally = PollTally()
        self._numbers = itertools.count(1)

    def put(self, name: str = "t", domain: str = "", **fields: Any) -> str:
        """Put a step into its queue, or give it to who waits; return its task id."""
        kind = TaskType(name, domain)
        offer = offer_of(kind, fields.pop("task_id", f"m{next(self._numbers)}.1"), **fields)
        for poll in self.polls:
            if poll.state == "waiting" and poll.kind == kind:
                poll.answer([offer])
                return offer.task_id
        self.queues.setdefault(kind, []).append(offer)
        return offer.task_id

    def poll(
        self,
        kind: TaskType,
        worker_id: str,
        on_done: Callable[[Poll], None],
        *,
        count: int,
        hold_s: float,
        owner: str = "",
    ) -> Poll:
        """See `contract.Gateway.poll`."""
        self.owners.append(owner)
        if self.refusal is not None:
            raise self.refusal
        poll = FakePoll(self, kind, worker_id, count, on_done)
        self.polls.append(poll)
        self.holds_s.append(hold_s)
        queue = self.queues.setdefault(kind, [])
        found, queue[:] = queue[:count], queue[count:]
        if found:
            poll.answer(found)
        else:
            timer = threading.Timer(hold_s, poll.answer, ([],))
            timer.daemon = True
            timer.start()
        return poll

    def update(self, update: Update, on_done: Callable[[Updated], None]) -> None:
        """See `contract.Gateway.update`."""
        self.updates.append(update)
        offer = self.leased.get(update.task_id)
        if offer is None:
            on_done(Updated(Standing.DROPPED))
            return
        if isinstance(update.result, CallLater):
            on_done(Updated(Standing.KEPT))
            return
        if self.standing is Standing.UNSENT:
            on_done(Updated(Standing.UNSENT))
            return
        del self.leased[update.task_id]
        queue = self.queues.get(offer.type, [])
        if not update.take_next or not queue:
            on_done(Updated(self.standing))
            return
        poll = FakePoll(self, offer.type, update.worker_id, 1, lambda _: None)
        poll.answer([queue.pop(0)])
        on_done(Updated(self.standing, poll))

    def extend(self, task_id: str) -> bool:
        """See `contract.Gateway.extend`."""
        self.extended.append(task_id)
        return task_id in self.leased

    def say(self, task_id: str, lines: Sequence[str]) -> bool:
        """See `contract.Gateway.say`."""
        self.said.append((task_id, list(lines)))
        return task_id in self.leased

    def find(self, task_id: str) -> Offer | None:
        """See `contract.Gateway.find`."""
        return self.leased.get(task_id)

    def rule(self, name: str, rules: TaskRules | None) -> None:
        """See `contract.Gateway.rule`."""
        self.rules[name] = rules

    def sizes(self, names: Sequence[str]) -> Mapping[str, int]:
        """See `contract.Gateway.sizes`."""
        return {name: sum(len(q) for kind, q in self.queues.items() if kind.name == name) for name in names}

    def pollers(self) -> Sequence[PollData]:
        """See `contract.Gateway.pollers`."""
        return self.known

    def polled(self, name: str | None = None) -> Sequence[PollData]:
        """See `contract.Gateway.polled`."""
        found = {(one.kind, one.worker_id) for one in self.polls if name in (None, one.kind.name)}
        return [PollData(kind, worker_id, 5.5) for kind, worker_id in sorted(found, key=str)]
