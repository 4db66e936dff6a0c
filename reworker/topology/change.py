"""Changing a live broker after a plan: making what is missing, deleting what is not in the file."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from reworker.bus.contract import BindingSpec, ExchangeSpec, QueueSpec
from reworker.errors import ConfigError, TopologyMismatch
from reworker.topology.contents import TopologyFile
from reworker.topology.plan import Broker, BrokerAnswer, Entry, Plan, State, Thing


class ChangingBroker(Broker, Protocol):
    """What changing asks of a broker; see `reworker.bus.administration`."""

    def bind(self, spec: BindingSpec) -> BrokerAnswer:
        """Bind a queue to an exchange."""
        ...

    def unbind(self, spec: BindingSpec) -> BrokerAnswer:
        """Take a binding away."""
        ...

    def delete_exchange(self, name: str, *, is_forced: bool) -> BrokerAnswer:
        """Delete an exchange; unless forced, only one without bindings."""
        ...

    def delete_queue(self, name: str, *, is_forced: bool) -> BrokerAnswer:
        """Delete a queue; unless forced, only one without messages and consumers."""
        ...


def make_missing(plan: Plan, broker: ChangingBroker, on_made: Callable[[Entry], None]) -> None:
    """Make what the plan says is missing, and the bindings of which nobody can tell.

    Args:
        plan: just made; one without differences.
        broker: to change.
        on_made: called after each.

    Raises:
        TopologyMismatch: the broker refuses one; those before it are made.
    """
    for entry in plan.of(State.CREATE, State.UNSEEN):
        if entry.is_there:
            continue  # this user may not declare it, and need not
        answer = _make(entry.thing, broker)
        if answer.reply_code:
            raise TopologyMismatch(entry.name, answer.reply_code, f"a new {entry.kind}", answer.text)
        on_made(entry)


def _make(thing: Thing, broker: ChangingBroker) -> BrokerAnswer:
    if isinstance(thing, ExchangeSpec):
        return broker.declare_exchange(thing)
    if isinstance(thing, QueueSpec):
        return broker.declare_queue(thing)
    return broker.bind(thing)


def delete(entry: Entry, broker: ChangingBroker, *, is_forced: bool, in_hand_count: int = 0) -> str:
    """Delete what an entry speaks of; return why not, or nothing when it is gone.

    Unless forced, a queue with messages, also in a worker's hand, or consumers stays, and so does an exchange
    with bindings.

    Args:
        entry: what to delete.
        broker: to change.
        is_forced: whatever is lost.
        in_hand_count: messages of the queue that were handed out and not acknowledged.
    """
    thing = entry.thing
    if isinstance(thing, BindingSpec):
        answer = broker.unbind(thing)
    elif isinstance(thing, ExchangeSpec):
        answer = broker.delete_exchange(thing.name, is_forced=is_forced)
    elif in_hand_count and not is_forced:
        # The broker does not count these: with a worker that drains, it would delete what that works on.
        return f"queue '{thing.name}' has {in_hand_count} messages that a worker has in hand"
    else:
        answer = broker.delete_queue(thing.name, is_forced=is_forced)
    return answer.text if answer.reply_code else ""


def named_entries(
    file: TopologyFile, plan: Plan, exchanges: Iterable[str], queues: Iterable[str]
) -> list[Entry]:
    """Return entries for what somebody names to be deleted: it differs from the file, or is not in it.

    Raises:
        ConfigError: the file has it, and it is as the file says.
    """
    things: list[Thing] = [*(QueueSpec(name) for name in queues), *(ExchangeSpec(name) for name in exchanges)]
    known = {(one.kind, one.name): one for one in plan.entries}
    found = []
    for thing in things:
        entry = Entry(state=State.EXTRA, thing=thing)
        entry = known.get((entry.kind, entry.name), entry)
        if entry.state not in (State.EXTRA, State.DIFFERS):
            reason = "the file has it; take it out of the file first"
            raise ConfigError(reason, key=entry.name, path=f"{file.path}:{entry.line}")
        found.append(entry)
    return found
