"""How long brokers wait for an acknowledgement, by the version that they introduce themselves with. No I/O.

RabbitMQ takes a message back whose consumer does not acknowledge it in time:

- before 4.3 it closes the consumer's channel with 406 and says how long it has waited. How long it will wait
  it tells nobody: 30 minutes, unless its operator says otherwise;
- from 4.3 on only quorum queues do so, by basic.cancel, and a consumer may say how long it wants.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

import msgspec

logger = logging.getLogger(__name__)

#: seconds a broker waits unless it is told otherwise. Source: RabbitMQ, `consumer_timeout`, since 3.8.17.
DEFAULT_TIMEOUT_S = 1800.0
#: share of the broker's patience after which we acknowledge: it looks at its clock once a minute, we at ours.
EARLY_SHARE = 0.75
#: seconds asked for on top of the longest job, for its replies to be confirmed and for ending it by force.
MARGIN_S = 300.0
#: seconds asked for when nobody says how long a job may be: thirty days.
UNLIMITED_S = 30 * 86_400.0
#: from this version on a consumer may say how long it wants.
PER_CONSUMER = (4, 3)
#: from this version on an operator may set it for some queues, by a policy.
PER_POLICY = (3, 12)
RABBITMQ = "RabbitMQ"
ARGUMENT = "x-consumer-timeout"
PRECONDITION_FAILED = 406
_NUMBERS = re.compile(r"(\d+)\.(\d+)")
_WAITED = re.compile(r"acknowledgement on channel \d+ timed out.*?(\d+) ms", re.DOTALL)


class Product(msgspec.Struct, frozen=True):
    """What a broker is, in its own words."""

    name: str = ""
    version: str = ""

    @property
    def numbers(self) -> tuple[int, int]:
        """Major and minor number of the version; (0, 0) when it says none."""
        found = _NUMBERS.match(self.version)
        return (int(found[1]), int(found[2])) if found else (0, 0)

    def is_rabbitmq(self, *, since: tuple[int, int] = (0, 0)) -> bool:
        """Tell whether it is RabbitMQ of that version or a later one."""
        return self.name == RABBITMQ and self.numbers >= since


def product_of(server_properties: Mapping[str, Any] | None) -> Product:
    """Return who the broker is.

    Source: AMQP 0-9-1 connection.start, field server-properties.
    """
    properties = server_properties or {}
    return Product(str(properties.get("product", "")), str(properties.get("version", "")))


class Terms(msgspec.Struct, frozen=True):
    """What a consumer agrees on with the broker.

    Args:
        ack_within_s: seconds after a delivery in which it is to be acknowledged; None is without limit.
        arguments: of basic.consume.
    """

    ack_within_s: float | None = None
    arguments: Mapping[str, Any] = msgspec.field(default_factory=dict)


class Patience:
    """What is known of the patience of the broker that we are connected to; only on the I/O thread.

    Args:
        configured_s: what our settings say; None is the default of the broker's version.
    """

    def __init__(self, configured_s: float | None = None) -> None:
        self.product = Product()
        self._configured_s = configured_s
        self._waited_s: dict[str, float] = {}
        self._without_argument: set[str] = set()
        self._hinted: set[str] = set()

    def meet(self, product: Product) -> None:
        """Note who is at the other end of a new connection."""
        if product != self.product:
            self._waited_s.clear()
            self._without_argument.clear()
        self.product = product

    def terms(self, queue: str, longest_s: float | None, *, may_ask: bool = True) -> Terms:
        """Return on what to consume a queue.

        Args:
            queue: its name.
            longest_s: how long a delivery may stay unsettled; None is not known, 0 is not at all.
            may_ask: whether it is basic.consume, which has arguments.
        """
        if longest_s == 0:
            return Terms()
        if may_ask and self.product.is_rabbitmq(since=PER_CONSUMER):
            if queue in self._without_argument:
                return Terms()
            wanted_s = UNLIMITED_S if longest_s is None else longest_s + MARGIN_S
            return Terms(wanted_s - MARGIN_S / 2, {ARGUMENT: int(wanted_s * 1000)})
        timeout_s = self._timeout_s(queue)
        if timeout_s is None:
            return Terms()
        within_s = timeout_s * EARLY_SHARE
        if longest_s is not None and longest_s > within_s:
            self._hint(queue, longest_s, within_s)
        return Terms(within_s)

    def _timeout_s(self, queue: str) -> float | None:
        default_s = DEFAULT_TIMEOUT_S if self.product.is_rabbitmq() else None
        return self._waited_s.get(queue, self._configured_s or default_s)

    def note_refusal(self, queue: str, reply_code: int, text: str) -> bool:
        """Learn from the words with which a consumer's channel was closed.

        Returns:
            whether it is mended by consuming again at once, on other terms.
        """
        if reply_code != PRECONDITION_FAILED:
            return False
        if ARGUMENT in text:  # a classic queue: it waits for ever
            self._without_argument.add(queue)
            return True
        waited = _WAITED.search(text)
        if waited is not None:
            self._learn(queue, int(waited[1]) / 1000)
        return False

    def _learn(self, queue: str, waited_s: float) -> None:
        believed_s = self._timeout_s(queue)
        self._waited_s[queue] = waited_s
        if believed_s is None or waited_s < believed_s:
            logger.warning(
                "the broker waits %g s for an acknowledgement from %s, not %s as believed; from now on jobs "
                "are acknowledged after %g s. Set ack_timeout: %g in the settings of the message bus",
                waited_s,
                queue,
                "for ever" if believed_s is None else f"{believed_s:g} s",
                waited_s * EARLY_SHARE,
                waited_s,
            )

    def forget(self, queue: str) -> None:
        """Note that a queue may be of another kind from now on."""
        self._without_argument.discard(queue)

    def _hint(self, queue: str, longest_s: float, within_s: float) -> None:
        """Say once how the broker's operator can let long jobs stay with the broker until they are done."""
        if queue in self._hinted:
            return
        self._hinted.add(queue)
        timeout_ms = int((longest_s + MARGIN_S) * 1000)
        if self.product.is_rabbitmq(since=PER_POLICY):
            pattern = re.escape(queue).replace(r"\#", ".+")  # the key of many queues
            policy = f"""rabbitmqctl set_policy ack-{queue} '^{pattern}$' """
            how = policy + f"""'{{"consumer-timeout": {timeout_ms}}}' --apply-to queues"""
        else:
            how = f"consumer_timeout = {timeout_ms} in rabbitmq.conf"
        logger.info(
            "jobs from %s may take %g s, and are acknowledged after %g s, before the broker loses patience; "
            "to let it keep them until they are done: %s, and ack_timeout: %g in the settings of the bus",
            queue,
            longest_s,
            within_s,
            how,
            timeout_ms / 1000,
        )
