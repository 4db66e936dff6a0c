"""Messages that name the user who sends them: the broker vouches for it."""

from __future__ import annotations

from contextlib import closing

import msgspec
import pytest

from reworker.bus.browse import QueueBrowser
from reworker.bus.connection import PikaBus
from reworker.bus.contract import Bus, Outcome, publish_and_wait
from reworker.config import mq_settings
from tests.support.beds import (
    DEAD_QUEUE,
    PATIENCE_S,
    QUEUE,
    TOPOLOGY,
    Bed,
    NetworkBed,
    Outcomes,
    consuming,
    outgoing,
    wait_connected,
)

USER = "guest"


def opened(bus: Bus) -> Bus:
    """Open a bus, and declare the topology."""
    bus.open(timeout_s=PATIENCE_S)
    bus.declare(TOPOLOGY)
    return bus


def test_messages_name_nobody_unless_they_are_told_to(bus: Bus) -> None:
    inbox = consuming(bus)
    publish_and_wait(bus, outgoing())
    assert inbox.wait_for(1)[0].properties.user_id is None
    assert bus.user_id == ""


def test_messages_name_the_user_when_the_bus_is_told_to(bed: Bed) -> None:
    bus = bed.new_bus()
    bus.stamp()
    inbox = consuming(opened(bus))
    publish_and_wait(bus, outgoing(correlation_id="c"))
    properties = inbox.wait_for(1)[0].properties
    assert (properties.user_id, properties.correlation_id) == (USER, "c")
    assert bus.user_id == USER


def test_messages_name_the_user_of_the_settings_from_the_next_connection_on(network_bed: NetworkBed) -> None:
    settings = mq_settings(network_bed.proxy.url(network_bed.url))
    with closing(PikaBus(settings, rand=lambda: 0.0)) as bus:
        inbox = consuming(opened(bus))
        bus.renew(msgspec.structs.replace(settings, stamp_user=USER))
        publish_and_wait(bus, outgoing())
        assert inbox.wait_for(1)[0].properties.user_id is None
        network_bed.cut()
        wait_connected(bus, 1)
        publish_and_wait(bus, outgoing(b"later"))
        inbox.wait_for(2)
        assert {one.properties.user_id for one in inbox.deliveries if one.body == b"later"} == {USER}


def test_messages_are_refused_with_a_hint_when_they_name_another_user(
    network_bed: NetworkBed, caplog: pytest.LogCaptureFixture
) -> None:
    settings = mq_settings(f"{network_bed.url}?stamp_user=somebody")
    outcomes = Outcomes()
    with closing(PikaBus(settings)) as bus:
        opened(bus)
        for _ in range(3):
            bus.publish(outgoing(), outcomes)
        results = outcomes.wait_for(3)
    assert {one.outcome for one in results} == {Outcome.REFUSED}
    assert {one.reply_code for one in results} == {406}
    assert "'somebody'" in results[0].reason
    assert "give `stamp_user` of the message bus the name" in caplog.text


@pytest.mark.parametrize("name", ["", USER])
def test_letter_names_who_sends_it_back(network_bed: NetworkBed, name: str) -> None:
    bus = opened(network_bed.new_bus())
    publish_and_wait(bus, outgoing(b"letter", "", exchange="bed.dead"))
    settings = msgspec.structs.replace(mq_settings(network_bed.url), stamp_user=name)
    with QueueBrowser(settings, DEAD_QUEUE) as browser:
        (found,) = browser.messages(1)
        browser.move(found, outgoing(b"again", QUEUE, exchange=""))
    (delivery,) = consuming(bus).wait_for(1)
    assert (delivery.body, delivery.properties.user_id) == (b"again", name or None)
