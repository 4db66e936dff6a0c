"""A worker host with ten types under load, while its broker restarts, connections are cut and workers die."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from reworker.bus.inspection import queue_counts
from reworker.config import mq_settings
from reworker.core.service import Service
from reworker.fsm.events import Decision
from reworker.fsm.states import AttemptStatus
from reworker.storage.contract import Storage
from reworker.topology.names import worker_queue
from tests.support.chaos_worker import MARKS_VARIABLE, ChaosWorker
from tests.support.processes import Process
from tests.support.proxy import Proxy
from tests.support.rabbitmq import RabbitMQNode
from tests.support.waiting import wait_until

TYPE_COUNT, HOST_COUNT = 10, 4
#: deployments that are open at once.
OPEN_COUNT = 8
#: seconds between two looks, between a broker's return and the next strike, and until all must be over.
LOOK_S, PEACE_S, REST_S = 0.05, 1.0, 120.0
READY_S = 60.0

ROOT = Path(__file__).parents[2]
#: ``siege0`` to ``siege9``, for the host's file.
TYPES = {f"siege{number}": type(f"Siege{number}Worker", (ChaosWorker,), {}) for number in range(TYPE_COUNT)}
globals().update({kind.__name__: kind for kind in TYPES.values()})


def playbook(moments: random.Random) -> str:
    """Return a playbook of steps of six types; each second must not be repeated, and can be looked for."""
    steps = []
    for offset, name in enumerate(moments.sample(sorted(TYPES), 6)):
        label = f"s{offset}"
        seconds = round(0.1 * moments.random(), 3)
        is_idempotent = offset % 2 == 0
        doubt = {"on_unknown": "retry"} if is_idempotent else {"verify": {f"{name}:Look": {"label": label}}}
        deed = {f"{name}:Do": {"label": label, "seconds": seconds}}
        steps.append({**deed, "id": label, "idempotent": is_idempotent, **doubt})
    hosts = moments.sample([f"h{number}" for number in range(OPEN_COUNT * HOST_COUNT)], HOST_COUNT)
    return json.dumps({"group": "siege", "name": "siege", "execution": [{"hosts": hosts, "steps": steps}]})


class Siege:
    """One core, one host of ten worker types, on a broker behind a proxy.

    Args:
        start: starts a process that is killed at the end of the test.
        node: the broker; it is restarted.
        db: URL of the database, and the same opened.
        folder: for files.
        moments: chooses.
    """

    def __init__(
        self,
        start: Callable[..., Process],
        node: RabbitMQNode,
        db: tuple[str, Storage, Service],
        folder: Path,
        moments: random.Random,
    ) -> None:
        self._start, self._node, self._folder, self._moments = start, node, folder, moments
        self._db, self.storage, self.service = db
        self.proxy = Proxy("127.0.0.1", node.port)
        self.url = self.proxy.url(node.url(node.add_vhost()))
        self.marks_file = folder / "marks"
        self.ids: list[str] = []
        self.counts: Counter[str] = Counter()
        self._host: Process | None = None

    def open(self) -> None:
        """Start core and host, and wait until they work."""
        workers = [
            {"worker": f"tests.support.siege:{kind.__name__}", "queue": name} for name, kind in TYPES.items()
        ]
        file = self._folder / "host.yaml"
        file.write_text(json.dumps({"mq": self.url, "workers": workers}))
        core = self._start("-m", "reworker", "core", "--mq", self.url, "--db", self._db)
        core.wait_for_line(" runs on ", READY_S)
        environment = {MARKS_VARIABLE: str(self.marks_file)}
        self._host = self._start(
            "-m", "reworker", "host", "-c", str(file), environment=environment, folder=ROOT
        )
        wait_until(lambda: all(self._consumers().values()), READY_S, "ten workers", poll_s=0.3)

    def _consumers(self) -> dict[str, int]:
        queues = [worker_queue(name) for name in TYPES]
        found = queue_counts(mq_settings(self.url), queues)
        return {one: found[one].consumer_count if one in found else 0 for one in queues}

    def _children(self) -> list[int]:
        """Return the host's processes."""
        assert self._host is not None
        found: list[int] = []
        for file in Path(f"/proc/{self._host.pid}/task").glob("*/children"):
            with suppress(OSError):
                found += [int(one) for one in file.read_text().split()]
        return found

    def run(self, strike_count: int) -> None:
        """Strike so many times in each of three ways under load, then wait until all is over."""
        left = {self._restart: strike_count, self._cut: strike_count, self._kill: strike_count}
        next_strike_s = time.monotonic() + PEACE_S
        while any(left.values()):
            self._submit()
            self._decide()
            if time.monotonic() >= next_strike_s:
                strike = self._moments.choice([one for one, count in left.items() if count])
                left[strike] -= 1
                strike()
                next_strike_s = time.monotonic() + self._moments.uniform(0.1, PEACE_S)
            time.sleep(LOOK_S)
        try:
            wait_until(self._is_over, REST_S, "all deployments to be over", poll_s=LOOK_S)
        except TimeoutError:
            print(dict(self.counts), *self.left_open(), sep="\n")
            raise

    def _is_over(self) -> bool:
        self._decide()
        return not self._open_ids()

    def _decide(self) -> None:
        """Be the person who is asked when a step's message may or may not have reached the broker."""
        for own_id in self._open_ids():
            for attempt in self.service.deployment(own_id).state.attempts:
                if attempt.status is AttemptStatus.UNKNOWN:
                    self.service.decide(own_id, attempt.number, Decision.RETRY, actor="siege")
                    self.counts["decisions"] += 1

    def left_open(self) -> list[str]:
        """Return what is known of the deployments that are not over, for the report of a failure."""
        found = []
        for own_id in self._open_ids():
            state = self.service.deployment(own_id).state
            events = [f"{one.at:%H:%M:%S} {one.kind} {one.data}" for one in self.service.events(own_id)]
            found.append(f"{own_id} {state.status} {state.reason}: {state.attempts} {events[-12:]}")
        return [*found, str(self._consumers())]

    def _open_ids(self) -> list[str]:
        return [one for one in self.ids[-10 * OPEN_COUNT :] if not self.service.deployment(one).is_over]

    def _submit(self) -> None:
        for _ in range(OPEN_COUNT - len(self._open_ids())):
            self.ids.append(self.service.submit(playbook(self._moments), actor="siege"))

    def _restart(self) -> None:
        """Restart the broker, in good order or by `kill -9`."""
        if self._moments.random() < 0.5:
            self._node.stop()
        else:
            self._node.kill()
        self._node.start()
        self.counts["restarts"] += 1

    def _cut(self) -> None:
        self.proxy.cut(is_reset=self._moments.random() < 0.5)
        self.counts["cuts"] += 1

    def _kill(self) -> None:
        if children := self._children():
            with suppress(ProcessLookupError):
                os.kill(self._moments.choice(children), signal.SIGKILL)
                self.counts["kills"] += 1

    def close(self) -> None:
        """Take the proxy away."""
        self.proxy.close()
