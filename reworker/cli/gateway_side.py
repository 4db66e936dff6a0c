"""The gateway for workers that poll, put together: a connection, the leases, and what it says of itself."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from reworker.bus.queue_state import QueueState
from reworker.cli.wiring import CONNECT_S, connected_bus
from reworker.clock import SystemClock
from reworker.errors import ConfigError
from reworker.gateway.gateway import PollGateway
from reworker.gateway.settings import GatewaySettings
from reworker.host.health import BusWatch, Probe, Report, bus_families
from reworker.host.metrics import Family, Labels, counter, gauge, merged

if TYPE_CHECKING:
    from reworker.bus.contract import Bus
    from reworker.config import MqSettings
    from reworker.gateway.contract import Gateway
    from reworker.web.conductor.settings import ConductorSettings

#: seconds for which the counting of queues waits for the broker.
COUNT_S = 3.0
#: what a gateway counts: key, name of the figure, text.
COUNTS = (
    ("polls", "polls", "Polls of workers."),
    ("offers", "offers", "Tasks that were offered to workers that poll."),
    ("given_back", "given_back", "Tasks that went back as nobody read the answer."),
    ("results", "results", "Results of workers that poll which the broker has."),
    ("unsent_results", "unsent_results", "Results that the broker did not take in time."),
    ("late_updates", "late_updates", "Updates of tasks that nobody has any more."),
    ("late_accepted", "late_accepted", "Late results that were taken all the same."),
    ("repeated_updates", "repeated_updates", "Results that were said twice."),
    ("call_later", "call_later", "Tasks that their workers want to be asked for again later."),
    ("retries", "retries", "Further tries of failed tasks, as their definitions want them."),
    ("expired", "expired", "Leases that ended as the worker was silent."),
    ("timed_out", "timed_out", "Tasks that took longer than their definition allows."),
)
#: of this moment.
GAUGES = (
    ("leases", "leases", "Tasks that workers have."),
    ("waiting", "waiting_polls", "Polls that are held."),
    ("types", "types", "Task types that are polled, with their domains."),
)


@contextmanager
def running_gateway(mq: str | MqSettings | None, settings: ConductorSettings) -> Iterator[PollGateway]:
    """Lease tasks for the block.

    Args:
        mq: file, URL or settings of the broker.
        settings: of those who serve the workers.

    Raises:
        ConfigError, CannotConnect: see `connected_bus`; or no broker is named.
    """
    if not mq:
        reason = (
            "no message bus is set, and workers that poll get their tasks from it: give --mq, or leave out"
        )
        raise ConfigError(f"{reason} --conductor", key="--mq")
    own = GatewaySettings(
        late_result=settings.late_result,
        response_timeout_s=settings.response_timeout_s,
        ledger=settings.ledger,
    )
    with connected_bus(mq, name="reworker gateway", timeout_s=CONNECT_S) as bus:
        gateway = PollGateway(bus, own, count_messages=message_counter(bus))
        gateway.start()
        try:
            yield gateway
        finally:
            gateway.close()


def message_counter(bus: Bus) -> Callable[[Iterable[str]], Mapping[str, int]]:
    """Return what counts the messages in queues; those that are not there, or not told in time, have none."""

    def count(queues: Iterable[str]) -> Mapping[str, int]:
        found: dict[str, int] = {}
        names = list(queues)
        left = threading.Semaphore(0)

        def note(name: str, state: QueueState | None) -> None:
            if state is not None:
                found[name] = state.message_count
            left.release()

        for name in names:
            bus.look(name, lambda state, name=name: note(name, state), deadline_s=COUNT_S)  # type: ignore[misc]  # bound on purpose
        for _ in names:
            if not left.acquire(timeout=COUNT_S + 1):
                break
        return dict(found)

    return count


def with_gateway(probe: Probe, gateway: PollGateway) -> Probe:
    """Return a probe that tells of a gateway in the same process, too."""
    watch = BusWatch("the gateway", SystemClock())

    def look() -> Report:
        report, health = probe(), gateway.house.bus.health()
        dead, unready = watch.judge(health)
        families = [*gateway_families(gateway), *bus_families("gateway", health)]
        return msgspec.structs.replace(
            report,
            dead=(*report.dead, *dead),
            unready=(*report.unready, *unready),
            families=tuple(merged([report.families, families])),
        )

    return look


def gateway_families(gateway: Gateway) -> list[Family]:
    """Return the figures of a gateway; those that are still 0 are told too."""
    counts, tally = gateway.counts, gateway.tally
    polls: dict[Labels, float] = {(("taskType", name),): count for name, count in tally.polls.items()}
    errors: dict[Labels, float] = {
        (("exception", error), ("taskType", name)): count for (name, error), count in tally.errors.items()
    }
    return [
        counter("task_poll_total", "Polls of workers, by task type.", polls),
        counter("task_poll_error_total", "Polls that were refused, by task type and error.", errors),
        *(
            counter(f"reworker_gateway_{name}_total", text, {(): counts.get(key, 0)})
            for key, name, text in COUNTS
        ),
        *(gauge(f"reworker_gateway_{name}", text, (), counts.get(key, 0)) for key, name, text in GAUGES),
    ]
