"""What a daemon tells systemd: that it is ready, what it does, that it lives. Without systemd, nothing.

Source: sd_notify(3), sd_watchdog_enabled(3).
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import MutableMapping

from reworker.clock import Clock
from reworker.host.health import STARTING, Report

logger = logging.getLogger(__name__)

SOCKET_VARIABLE, PERIOD_VARIABLE, PID_VARIABLE = "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"
#: states in which a process will not come back to work.
ENDING = ("draining", "stopped")
#: characters of a status line.
STATUS_CHARACTERS = 200


class Notifier:
    """Sends datagrams to the socket that systemd listens on; a failure is logged once and changes nothing.

    Args:
        address: path, or ``@NAME`` for a socket in the abstract namespace.
        watchdog_s: seconds in which systemd wants a sign of life; 0 is none.
    """

    def __init__(self, address: str, watchdog_s: float = 0.0) -> None:
        self.watchdog_s = watchdog_s
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._has_failed = False

    def tell(self, *words: str) -> None:
        """Send assignments such as ``READY=1``, in one datagram."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)
                sender.sendto("\n".join(words).encode(), self._address)
        except (OSError, ValueError) as error:
            if not self._has_failed:
                logger.warning("systemd cannot be told %s: %s", words[0], error)
            self._has_failed = True


def notifier_of(environ: MutableMapping[str, str]) -> Notifier | None:
    """Return what speaks to the systemd that started this process, or None when none wants to hear.

    The variables are removed: a program that a job starts must not speak in our name.
    """
    address = environ.pop(SOCKET_VARIABLE, "")
    period, pid = environ.pop(PERIOD_VARIABLE, ""), environ.pop(PID_VARIABLE, "")
    if not address.startswith(("/", "@")):
        return None
    is_for_us = not pid or pid == str(os.getpid())
    is_number = period.isascii() and period.isdigit()
    return Notifier(address, int(period) / 1e6 if is_for_us and is_number else 0.0)


class Announcer:
    """Tells systemd what changes from one report to the next, and that the process lives.

    The watchdog gets its sign twice in each period, but not while a report says that a new start would help.

    Args:
        notifier: sends.
        clock: for the watchdog.
    """

    def __init__(self, notifier: Notifier, clock: Clock) -> None:
        self._notifier, self._clock = notifier, clock
        self._is_ready = self._is_stopping = False
        self._status = ""
        self._fed_mono_s = float("-inf")

    def announce(self, report: Report) -> None:
        """Tell what is new in a report."""
        words = []
        if not self._is_ready and report.state != STARTING and report.is_alive:
            self._is_ready = True
            words.append("READY=1")
        if not self._is_stopping and report.state in ENDING:
            self._is_stopping = True
            words.append("STOPPING=1")
        status = "; ".join(report.reasons())[:STATUS_CHARACTERS] or report.state
        if status != self._status:
            self._status = status
            words.append(f"STATUS={' '.join(status.split())}")
        if self._is_feeding_time() and report.is_alive:
            self._fed_mono_s = self._clock.mono_s()
            words.append("WATCHDOG=1")
        if words:
            self._notifier.tell(*words)

    def _is_feeding_time(self) -> bool:
        period_s = self._notifier.watchdog_s
        return period_s > 0 and self._clock.mono_s() - self._fed_mono_s >= period_s / 2

    def on_reload(self, is_begun: bool) -> None:
        """Tell that settings begin to be read again, or that this is over."""
        if is_begun:
            self._notifier.tell("RELOADING=1", f"MONOTONIC_USEC={int(self._clock.mono_s() * 1e6)}")
        else:
            self._notifier.tell("READY=1", f"STATUS={self._status}")

    def stopping(self) -> None:
        """Tell that the end has begun, unless that is known."""
        if not self._is_stopping:
            self._is_stopping = True
            self._notifier.tell("STOPPING=1")
