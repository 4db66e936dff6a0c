"""A topology file held against a live broker: by its management plugin where it has one, else over AMQP."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from reworker.bus.administration import Administration
    from reworker.config import MqSettings
    from reworker.topology.contents import TopologyFile
    from reworker.topology.management import Listing
    from reworker.topology.plan import Plan


@dataclass(frozen=True)
class Comparison:
    """A file, a broker that can be changed, and the plan for both.

    Args:
        file: what is wanted.
        plan: just made.
        broker: a connection to it.
        in_hand: how many messages of each queue were handed out and not acknowledged; None is not seen, and
            so is all that is not in the file.
    """

    file: TopologyFile
    plan: Plan
    broker: Administration
    in_hand: Mapping[str, int] | None


@contextmanager
def compared(path: str, mq: str, management: str | None) -> Iterator[Comparison]:
    """Compare a file with a broker, and stay connected for the block.

    Args:
        path: of the topology file.
        mq: message bus: file or URL.
        management: URL of the management plugin; None looks for one at its usual port.

    Raises:
        ConfigError: file, bus or URL are wrong.
        CannotConnect: the broker, or the plugin that was named, does not answer.
    """
    from reworker.bus.administration import Administration
    from reworker.config import mq_settings, with_password_of
    from reworker.topology.file import load_topology
    from reworker.topology.plan import plan_by_asking, plan_by_listing

    file = load_topology(path)
    settings = with_password_of(mq_settings(mq), os.environ)
    with Administration(settings, "reworker topology") as broker:
        listing, reason = _listing(settings, broker, management)
        if listing is not None:
            in_hand = {name: queue.messages_unacknowledged for name, queue in listing.queues.items()}
            yield Comparison(file, plan_by_listing(file, listing), broker, in_hand)
            return
        plan = plan_by_asking(file, broker)
        told = msgspec.structs.replace(plan, unseen=(*plan.unseen, reason))
        yield Comparison(file, told, broker, None)


def _listing(
    settings: MqSettings, broker: Administration, management: str | None
) -> tuple[Listing | None, str]:
    """Return everything on the broker; or nothing, and why."""
    from reworker.core.management_search import login_of, plugins_beside
    from reworker.topology.management import Management, NotSeen

    if management:
        return Management(management, login_of(settings)).listing(settings.vhost), ""
    reasons = []
    for plugin, port in plugins_beside(settings):
        try:
            return plugin.listing_of_broker(settings.vhost, broker.cluster_name, port), ""
        except NotSeen as error:
            reasons.append(f"{plugin.url}: {error}")
    return None, f"the management plugin was not found ({'; '.join(reasons)}); give --management URL"
