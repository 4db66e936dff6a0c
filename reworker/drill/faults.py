"""Points at which a process can be made to die or to stand still, and the wrappers that pass them.

``REWORKER_FAULT=<role>.<point>:<n>[:<action>]`` strikes when the role (core, worker) passes the point for the
n-th time, for example ``core.before-commit:7`` or ``worker.after-ack:1:stop``. Without the variable nothing
of this is in the way of anything.
"""

from __future__ import annotations

import enum
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, cast

from reworker.bus.contract import PUBLISH_DEADLINE_S, Bus, Consumer, Delivery, Outgoing, Published, Verdict
from reworker.errors import ConfigError
from reworker.ledger import Finished, Ledger

if TYPE_CHECKING:
    from reworker.storage.contract import Storage, Unit  # a worker has no database, and would load all of it

#: environment variable that asks for a fault.
VARIABLE = "REWORKER_FAULT"
#: what each role does that is passed twice: just before and just after.
DEEDS = {
    "core": ("commit", "publish", "confirm", "ack"),
    "worker": ("perform", "begin", "end", "ledger", "publish", "confirm", "ack"),
}
MOMENTS = ("before", "after")
#: exit code of a process that a fault has ended: what a shell gives for SIGKILL.
EXIT_CODE = 137
_FORM = re.compile(r"(?P<role>core|worker)\.(?P<point>[a-z-]+):(?P<number>\d{1,9})(:(?P<action>[a-z]+))?")


class Action(enum.StrEnum):
    """What happens at the point."""

    #: the process is gone at once: nothing is flushed, no handler runs.
    KILL = "kill"
    #: it stands still until SIGCONT.
    STOP = "stop"
    #: each passage of any point is written to stderr; nothing else.
    COUNT = "count"


def points_of(role: str) -> tuple[str, ...]:
    """Return the points that a role passes, for example ``before-commit``."""
    return tuple(f"{moment}-{deed}" for deed in DEEDS[role] for moment in MOMENTS)


class Fuse:
    """Counts the passages of one point and strikes at the n-th; any thread.

    Args:
        point: one of `points_of`.
        number: of the passage, from 1.
        action: what to do then.
    """

    def __init__(self, point: str, number: int, action: Action = Action.KILL) -> None:
        self._point, self._number, self._action = point, number, action
        self._count = 0
        self._lock = threading.Lock()

    def reach(self, point: str) -> None:
        """Pass a point, perhaps to the end of this process."""
        if self._action is Action.COUNT:
            os.write(2, f"passed {point}\n".encode())
            return
        if point != self._point:
            return
        with self._lock:
            self._count += 1
            is_struck = self._count == self._number
        if is_struck and self._action is Action.KILL:
            os._exit(EXIT_CODE)
        elif is_struck:
            os.kill(os.getpid(), signal.SIGSTOP)

    @contextmanager
    def around(self, deed: str) -> Iterator[None]:
        """Pass the points before and after a deed."""
        self.reach(f"before-{deed}")
        yield
        self.reach(f"after-{deed}")


def fuse_of(role: str, environ: Mapping[str, str]) -> Fuse | None:
    """Return the fuse that the environment asks for in this role, or None.

    Raises:
        ConfigError: the variable is wrong.
    """
    text = environ.get(VARIABLE, "")
    if not text:
        return None
    found = _FORM.fullmatch(text)
    action = (found["action"] or Action.KILL) if found else ""
    if found is None or action not in list(Action) or not _is_point(found["role"], found["point"], action):
        reason = f"expected role.point:number[:action], found {text!r}; points of a core: "
        raise ConfigError(f"{reason}{', '.join(points_of('core'))}", key=VARIABLE, path="environment")
    if found["role"] != role:
        return None
    return Fuse(found["point"], int(found["number"]), Action(action))


def _is_point(role: str, point: str, action: str) -> bool:
    return point in points_of(role) or (action == Action.COUNT and point == "any")


class _Around:
    """Another object with some of its methods passing points."""

    def __init__(self, inner: Any, fuse: Fuse) -> None:
        self._inner, self._fuse = inner, fuse

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _FaultyBus(_Around):
    """A bus: passes points at each publish, confirm and settling."""

    def publish(
        self,
        message: Outgoing,
        on_done: Callable[[Published], None] | None = None,
        *,
        deadline_s: float = PUBLISH_DEADLINE_S,
    ) -> None:
        def on_confirm(result: Published) -> None:
            with self._fuse.around("confirm"):
                if on_done is not None:
                    on_done(result)

        with self._fuse.around("publish"):
            self._inner.publish(message, on_confirm, deadline_s=deadline_s)

    def consume(
        self, queue: str, on_delivery: Callable[[Delivery], None], **options: float | None
    ) -> Consumer:
        def on_faulty(delivery: Delivery) -> None:
            on_delivery(cast(Delivery, _FaultyDelivery(delivery, self._fuse)))

        found: Consumer = self._inner.consume(queue, on_faulty, **options)
        return found


class _FaultyDelivery(_Around):
    """A delivery: passes points when it is settled."""

    def settle(self, verdict: Verdict) -> None:
        with self._fuse.around("ack"):
            self._inner.settle(verdict)


class _FaultyStorage(_Around):
    """A database: passes points at each COMMIT."""

    def begin(self) -> AbstractContextManager[Unit]:
        return self._begin()

    @contextmanager
    def _begin(self) -> Iterator[Unit]:
        with self._inner.begin() as unit:
            yield unit
            self._fuse.reach("before-commit")
        self._fuse.reach("after-commit")


class _FaultyLedger(_Around):
    """A ledger: passes points when a final reply is remembered."""

    def record(self, key: str, finished: Finished) -> None:
        with self._fuse.around("ledger"):
            self._inner.record(key, finished)


def faulty_bus(bus: Bus, fuse: Fuse | None) -> Bus:
    """Return a bus that passes the points `publish`, `confirm` and `ack`; without a fuse, the same bus."""
    return cast(Bus, _FaultyBus(bus, fuse)) if fuse else bus


def faulty_storage(storage: Storage, fuse: Fuse | None) -> Storage:
    """Return a database that passes the points `commit`; without a fuse, the same database."""
    return cast("Storage", _FaultyStorage(storage, fuse)) if fuse else storage


def faulty_ledger(ledger: Ledger, fuse: Fuse | None) -> Ledger:
    """Return a ledger that passes the points `ledger`; without a fuse, the same ledger."""
    return cast(Ledger, _FaultyLedger(ledger, fuse)) if fuse else ledger


def faulty_worker(worker_cls: Any, fuse: Fuse | None) -> Any:
    """Return a worker class of the same name that passes the points `perform` around the user's code.

    The drill's own worker also says where in its step it is: its method `around` gives `begin` and `end`.
    """
    if fuse is None:
        return worker_cls

    def perform(self: Any, attempt: Any, output: Any) -> None:
        with fuse.around("perform"):
            worker_cls._perform_attempt(self, attempt, output)

    def around(_self: Any, deed: str) -> AbstractContextManager[None]:
        return fuse.around(deed)

    return type(worker_cls.__name__, (worker_cls,), {"_perform_attempt": perform, "around": around})
