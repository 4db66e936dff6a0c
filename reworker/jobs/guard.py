"""Stands between a worker and a command it runs, so that the command never outlives the worker.

Run as a script: ``guard.py LEASH PROGRAM ARGUMENT...``, as leader of a session of its own. `LEASH` is the
number of a socket whose other end only the worker holds. When that closes, whatever killed the worker, the
guard kills its group and with it the command. When the command ends, the guard ends in the same way.

It starts with every command, so it imports next to nothing and none of our modules.
"""

from __future__ import annotations

import os
import select
import signal
import sys

#: exit code when the program cannot be started; the leash then carries the number of the error.
NO_START_EXIT_CODE = 127


def main(leash: int, argv: list[str]) -> None:
    """Run a command to its end, or to that of who holds the leash."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    # The group is told to end by a signal that reaches us too; the command gets the default back.
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _noticed)
    pid = _started(leash, argv)
    while True:
        ready, _, _ = select.select([leash, reader], [], [])
        if leash in ready:
            os.killpg(0, signal.SIGKILL)
        os.read(reader, 512)
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            _end_like(os.waitstatus_to_exitcode(status))


def _started(leash: int, argv: list[str]) -> int:
    os.set_inheritable(leash, False)
    try:
        defaults = (signal.SIGPIPE, signal.SIGXFSZ)  # Python ignores them, and that would be inherited
        return os.posix_spawnp(argv[0], argv, _environment(), setsigdef=defaults)
    except OSError as error:
        os.write(leash, str(error.errno).encode())
        os._exit(NO_START_EXIT_CODE)


def _environment() -> dict[bytes, bytes]:
    """Return what we were given: Python adds a locale when there is none."""
    with open("/proc/self/environ", "rb") as file:
        pairs = [entry.partition(b"=") for entry in file.read().split(b"\0") if entry]
    return {name: value for name, _, value in pairs}


def _end_like(code: int) -> None:
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code if code >= 0 else 128 - code)


def _noticed(_number: int, _frame: object) -> None:
    return None


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
