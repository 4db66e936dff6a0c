"""A real I/O thread that is held up, or has ended, is noticed from outside."""

from __future__ import annotations

import threading

from reworker.broker.server import BrokerThread
from reworker.bus.connection import PikaBus
from reworker.config import mq_settings
from tests.support.beds import PATIENCE_S, TOPOLOGY, outgoing
from tests.support.waiting import wait_until


def test_thread_that_is_held_up_is_noticed_and_so_is_its_return(
    broker: BrokerThread, broker_url: str
) -> None:
    bus = PikaBus(mq_settings(broker_url))
    bus.open(timeout_s=PATIENCE_S)
    bus.declare(TOPOLOGY)
    wait_until(lambda: bus.health().lag_s == 0)
    end, begun = threading.Event(), threading.Event()

    def hold_up(_result: object) -> None:
        begun.set()
        end.wait(PATIENCE_S)

    bus.publish(outgoing(), hold_up)
    assert begun.wait(PATIENCE_S)
    wait_until(lambda: bus.health().lag_s > 0.5, PATIENCE_S)
    end.set()
    wait_until(lambda: bus.health().lag_s == 0, PATIENCE_S)
    bus.close()
    assert bus.health().lag_s == 0, "who has ended in good order owes nothing"
