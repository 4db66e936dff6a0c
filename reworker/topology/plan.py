"""The difference between a topology file and a live broker; finding it changes nothing."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Protocol

import msgspec

from reworker.bus.contract import BindingSpec, ExchangeSpec, QueueSpec
from reworker.topology.code_queues import is_code_queue
from reworker.topology.contents import TopologyFile
from reworker.topology.difference import (
    ACCESS_REFUSED,
    COMPARED,
    NOT_FOUND,
    RESOURCE_LOCKED,
    Difference,
    difference_in,
    exchange_differences,
    queue_differences,
)
from reworker.topology.management import FoundQueue, Listing
from reworker.topology.names import is_retry_queue


class BrokerAnswer(Protocol):
    """What a broker said to one request; see `reworker.bus.administration.Answer`."""

    @property
    def reply_code(self) -> int:
        """AMQP reply code of a refusal; 0 is success."""
        ...

    @property
    def text(self) -> str:
        """Of the refusal."""
        ...


class Broker(Protocol):
    """What a plan asks of a broker; see `reworker.bus.administration`."""

    def find_exchange(self, name: str) -> BrokerAnswer:
        """Ask whether there is such an exchange."""
        ...

    def find_queue(self, name: str) -> BrokerAnswer:
        """Ask whether there is such a queue."""
        ...

    def declare_exchange(self, spec: ExchangeSpec) -> BrokerAnswer:
        """Make an exchange, or compare it with what is there."""
        ...

    def declare_queue(self, spec: QueueSpec) -> BrokerAnswer:
        """Make a queue, or compare it with what is there."""
        ...


class State(enum.Enum):
    """How one thing stands."""

    #: in the file, not on the broker.
    CREATE = "create"
    SAME = "same"
    #: there, but not as the file says.
    DIFFERS = "differs"
    #: on the broker, ours, not in the file.
    EXTRA = "extra"
    #: the broker did not let us see it.
    UNSEEN = "unseen"


Thing = ExchangeSpec | QueueSpec | BindingSpec


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One exchange, queue or binding.

    Args:
        state: how it stands.
        thing: what the file wants, or, when that does not have it, what is there.
        line: in the file; 0 when it is not there.
        differences: all of them when there is a listing; else the first that the broker has named.
        note: more about it, in words.
        is_there: the broker has it, whatever else could not be seen.
    """

    state: State
    thing: Thing
    line: int = 0
    differences: tuple[Difference, ...] = ()
    note: str = ""
    is_there: bool = False

    @property
    def kind(self) -> str:
        """What it is: exchange, queue or binding."""
        return {ExchangeSpec: "exchange", QueueSpec: "queue", BindingSpec: "binding"}[type(self.thing)]

    @property
    def name(self) -> str:
        """Its name; of a binding, both ends and the key."""
        thing = self.thing
        if isinstance(thing, BindingSpec):
            return f"{thing.exchange} --{thing.routing_key}--> {thing.queue}"
        return thing.name


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is said of a file and a broker.

    Args:
        entries: in the order in which they are made, then what is not in the file.
        unseen: what could not be seen, each a sentence.
    """

    entries: tuple[Entry, ...]
    unseen: tuple[str, ...] = ()

    def of(self, *states: State) -> list[Entry]:
        """Return the entries in one of these states."""
        return [one for one in self.entries if one.state in states]

    @property
    def is_same(self) -> bool:
        """Whether nothing that was seen is different."""
        return not self.of(State.CREATE, State.DIFFERS, State.EXTRA)


def plan_by_listing(file: TopologyFile, listing: Listing) -> Plan:
    """Compare a file with everything that is on a broker; pure."""
    entries = [*_listed(file, listing), *_listed_bindings(file, listing), *_extra(file, listing)]
    return Plan(entries=tuple(entries))


def _listed(file: TopologyFile, listing: Listing) -> Iterator[Entry]:
    for exchange in file.wanted.exchanges:
        found = listing.exchanges.get(exchange.name)
        differences = exchange_differences(exchange, found) if found else ()
        yield _compared(file, exchange, is_there=found is not None, differences=differences)
    for queue in file.wanted.queues:
        there = listing.queues.get(queue.name)
        differences = queue_differences(queue, there, listing.default_type) if there else ()
        yield _compared(file, queue, is_there=there is not None, differences=differences)


def _compared(
    file: TopologyFile,
    thing: ExchangeSpec | QueueSpec,
    *,
    is_there: bool,
    differences: tuple[Difference, ...] = (),
    note: str = "",
) -> Entry:
    state = State.CREATE if not is_there else State.DIFFERS if differences or note else State.SAME
    kind = "queue" if isinstance(thing, QueueSpec) else "exchange"
    line = file.lines.get((kind, thing.name), 0)
    return Entry(state=state, thing=thing, line=line, differences=differences, note=note, is_there=is_there)


def _listed_bindings(file: TopologyFile, listing: Listing) -> Iterator[Entry]:
    for binding in file.wanted.bindings:
        yield Entry(state=State.SAME if binding in listing.bindings else State.CREATE, thing=binding)


def _extra(file: TopologyFile, listing: Listing) -> Iterator[Entry]:
    """Yield what is ours and not in the file. What a connection owns goes with that."""
    wanted = {one.name for one in file.wanted.queues}
    ours = {name for name, queue in listing.queues.items() if _is_ours(file, queue, wanted)}
    for name in sorted(ours - wanted):
        found = listing.queues[name]
        note = f"{found.messages} messages, {found.consumers} consumers"
        spec = QueueSpec(name, found.durable, found.exclusive, found.auto_delete, found.arguments)
        yield Entry(state=State.EXTRA, thing=spec, note=note)
    # The bindings of a queue that is not in the file go with it.
    strange = {one for one in listing.bindings if one.queue in wanted} - {*file.wanted.bindings}
    for binding in sorted(strange, key=lambda one: (one.queue, one.exchange, one.routing_key)):
        yield Entry(state=State.EXTRA, thing=binding)


def _is_ours(file: TopologyFile, queue: FoundQueue, wanted: set[str]) -> bool:
    in_scope = any(fnmatchcase(queue.name, pattern) for pattern in file.scope)
    is_waiting_room = any(is_retry_queue(queue.name, name) for name in wanted)
    is_made_by_others = is_waiting_room or is_code_queue(queue.name)
    return in_scope and not queue.exclusive and not is_made_by_others


#: why AMQP does not tell more.
UNSEEN_BINDINGS = "bindings: AMQP cannot list them"
UNSEEN_OTHERS = "queues and bindings that are not in the file: AMQP cannot list them"


def plan_by_asking(file: TopologyFile, broker: Broker) -> Plan:
    """Compare a file with what a broker says to one question after another.

    Whether a thing is there, is asked first; only what is there is declared again, which compares it.
    """
    entries = [_asked(file, broker, exchange) for exchange in file.wanted.exchanges]
    entries += [_asked(file, broker, queue) for queue in file.wanted.queues]
    missing = {(one.kind, one.name) for one in entries if one.state is State.CREATE}
    unseen = [UNSEEN_OTHERS]
    for binding in file.wanted.bindings:
        is_new = {("exchange", binding.exchange), ("queue", binding.queue)} & missing
        entries.append(Entry(state=State.CREATE if is_new else State.UNSEEN, thing=binding))
    if any(one.state is State.UNSEEN and one.kind == "binding" for one in entries):
        unseen.append(UNSEEN_BINDINGS)
    uncompared = sorted(
        {f"{name} of {one.name}" for one in file.wanted.queues for name in one.arguments.keys() - COMPARED}
    )
    if uncompared:
        unseen.append(f"arguments that brokers do not compare: {', '.join(uncompared)}")
    return Plan(entries=tuple(entries), unseen=tuple(unseen))


def _asked(file: TopologyFile, broker: Broker, thing: ExchangeSpec | QueueSpec) -> Entry:
    is_queue = isinstance(thing, QueueSpec)
    answer = broker.find_queue(thing.name) if is_queue else broker.find_exchange(thing.name)
    is_there = answer.reply_code != ACCESS_REFUSED
    if answer.reply_code == NOT_FOUND:
        return _compared(file, thing, is_there=False)
    if not answer.reply_code:
        answer = (
            broker.declare_queue(thing) if isinstance(thing, QueueSpec) else broker.declare_exchange(thing)
        )
    if answer.reply_code == ACCESS_REFUSED:
        note = f"it is there, but may not be compared: {answer.text}" if is_there else answer.text
        entry = _compared(file, thing, is_there=is_there, note=note)
        return msgspec.structs.replace(entry, state=State.UNSEEN)
    difference = difference_in(answer.text)
    if answer.reply_code == RESOURCE_LOCKED:
        difference = Difference("exclusive", "false", "true, it belongs to another connection")
    differences = (difference,) if difference else ()
    note = "" if difference else answer.text
    return _compared(file, thing, is_there=True, differences=differences, note=note)
