"""Listeners that speak TLS: of the embedded broker, and of a RabbitMQ that runs already."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator
from pathlib import Path

from reworker.broker.server import BrokerThread
from tests.support.authority import Signed
from tests.support.ports import free_port
from tests.support.rabbitmq import RabbitMQNode


@contextlib.contextmanager
def embedded_listener(own: Signed, clients: Path | None = None, port: int = 0) -> Iterator[int]:
    """Run an embedded broker that speaks only TLS; give its port.

    Args:
        own: its certificate.
        clients: file of the authority whose certificates it wants from clients; None wants none.
        port: to listen on; 0 takes a free one.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own.cert, own.key)
    if clients is not None:
        context.load_verify_locations(clients)
        context.verify_mode = ssl.CERT_REQUIRED
    with BrokerThread(port=port or free_port(), tls=context) as broker:
        yield broker.port


@contextlib.contextmanager
def rabbitmq_listener(node: RabbitMQNode, own: Signed, clients: Path | None = None) -> Iterator[int]:
    """Have a running node listen on one more port, with TLS; give the port. See `embedded_listener`."""
    port = free_port()
    wants = (
        f'{{cacertfile,"{node.lend(clients)}"}},{{verify,verify_peer}},{{fail_if_no_peer_cert,true}},'
        if clients
        else ""
    )
    options = f'[{wants}{{certfile,"{node.lend(own.cert)}"}},{{keyfile,"{node.lend(own.key)}"}}]'
    place = f'{{"127.0.0.1",{port}}}'
    start = f"rabbit_networking:start_ssl_listener({place}, {options}, 2)"
    node.evaluate(f"rabbit_networking:ensure_ssl(), {start}")
    try:
        yield port
    finally:
        node.evaluate(f"rabbit_networking:stop_tcp_listener({{{{127,0,0,1}},{port}}})")
