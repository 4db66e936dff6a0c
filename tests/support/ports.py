"""Free TCP ports on the loopback address, for servers that tests start.

A port belongs to the process that it was given to, for as long as that lives: no other session of tests on
this machine gets it, neither before its server binds it, nor while that is down to be started again, nor when
nobody is to listen there at all.
"""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path

#: below Linux's ephemeral range, so that no outgoing connection takes a port
#: between the moment it is chosen and the moment the server binds it.
PORT_RANGE = range(20_000, 32_000)

# Not the shared generator: pytest-randomly seeds that one, and two sessions
# with one seed on one machine would then fight for the same ports.
_choice = random.SystemRandom()

#: a byte of this file is locked for each port that is taken; the kernel ends the locks with their process,
#: and a child does not inherit them.
_LOCKS = Path(tempfile.gettempdir()) / f"reworker-test-ports-{os.getuid()}"
_locks = os.open(_LOCKS, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
_taken: set[int] = set()


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on right now, and no other test is given."""
    for _ in range(100):
        port = _choice.choice(PORT_RANGE)
        if _take(port) and is_free(port):
            return port
    raise OSError(f"no free port in {PORT_RANGE} after 100 attempts")


def _take(port: int) -> bool:
    """Lock a port for this process; tell whether it was nobody's."""
    if port in _taken:  # a process may lock a byte again that it has locked
        return False
    try:
        fcntl.lockf(_locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    _taken.add(port)
    return True


def is_free(port: int) -> bool:
    """Tell whether 127.0.0.1:port can be bound."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
