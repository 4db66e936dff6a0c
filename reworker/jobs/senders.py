"""Whose messages a worker takes: those of others are dead-lettered before anything of them is done.

The broker vouches for the property `user_id`: it refuses a message that names another user than that of the
connection it comes by. Everything else of a message, its exchange and headers too, may be made up by whoever
may publish to the default exchange; and every worker may, for its replies.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Protocol

from reworker.bus.contract import Delivery, Outgoing, Verdict
from reworker.jobs.envelopes import plain_properties
from reworker.jobs.returning import key_of, sender_of
from reworker.jobs.settling import settle
from reworker.jobs.station import Station
from reworker.messages import Reply, encode
from reworker.topology.names import NO_REPLY, owes_status

#: characters of a stranger's name in words for people.
NAME_CHARACTERS = 60


class Stamping(Protocol):
    """What is asked of a bus."""

    @property
    def user_id(self) -> str:
        """Name of the sender that our own messages get."""
        ...


class SenderGate:
    """Turns away what others send than the users that the worker accepts.

    Its own user counts as well, for copies: a worker puts messages back into its queue, and sends them to
    wait for another try. Each copy says who sent the message first. That is only as true as our own user is
    honest, so workers of several types that share a user could still make up steps for each other.

    Args:
        station: where the worker works.
        bus: its own.
    """

    def __init__(self, station: Station, bus: Stamping) -> None:
        self._station, self._bus = station, bus
        self._accepted = frozenset(station.settings.accept_from)

    def before(self, on_delivery: Callable[[Delivery], None]) -> Callable[[Delivery], None]:
        """Return what takes deliveries and passes on those that are welcome."""

        def at_the_gate(delivery: Delivery) -> None:
            if self.is_welcome(delivery):
                on_delivery(delivery)
            else:
                self._turn_away(delivery)

        return at_the_gate

    def is_welcome(self, delivery: Delivery) -> bool:
        """Tell whether the worker takes a message."""
        user = delivery.properties.user_id
        if user in self._accepted:
            return True
        if user and user == self._bus.user_id:
            return sender_of(delivery, self._accepted) is not None or not owes_status(key_of(delivery))
        # Whoever may notify says so by rights on this exchange. What comes by the default exchange has the
        # name of its queue for a key, so nobody can pass a step off as a notification.
        return delivery.exchange == self._station.settings.exchange and not owes_status(delivery.routing_key)

    def _turn_away(self, delivery: Delivery) -> None:
        """On the I/O thread."""
        station, reason = self._station, self._reason(delivery)
        station.logger.error("%s: dead-lettered: %s", delivery.properties.correlation_id, reason)
        station.counts["turned_away"] += 1
        self._answer(delivery, reason)
        settle(station, delivery, Verdict.DEAD_LETTER, reason)

    def _reason(self, delivery: Delivery) -> str:
        user, accepted = delivery.properties.user_id, " ".join(self._station.settings.accept_from)
        place = f"`accept_from` of {delivery.queue} has {accepted:.{NAME_CHARACTERS}}"
        if not user:
            found, help_ = "names no user", "set `stamp_user` where its sender has its message bus"
        elif user == self._bus.user_id:
            found = "is of the worker's own user, but no copy of what an accepted one sent"
            help_ = "look for who else has this user"
        else:
            found = f"is of the user {user[:NAME_CHARACTERS]!r}"
            help_ = "if that may give it work, name it there"
        return f"not done: it {found}; {place}; {help_}"

    def _answer(self, delivery: Delivery, reason: str) -> None:
        """Tell who waits, but not the ledger: a step that is made up must not answer a real one."""
        reply_to = delivery.properties.reply_to
        if not reply_to or reply_to == NO_REPLY:
            return
        station = self._station
        properties = plain_properties(station.app_id, delivery.properties.correlation_id, NO_REPLY)
        reply = encode(Reply("failed", message=f"dead-lettered: {reason}"))
        with contextlib.suppress(TypeError, ValueError):  # an address that came, but that nobody can write to
            station.bus.publish(Outgoing("", reply_to, reply, properties))
