"""Runs processes and keeps them running: starts, replaces, drains and ends them. One thread, no locks."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType
from typing import Any

from reworker.clock import Clock
from reworker.host.child import HANDLED, fork
from reworker.host.children import Children
from reworker.host.ears import Ears
from reworker.host.slot import Phase, Slot
from reworker.host.wire import ReportPipe
from reworker.pool.states import REPLACE_EXIT_CODE

logger = logging.getLogger("reworker.host")

#: seconds of one wait at most; and off the main thread, where no signal ends it.
QUIET_S, LOOK_S = 60.0, 0.2
#: signals that are handed on to all processes.
PASSED_ON = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
#: seconds that processes have after a second word to stop; they leave at once.
AT_ONCE_S = 1.0
#: exit code after a second SIGTERM or SIGINT, and when a process did not end well.
AT_ONCE_EXIT_CODE = 1

#: what a process does: gets the number of the pipe that its reports go to, returns its exit code.
Work = Callable[[int], int]


class Supervisor:
    """Keeps one process in each slot until told to stop.

    Duties: start them all; start again, after a pause, what has ended; drain and replace what says of itself
    that it has to be started anew; at a stop drain all side by side, and kill what is late.
    Threads: `run` belongs to one, the main thread with signals; `request_stop` to any, and to handlers.
    End of life: after `run` it cannot be used again.

    Args:
        work: what to run in each slot.
        children: is told what each process says of itself.
        clock: for pauses and drains.
        may_pass_on: asked before a signal is handed on; False keeps it.
    """

    def __init__(
        self,
        work: Mapping[Slot, Work],
        children: Children,
        clock: Clock,
        *,
        may_pass_on: Callable[[signal.Signals], bool] = lambda _number: True,
    ) -> None:
        self._work, self._children, self._clock = dict(work), children, clock
        self._may_pass_on = may_pass_on
        self._ears = Ears()
        self._states: dict[Slot, str] = {}
        self._has_failed = False
        self._stop_count = self._stops_done = 0
        self._to_pass_on: list[signal.Signals] = []

    def run(self) -> int:
        """Keep the processes running until told to stop, and drain them; return the exit code.

        0 is a clean stop; 1 is one at once, or with a process that did not end well.
        """
        self._ears.open()
        try:
            with self._signals():
                while not all(slot.phase is Phase.STOPPED for slot in self._work):
                    self._turn()
        finally:
            self._close()
        return AT_ONCE_EXIT_CODE if self._has_failed or self._stops_done > 1 else 0

    def request_stop(self) -> None:
        """Make `run` drain and return; at once when called again. Any thread, also in a signal handler."""
        self._stop_count += 1
        self._ears.wake()

    def start(self) -> None:
        """Start what is due; `run` does so too, and watches over it."""
        self._ears.open()
        for slot, work in self._work.items():
            if slot.is_due(self._clock.mono_s()):
                self._start(slot, work)

    def _turn(self) -> None:
        self.start()
        self._wait()
        self._reap()
        while self._stops_done < self._stop_count:
            self._stops_done += 1
            self._stop()
        while self._to_pass_on:
            self._pass_on(self._to_pass_on.pop(0))
        for slot in self._work:
            if slot.is_overdue(self._clock.mono_s()):
                self._press(slot)

    def _press(self, slot: Slot) -> None:
        """Have an end be made of a process that is overdue."""
        if slot.is_mute:
            self._replace(slot, "a job has closed its descriptors")
            return
        logger.warning("%s: killed: its drain took too long", slot.name)
        slot.due_mono_s = float("inf")
        self._send(slot, signal.SIGKILL)

    def _replace(self, slot: Slot, reason: str) -> None:
        if slot.replace(self._clock.mono_s()):
            logger.warning("%s: is replaced: %s", slot.name, reason)
            self._send(slot, signal.SIGTERM)

    def _start(self, slot: Slot, work: Work) -> None:
        pipe: ReportPipe | None = None
        try:
            pipe = ReportPipe()
            writing = pipe.writing
            pid = fork(lambda: work(writing), [pipe.reading, *self._ears.descriptors()])
        except OSError as error:
            if pipe is not None:
                pipe.close()
            self._children.expect(slot.name)  # until it is there, something is missing
            pause_s = slot.failed(self._clock.mono_s())
            logger.error("%s: cannot be started: %s; again in %.1f s", slot.name, error, pause_s)
            return
        pipe.close_writing()
        slot.started(pid, self._clock.mono_s())
        self._ears.add(slot, pipe)
        self._children.expect(slot.name)
        self._note(slot, f"started as process {pid}")

    def _wait(self) -> None:
        now = self._clock.mono_s()
        look_s = QUIET_S if threading.current_thread() is threading.main_thread() else LOOK_S
        due = [slot.due_mono_s for slot in self._work if slot.phase is not Phase.STOPPED]
        for slot in self._ears.wait(min([now + look_s, *due]) - now):
            self._hear(slot)

    def _hear(self, slot: Slot) -> None:
        pipe = self._ears.pipes[slot]
        for report in pipe.reports():
            self._children.take(slot.name, report)
            if report.drain_s is not None:  # it may have read its settings again
                slot.drain_s = report.drain_s
            if report.dead:
                self._replace(slot, "; ".join(report.dead))
            if self._states.get(slot) != report.state:
                self._states[slot] = report.state
                self._note(slot, report.state)
        if pipe.is_at_end:
            self._ears.drop(slot)
            slot.mute(self._clock.mono_s())

    def _reap(self) -> None:
        for slot in self._work:
            if not slot.pid:
                continue
            with contextlib.suppress(ChildProcessError):
                pid, status = os.waitpid(slot.pid, os.WNOHANG)
                if pid:
                    self._ended(slot, os.waitstatus_to_exitcode(status))

    def _ended(self, slot: Slot, code: int) -> None:
        if slot in self._ears.pipes:
            self._hear(slot)
        self._ears.drop(slot)  # something that it has started may hold the other end
        self._states.pop(slot, None)
        # ended while it started, before it knew of signals
        was_draining = slot.phase is Phase.DRAINING
        self._has_failed |= was_draining and code not in (0, -signal.SIGTERM)
        is_well = code in (0, REPLACE_EXIT_CODE) or was_draining
        text = slot.ended(code, self._clock.mono_s())
        logger.log(logging.INFO if is_well else logging.WARNING, "%s: %s", slot.name, text)
        if slot.phase is Phase.WAITING:
            self._children.expect(slot.name)  # until it is back, something is missing
        else:
            self._children.forget(slot.name)

    def _stop(self) -> None:
        now = self._clock.mono_s()
        if self._stops_done == 1:
            logger.info("stopping: no new work, what runs may end")
            for slot in self._work:
                if slot.stop(now):
                    self._send(slot, signal.SIGTERM)
            return
        logger.warning("stopping at once")
        for slot in self._work:
            if slot.phase is Phase.DRAINING:
                slot.due_mono_s = min(slot.due_mono_s, now + AT_ONCE_S)
                self._send(slot, signal.SIGTERM)

    def _pass_on(self, number: signal.Signals) -> None:
        if self._may_pass_on(number):
            logger.info("%s is passed on to all processes", number.name)
            for slot in self._work:
                self._send(slot, number)

    def _send(self, slot: Slot, number: signal.Signals) -> None:
        if slot.pid:  # not reaped yet, so that the number is still its own
            os.kill(slot.pid, number)

    def _note(self, slot: Slot, what: str) -> None:
        logger.info("%s: %s", slot.name, what)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Handle the process's signals for the block, on the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        old_wakeup = signal.set_wakeup_fd(self._ears.waking, warn_on_full_buffer=False)
        old: dict[int, Any] = {number: signal.signal(number, self._on_signal) for number in HANDLED}
        try:
            yield
        finally:
            signal.set_wakeup_fd(old_wakeup)
            for number, handler in old.items():
                signal.signal(number, handler if handler is not None else signal.SIG_DFL)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        """Inside of a signal handler: only note it, `_turn` follows."""
        if number in (signal.SIGTERM, signal.SIGINT):
            self._stop_count += 1
        elif number in PASSED_ON:
            self._to_pass_on.append(signal.Signals(number))

    def _close(self) -> None:
        """Leave no process behind, also when this ends by an error."""
        for slot in self._work:
            self._send(slot, signal.SIGKILL)
        for slot in self._work:
            if slot.pid:
                os.waitpid(slot.pid, 0)
        self._ears.close()


def names_of(crew: str, count: int) -> Sequence[str]:
    """Return what the processes of one worker type are called."""
    return [crew] if count == 1 else [f"{crew}.{number}" for number in range(1, count + 1)]
