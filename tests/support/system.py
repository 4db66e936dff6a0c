"""The whole product as processes: a core, workers that leave marks, and the test's side of the database."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from reworker.bus.inspection import queue_counts
from reworker.cli.drill import QUEUES
from reworker.cli.wiring import opened_storage
from reworker.clock import SystemClock
from reworker.config import mq_settings
from reworker.core.service import DeploymentView, Service
from reworker.drill.orders import Order
from reworker.drill.worker import AGAIN, MARKS_VARIABLE, ONCE, WORKER, Mark, marks_in
from reworker.fsm.states import DeploymentStatus
from tests.support.ports import free_port
from tests.support.processes import Process
from tests.support.waiting import wait_until

REPOSITORY = Path(__file__).resolve().parents[2]
#: seconds of the core's lease: a publish in doubt is found this fast.
LEASE_S = 1.0
#: seconds for a process of ours to be ready, on a busy day.
READY_S = 60.0


class System:
    """A core and workers on one broker; any of them may be killed and started again.

    Args:
        start: makes a process that ends with the test (the fixture ``process``).
        url: of the broker; `core_url` and `worker_url` may be set to others that lead there.
        folder: for the database and the file of marks.
        db: URL of the database, instead of a file; `core_db` may be set to another that leads there.
    """

    def __init__(self, start: Callable[..., Process], url: str, folder: Path, db: str = "") -> None:
        self.url = self.core_url = self.worker_url = url
        self.folder = folder
        self.marks_file = folder / "marks"
        self._start = start
        self.core_db = db or f"sqlite:///{folder / 'reworker.db'}"
        self._open = ExitStack()
        self.storage, logs = self._open.enter_context(opened_storage(self.core_db))
        self.service = Service(self.storage, logs, SystemClock())
        self.cores: list[Process] = []
        self.workers: list[Process] = []
        self.orders: dict[str, Order] = {}

    def close(self) -> None:
        """Close the database; processes end with their fixture."""
        self._open.close()

    @property
    def core(self) -> Process:
        """The core that was started last."""
        return self.cores[-1]

    @property
    def worker(self) -> Process:
        """The worker that was started last."""
        return self.workers[-1]

    def start_core(self, **environment: str) -> Process:
        """Start a core; it connects in its own time."""
        self.cores.append(
            self._start(
                *("-m", "reworker", "core", "--mq", self.core_url, "--db", self.core_db),
                environment={**self._environment(), **environment},
            )
        )
        return self.core

    def start_worker(self, name: str = WORKER, *, instances: int = 4, **environment: str) -> Process:
        """Start a worker of `instances` threads; it connects in its own time."""
        self.workers.append(
            self._start(
                *("-m", "reworker", "worker", name, self.worker_url, "--instances", str(instances)),
                environment={**self._environment(), **environment},
            )
        )
        return self.worker

    def run(self, **options: Any) -> None:
        """Start a core and a worker, and wait until both consume."""
        core, worker = self.start_core(), self.start_worker(**options)
        core.wait_for_line("core .* runs on", READY_S)
        worker.wait_for_line("consuming", READY_S)

    @property
    def ids(self) -> list[str]:
        """Every deployment that was started here."""
        return list(self.orders)

    def submit(
        self,
        key: str,
        *,
        unattended: bool = True,
        hosts: Sequence[str] = ("a", "b"),
        step_count: int = 3,
        seconds: float = 0.02,
    ) -> str:
        """Start a deployment of so many steps on each host, one after the other."""
        own_hosts = tuple(f"{len(self.orders)}-{host}" for host in hosts)
        order = Order(key, own_hosts, step_count, unattended, seconds)
        own_id = self.service.submit(order.playbook(), unattended=unattended)
        self.orders[own_id] = order
        return own_id

    def submit_mixed(self, **options: Any) -> tuple[str, ...]:
        """Start three: safe to repeat; not, and nobody to ask; not, with somebody to ask."""
        return (
            self.submit(AGAIN, **options),
            self.submit(ONCE, **options),
            self.submit(ONCE, unattended=False, **options),
        )

    def marks(self) -> list[Mark]:
        """Return what the workers did so far."""
        return marks_in(self.marks_file)

    def wait_for_moment(self, moments: random.Random, ids: Sequence[str], *, within_s: float = 0.03) -> None:
        """Wait until one of the deployments is at a moment that `moments` chooses."""
        chosen = moments.choice(ids)
        count = moments.randint(1, 16)
        wait_until(
            lambda: self._has_come_to(chosen, count), READY_S, f"event {count} of {chosen}", poll_s=0.002
        )
        time.sleep(moments.uniform(0, within_s))  # no wait for anything: the moment itself

    def moving_count(self, ids: Sequence[str]) -> int:
        """Return how many of the deployments are on their way."""
        return sum(not is_at_rest(self.service.deployment(one)) for one in ids)

    def _has_come_to(self, deployment_id: str, event_count: int) -> bool:
        view = self.service.deployment(deployment_id)
        return view.row.last_seq >= event_count or is_at_rest(view)

    def wait_for_rest(self, ids: Collection[str] = (), timeout_s: float = 90.0) -> list[DeploymentView]:
        """Wait until nothing moves any more; return these deployments, or all."""
        wanted = list(ids) or self.ids

        def views() -> list[DeploymentView]:
            return [self.service.deployment(one) for one in wanted]

        try:
            wait_until(lambda: all(map(is_at_rest, views())), timeout_s, poll_s=0.05)
        except TimeoutError as error:
            stuck = [(view.row.id, view.state) for view in views() if not is_at_rest(view)]
            raise TimeoutError(f"{len(stuck)} deployments are stuck: {stuck}\n{self.words()}") from error
        return views()

    def words(self) -> str:
        """Return the end of what the processes said, for the report of a failure."""
        named = {"core": self.cores[-2:], "worker": self.workers[-2:]}
        return "\n".join(
            f"--- {name}\n{one.output[-4000:]}" for name, found in named.items() for one in found
        )

    def stop(self) -> dict[str, int]:
        """Stop worker and core in good order; return how many messages each queue still holds."""
        self._terminate()
        return message_counts(self.url)

    def _terminate(self) -> None:
        for one in (*self.workers, *self.cores):
            assert one.exit_code in (None, 0, -signal.SIGKILL), one.output
            if one.is_running:
                # Before it is ready a signal ends it at once, as any program.
                wait_until(partial(is_ready, one), READY_S, f"{one.arguments} to be ready")
                assert one.terminate() == 0, one.output

    def _environment(self) -> dict[str, str]:
        return {
            "PYTHONPATH": str(REPOSITORY),
            MARKS_VARIABLE: str(self.marks_file),
            "REWORKER_CORE_LEASE_S": str(LEASE_S),
        }


class AllInOne(System):
    """Broker, core and worker as `reworker up` runs them; they live and die together."""

    def __init__(self, start: Callable[..., Process], folder: Path) -> None:
        super().__init__(start, "", folder)

    def start_up(self) -> Process:
        """Start everything, and wait until it is ready."""
        arguments = ("up", "--state", str(self.folder), "--mq-port", "0", "--worker", WORKER)
        self.cores.append(self._start("-m", "reworker", *arguments, environment=self._environment()))
        self.core.wait_for_line("ready", READY_S)
        return self.core

    def stop(self) -> dict[str, int]:
        """Stop it in good order; the queues go with their broker."""
        self._terminate()
        return {}


def is_ready(process: Process) -> bool:
    """Tell whether a core, a worker or `up` has said that it works."""
    return any(word in process.output for word in ("consuming ", " runs on ", "ready: "))


def is_at_rest(view: DeploymentView) -> bool:
    """Tell whether nothing happens before a person acts."""
    return view.is_over or view.state.status is DeploymentStatus.WAITING


def message_counts(url: str) -> dict[str, int]:
    """Return how many messages wait in the queues; those of a client that has gone are back by then."""
    found = queue_counts(mq_settings(url), QUEUES)
    return {name: counts.message_count for name, counts in found.items()}


class BrokerProcess:
    """The embedded broker as a process, with a store, always on the same port.

    Args:
        start: makes a process that ends with the test.
        folder: for the store.
    """

    def __init__(self, start: Callable[..., Process], folder: Path) -> None:
        self._start, self._store = start, folder / "broker.db"
        self._port = free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{self._port}/{quote('/', safe='')}"
        self.process = self.start()

    def start(self) -> Process:
        """Start it and wait until it listens."""
        arguments = ("broker", "--port", str(self._port), "--store", str(self._store))
        self.process = self._start("-m", "reworker", *arguments)
        self.process.wait_for_line("listening on", READY_S)
        return self.process

    def kill_and_start(self) -> None:
        """Kill it as a power cut would, and start it again on what is on the disk."""
        self.process.kill9()
        self.start()
