"""Watches over a daemon while it runs: the endpoint for operators, and what systemd or a host is told."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import ExitStack, contextmanager

from reworker.clock import Clock, SystemClock
from reworker.host.endpoint import Endpoint
from reworker.host.health import STARTING, Probe, Report
from reworker.host.systemd import Announcer, notifier_of

logger = logging.getLogger(__name__)

#: seconds between two looks, and while the process starts, which somebody waits for.
TICK_S, EARLY_TICK_S = 1.0, 0.1


class Vigil:
    """Looks at the state once a second and tells those who asked; a context.

    Args:
        probe: gives the state.
        tellers: called with each report, on the vigil's own thread; must return at once.
    """

    def __init__(self, probe: Probe, tellers: Sequence[Callable[[Report], None]]) -> None:
        self._probe, self._tellers = probe, tellers
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="vigil", daemon=True)

    def __enter__(self) -> Vigil:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        pause_s = 0.0
        while not self._end.wait(pause_s):
            try:
                pause_s = EARLY_TICK_S if self._look().state == STARTING else TICK_S
            except Exception:  # top of the thread; without a sign of life the watchdog ends the process
                logger.exception("the state could not be told")
                pause_s = TICK_S

    def _look(self) -> Report:
        report = self._probe()
        for tell in self._tellers:
            tell(report)
        return report


@contextmanager
def watched(
    probe: Probe,
    address: str,
    *,
    environ: MutableMapping[str, str],
    tellers: Sequence[Callable[[Report], None]] = (),
    clock: Clock | None = None,
) -> Iterator[Announcer | None]:
    """Answer at `address` and tell systemd, for the block; give what speaks to systemd, if that listens.

    Args:
        probe: gives the state.
        address: of the endpoint, see `Endpoint`; empty is none.
        environ: usually ``os.environ``; the variables of systemd are taken out of it.
        tellers: who else is told of each report.
        clock: for the watchdog.

    Raises:
        ConfigError: the endpoint cannot listen at its address.
    """
    notifier = notifier_of(environ)
    announcer = Announcer(notifier, clock or SystemClock()) if notifier is not None else None
    with ExitStack() as stack:
        if address:
            stack.enter_context(Endpoint(address, probe))
        if announcer is not None:
            stack.callback(announcer.stopping)
            tellers = (*tellers, announcer.announce)
        if address or tellers:
            stack.enter_context(Vigil(probe, tellers))
        yield announcer
