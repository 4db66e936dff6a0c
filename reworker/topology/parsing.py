"""Reading a topology file: its sections, and the short forms that stand for what a part of us declares."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from reworker.bus.contract import BindingSpec, DeclareMode, ExchangeSpec, QueueSpec, TopologySpec
from reworker.fsm import checks
from reworker.fsm.document import Node, Problems
from reworker.topology import names, queue_keys
from reworker.topology.contents import (
    SCOPE,
    ClientEntry,
    CoreEntry,
    GatewayEntry,
    TopologyFile,
    WorkerEntry,
)
from reworker.topology.model import (
    RETRY_DELAYS_S,
    core_topology,
    retry_queue,
    shared_topology,
    worker_topology,
)

SECTIONS = ("scope", "exchanges", "queues", "bindings", "workers", "core", "clients", "gateways")
KINDS = ("direct", "topic", "fanout", "headers")
EXCHANGE_KEYS = ("name", "kind", "durable")
QUEUE_KEYS = ("name", "durable", "auto_delete", *queue_keys.KEYS)
BINDING_KEYS = ("exchange", "queue", "routing_key")
WORKER_KEYS = (
    *("queue", "queues", "domain", "bindings", "exchange", "declare", "retry", "user"),
    *queue_keys.KEYS,
)
#: keys that speak of a queue of its own.
OWN_QUEUE_KEYS = ("bindings", "retry", *queue_keys.KEYS)
CORE_KEYS = ("exchange", "job_queue", "type", "user")
CLIENT_KEYS = ("exchange",)
GATEWAY_KEYS = ("exchange", "types")
DECLARE_MODES = tuple(one.value for one in DeclareMode)


class TopologyReader:
    """Turns the nodes of one file into a topology, gathering problems.

    The same exchange, queue or binding may be said twice, for example by two worker types, if it is the
    same both times.
    """

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._exchanges: dict[str, ExchangeSpec] = {}
        self._queues: dict[str, QueueSpec] = {}
        self._bindings: dict[BindingSpec, int] = {}
        self._lines: dict[tuple[str, str], int] = {}
        self._workers: list[WorkerEntry] = []
        self._cores: list[CoreEntry] = []
        self._clients: list[ClientEntry] = []
        self._gateways: list[GatewayEntry] = []

    def topology(self, root: Node) -> TopologyFile:
        """Return what the document says; not to be used when there are problems."""
        checks.mapping(self._problems, root, "", "a topology")
        top = checks.keys(self._problems, root, "", SECTIONS)
        self._each(top, "exchanges", EXCHANGE_KEYS, self._exchange, ("name",))
        self._each(top, "queues", QUEUE_KEYS, self._queue, ("name",))
        self._each(top, "bindings", BINDING_KEYS, self._binding, ("exchange", "queue"))
        self._named(top, "workers", WORKER_KEYS, self._worker)
        self._named(top, "clients", CLIENT_KEYS, self._client)
        self._named(top, "gateways", GATEWAY_KEYS, self._gateway)
        if "core" in top:
            self._core(self._entries(top["core"], "core", CORE_KEYS), top["core"].line)
        self._check_ends()
        wanted = TopologySpec(
            tuple(self._exchanges.values()), tuple(self._queues.values()), tuple(self._bindings)
        )
        if wanted == TopologySpec():
            self._problems.add("lists no exchange, queue or binding", root.line)
        return TopologyFile(
            path=self._problems.source,
            wanted=wanted,
            lines=self._lines,
            scope=self._texts(top["scope"], "scope") if "scope" in top else SCOPE,
            workers=tuple(self._workers),
            cores=tuple(self._cores),
            clients=tuple(self._clients),
            gateways=tuple(self._gateways),
        )

    # ---- shapes

    def _each(
        self,
        top: Mapping[str, Node],
        section: str,
        known: tuple[str, ...],
        read: Callable[[dict[str, Node], int, str], None],
        required: tuple[str, ...],
    ) -> None:
        """Read each entry of a section that is a list; an empty one is as good as none."""
        node = top.get(section)
        if node is None or node.value in (None, []):
            return
        for index, item in enumerate(checks.items(self._problems, node, section, section)):
            path = f"{section}[{index}]"
            entries = self._entries(item, path, known, required)
            if all(key in entries for key in required):
                read(entries, item.line, path)

    def _named(
        self,
        top: Mapping[str, Node],
        section: str,
        known: tuple[str, ...],
        read: Callable[[str, dict[str, Node], int], None],
    ) -> None:
        """Read each entry of a section that is a mapping by names."""
        node = top.get(section)
        if node is None or node.value is None:
            return
        for own, item in checks.mapping(self._problems, node, section, section).items():
            path = f"{section}.{own}"
            if not checks.is_word(own):
                self._problems.add("a name has only letters, digits, _ and -", item.line, path)
            else:
                read(own, self._entries(item, path, known), item.line)

    def _entries(
        self, node: Node, path: str, known: tuple[str, ...], required: Iterable[str] = ()
    ) -> dict[str, Node]:
        if node.value is None:
            return {}
        checks.mapping(self._problems, node, path, "an entry")
        return checks.keys(self._problems, node, path, known, tuple(required))

    def _texts(self, node: Node, path: str) -> tuple[str, ...]:
        return checks.texts(self._problems, node, path, path.rpartition(".")[2])

    def _name(self, entries: Mapping[str, Node], key: str, path: str, default: str = "") -> str:
        return queue_keys.name(self._problems, entries[key], f"{path}.{key}") if key in entries else default

    def _flag(self, entries: Mapping[str, Node], key: str, path: str, *, default: bool) -> bool:
        return checks.flag(self._problems, entries[key], f"{path}.{key}") if key in entries else default

    def _worker_name(self, entries: Mapping[str, Node], key: str, path: str, default: str) -> str:
        if key not in entries:
            return default
        return queue_keys.worker_name(self._problems, entries[key], f"{path}.{key}")

    def _choice(
        self, entries: Mapping[str, Node], key: str, path: str, *, known: tuple[str, ...], default: str
    ) -> str:
        if key not in entries:
            return default
        found = str(queue_keys.choice(known)(self._problems, entries[key], f"{path}.{key}"))
        return found if found in known else default

    # ---- sections

    def _exchange(self, entries: dict[str, Node], line: int, path: str) -> None:
        kind = self._choice(entries, "kind", path, known=KINDS, default="topic")
        is_durable = self._flag(entries, "durable", path, default=True)
        self._add_exchange(ExchangeSpec(self._name(entries, "name", path), kind, is_durable), line, path)

    def _queue(self, entries: dict[str, Node], line: int, path: str) -> None:
        spec = QueueSpec(
            name=self._name(entries, "name", path),
            durable=self._flag(entries, "durable", path, default=True),
            auto_delete=self._flag(entries, "auto_delete", path, default=False),
            arguments=queue_keys.arguments_of(self._problems, entries, path),
        )
        self._add_queue(spec, line, path)

    def _binding(self, entries: dict[str, Node], line: int, path: str) -> None:
        values = {
            key: queue_keys.text(self._problems, node, f"{path}.{key}") for key, node in entries.items()
        }
        spec = BindingSpec(values["exchange"], values["queue"], values.get("routing_key", ""))
        if spec in self._bindings:
            self._problems.add(f"the same as in line {self._bindings[spec]}", line, path)
        self._bindings.setdefault(spec, line)

    def _worker(self, own: str, entries: dict[str, Node], line: int) -> None:
        path = f"workers.{own}"
        class_name = own if own.endswith("worker") else f"{own}worker"
        suffix = self._worker_name(entries, "queue", path, class_name.lower())
        domain = self._worker_name(entries, "domain", path, "")
        # What this file is applied for, the worker need only verify.
        declare = self._choice(entries, "declare", path, known=DECLARE_MODES, default="verify")
        entry = WorkerEntry(
            user=self._name(entries, "user", path, own),
            suffix=suffix,
            queue=names.worker_queue(suffix, domain),
            routing_keys=self._keys(entries, path) or names.step_keys(suffix, domain),
            exchange=self._name(entries, "exchange", path, names.EXCHANGE),
            declare=DeclareMode(declare),
            queues_key=self._queues_key(entries, path),
        )
        self._workers.append(entry)
        if entry.queues_key:
            self._add_all(shared_topology(entry.exchange), line, path)
            return
        declared = worker_topology(entry.queue, entry.routing_keys, entry.exchange)
        arguments = queue_keys.arguments_of(self._problems, entries, path)
        self._add_all(_with_arguments(declared, entry.queue, arguments), line, path)
        if self._flag(entries, "retry", path, default=False):
            self._add_waiting_room(entry.queue, str(arguments.get("x-queue-type", "")), line, path)

    def _queues_key(self, entries: Mapping[str, Node], path: str) -> str:
        """Return the key of many queues, none of which is made by this worker."""
        if "queues" not in entries:
            return ""
        node, here = entries["queues"], f"{path}.queues"
        found = queue_keys.text(self._problems, node, here)
        if not found.startswith(names.WORKER_PREFIX) or not {"#", "*"} & set(found.split(".")):
            self._problems.add(
                f"{checks.shown(found)} matches no queues: name them as in worker.code.#", node.line, here
            )
        for key in OWN_QUEUE_KEYS:
            if key in entries:
                reason = f"{key} is of a queue of its own, and with queues it has none"
                self._problems.add(reason, entries[key].line, f"{path}.{key}")
        return found

    def _add_waiting_room(self, queue: str, queue_type: str, line: int, path: str) -> None:
        for delay_s in RETRY_DELAYS_S:
            self._add_queue(retry_queue(queue, delay_s, queue_type, is_lasting=True), line, path)

    def _keys(self, entries: Mapping[str, Node], path: str) -> tuple[str, ...]:
        return self._texts(entries["bindings"], f"{path}.bindings") if "bindings" in entries else ()

    def _core(self, entries: Mapping[str, Node], line: int) -> None:
        entry = CoreEntry(
            user=self._name(entries, "user", "core", "core"),
            exchange=self._name(entries, "exchange", "core", names.EXCHANGE),
            job_queue=self._name(entries, "job_queue", "core", names.JOB_QUEUE),
        )
        self._cores.append(entry)
        queue_type = str(queue_keys.arguments_of(self._problems, entries, "core").get("x-queue-type", ""))
        self._add_all(core_topology(entry.exchange, entry.job_queue, queue_type=queue_type), line, "core")

    def _client(self, own: str, entries: dict[str, Node], _line: int) -> None:
        exchange = self._name(entries, "exchange", f"clients.{own}", names.EXCHANGE)
        self._clients.append(ClientEntry(user=own, exchange=exchange))

    def _gateway(self, own: str, entries: dict[str, Node], _line: int) -> None:
        path = f"gateways.{own}"
        exchange = self._name(entries, "exchange", path, names.EXCHANGE)
        types = self._texts(entries["types"], f"{path}.types") if "types" in entries else ()
        self._gateways.append(GatewayEntry(user=own, exchange=exchange, types=types))

    # ---- what is found

    def _add_all(self, found: TopologySpec, line: int, path: str) -> None:
        for exchange in found.exchanges:
            self._add_exchange(exchange, line, path)
        for queue in found.queues:
            self._add_queue(queue, line, path)
        for binding in found.bindings:
            self._bindings.setdefault(binding, line)

    def _add_exchange(self, spec: ExchangeSpec, line: int, path: str) -> None:
        if self._exchanges.setdefault(spec.name, spec) != spec:
            self._refuse_other("exchange", spec.name, line, path)
        self._lines.setdefault(("exchange", spec.name), line)

    def _add_queue(self, spec: QueueSpec, line: int, path: str) -> None:
        if self._queues.setdefault(spec.name, spec) != spec:
            self._refuse_other("queue", spec.name, line, path)
        if self._lines.setdefault(("queue", spec.name), line) == line:
            is_lasting = spec.durable and not spec.auto_delete
            queue_keys.refuse_impossible(
                self._problems, spec.arguments, is_lasting=is_lasting, line=line, path=path
            )

    def _refuse_other(self, kind: str, name: str, line: int, path: str) -> None:
        before = self._lines[kind, name]
        self._problems.add(
            f"{kind} {checks.shown(name)} is another one in line {before}; both must say the same", line, path
        )

    def _check_ends(self) -> None:
        """Both ends of each binding are in the file, or are the broker's own exchanges."""
        for spec, line in self._bindings.items():
            if spec.exchange not in self._exchanges and not spec.exchange.startswith("amq."):
                self._refuse_end("exchange", spec.exchange, self._exchanges, line)
            if spec.queue not in self._queues:
                self._refuse_end("queue", spec.queue, self._queues, line)

    def _refuse_end(self, kind: str, name: str, known: Mapping[str, Any], line: int) -> None:
        if name == "":
            reason = f"the {kind} has no name; the default exchange has no bindings to make"
        else:
            reason = f"{kind} {checks.shown(name)} is not in this file{checks.nearest(name, known)}"
        self._problems.add(reason, line, "bindings")


def _with_arguments(declared: TopologySpec, queue: str, arguments: Mapping[str, Any]) -> TopologySpec:
    """Return a topology in which one queue has more arguments."""
    queues = tuple(
        msgspec.structs.replace(one, arguments={**one.arguments, **arguments}) if one.name == queue else one
        for one in declared.queues
    )
    return msgspec.structs.replace(declared, queues=queues)
