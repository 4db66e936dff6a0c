"""Free TCP ports on the loopback address, for servers that tests start."""

from __future__ import annotations

import random
import socket

#: below Linux's ephemeral range, so that no outgoing connection takes a port
#: between the moment it is chosen and the moment the server binds it.
PORT_RANGE = range(20_000, 32_000)

# Not the shared generator: pytest-randomly seeds that one, and two sessions
# with one seed on one machine would then fight for the same ports.
_choice = random.SystemRandom()


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on right now."""
    for _ in range(100):
        port = _choice.choice(PORT_RANGE)
        if is_free(port):
            return port
    raise OSError(f"no free port in {PORT_RANGE} after 100 attempts")


def is_free(port: int) -> bool:
    """Tell whether 127.0.0.1:port can be bound."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
