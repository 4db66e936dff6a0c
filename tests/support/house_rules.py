"""Who may import whom: the layer table and the rules about single libraries.

Every rule is a function from a source tree to the violations it finds, so that
the architecture test can run it on the project and on a small wrong example.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from tests.support.source_tree import Module, SourceTree, dotted, is_below, is_stdlib, strongly_connected

#: Package or module below `reworker` -> layer. Imports point down only.
LAYERS = {
    "__init__": 0,  # the version and nothing else
    "__main__": 8,
    "testing": 8,
    "cli": 7,
    "runner": 7,
    "web": 6,
    "drill": 6,
    "conformance": 6,
    "host": 5,
    "conductor": 5,
    "gateway": 5,
    "core": 5,
    "broker": 5,
    "worker": 4,
    "codes": 4,
    "pool": 4,
    "classic": 3,
    "published": 3,
    "execution": 3,
    "jobs": 3,
    "output": 3,
    "notify": 3,
    "iron": 3,
    "ledger": 3,
    "utils": 3,
    "bus": 2,
    "topology": 2,
    "fsm": 2,
    "storage": 2,
    "messages": 1,
    "config": 1,
    "layers": 1,
    "logs": 1,
    "tracing": 1,
    "plugin_path": 0,
    "errors": 0,
    "task_errors": 0,
    "clock": 0,
    "backoff": 0,
    "ids": 0,
}

#: Imports inside a layer or upwards that are allowed: (importer, package or module) -> why.
#: Cycles stay forbidden, also between these.
LISTED = {
    ("task_errors", "reworker.errors"): "the tree of errors has a second file for code packages and tasks",
    ("topology", "reworker.bus.contract"): "a plan of the topology is applied through the bus contract",
    ("config", "reworker.layers"): "the settings of the message bus are read in layers",
    (
        "topology",
        "reworker.fsm.document",
    ): "its file is read as playbooks are: with lines, hostile until proven",
    ("topology", "reworker.fsm.checks"): "and checked as they are: with the nearest known word",
    ("cli", "reworker.runner"): "`reworker worker` runs what a plugin's own main() runs",
    ("codes", "reworker.pool.children"): "the processes of a task are found as those of other jobs are",
    ("conductor", "reworker.host"): "its host of workers is the host of all others, with other words",
    ("worker", "reworker.runner"): "plugins of 2014 import runner from reworker.worker",
    ("worker", "reworker.pool"): "the public class is a thin front of the pool that runs its instances",
    ("execution", "reworker.jobs"): "the stages of one delivery work on the record of one job",
    ("execution", "reworker.output"): "the first stage opens the output of the job",
    ("jobs", "reworker.ledger"): "an attempt looks itself up in the ledger",
    ("jobs", "reworker.notify"): "a job sends notices through its public methods",
    ("jobs", "reworker.output"): "a job writes output through its public methods",
}

#: Units that may import less than the layers below them.
NARROW = {
    "core": ("reworker.bus", "reworker.topology", "reworker.fsm", "reworker.storage"),
    "broker": ("reworker.topology.names",),
}

#: Who may import a unit that is closed to the rest.
CLOSED = {
    "broker": ("cli", "testing"),
    "testing": (),
}

#: Foreign library -> where it may be imported.
LIBRARIES = {
    "pika": ("reworker.bus", "reworker.broker.codec", "reworker.worker"),
    "sqlalchemy": ("reworker.storage",),
    "psycopg": ("reworker.storage",),
    "cronsim": ("reworker.core.tasks.firing",),
    "starlette": ("reworker.web",),
    "uvicorn": ("reworker.web",),
    "h11": ("reworker.web",),
    "jinja2": ("reworker.web",),
    "jwt": ("reworker.web.oidc",),
    "opentelemetry": ("reworker.tracing",),
}

#: Standard modules without I/O, clock, chance, threads and logs. `datetime` is here
#: for its values; a rule of style forbids to ask it for the time.
PURE_STDLIB = frozenset(
    {
        "__future__",
        "abc",
        "bisect",
        "collections",
        "contextlib",
        "copy",
        "dataclasses",
        "datetime",
        "difflib",
        "enum",
        "fractions",
        "functools",
        "graphlib",
        "hashlib",
        "heapq",
        "itertools",
        "json",
        "keyword",
        "math",
        "operator",
        "re",
        "string",
        "textwrap",
        "types",
        "typing",
    }
)

#: Where the machine reads YAML: nowhere but in the parser of playbooks.
YAML_READERS = ("reworker.fsm.document", "reworker.fsm.playbook")

#: What the bundled workers may use of us.
PLUGIN_API = ("reworker.worker", "reworker.errors")
PLUGIN_CODES = "reworker.codes"


@dataclass(frozen=True)
class Violation:
    """One broken rule; ``where`` is a path, with ``::name`` for a part of the file."""

    where: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.where}:{self.line}: {self.text}"


def unit_of(name: str) -> str:
    """Return the row of the layer table for a dotted name below reworker."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def our_imports(tree: SourceTree, module: Module) -> Iterator[tuple[str, int]]:
    """Yield the modules of ours that a module imports, outside its own unit, with lines."""
    for found in module.imports:
        target = tree.resolve(found.target)
        if target and is_below(target, "reworker") and unit_of(target) != module.unit:
            yield target, found.line


def unknown_unit(tree: SourceTree) -> Iterator[Violation]:
    """Every package and module below reworker has a layer."""
    for module in tree.below("reworker"):
        if module.unit not in LAYERS:
            yield Violation(module.path, 1, f"{module.unit} has no layer: add it to the table LAYERS")


def layers(tree: SourceTree) -> Iterator[Violation]:
    """Imports point to a lower layer, or are listed."""
    for module in tree.below("reworker"):
        for target, line in our_imports(tree, module):
            if _is_listed(module.unit, target) or unit_of(target) not in LAYERS:
                continue
            own, other = LAYERS.get(module.unit, 0), LAYERS[unit_of(target)]
            if other >= own and module.unit in LAYERS:
                way = "sideways" if other == own else "up"
                yield Violation(module.path, line, f"layer {own} imports {way}: {target} of layer {other}")


def _is_listed(unit: str, target: str) -> bool:
    return any(unit == importer and is_below(target, what) for importer, what in LISTED)


def narrow_units(tree: SourceTree) -> Iterator[Violation]:
    """The core and the broker use only what they are listed for, and layers 0 and 1."""
    for module in tree.below(*(f"reworker.{unit}" for unit in NARROW)):
        for target, line in our_imports(tree, module):
            is_low = LAYERS.get(unit_of(target), 9) <= 1
            if not is_low and not is_below(target, *NARROW[module.unit]):
                yield Violation(module.path, line, f"{module.unit} may not import {target}")


def closed_units(tree: SourceTree) -> Iterator[Violation]:
    """The broker is for the command line and the tests; nobody imports the testing kit."""
    for module in tree:
        for target, line in our_imports(tree, module):
            allowed = CLOSED.get(unit_of(target))
            if allowed is not None and not (is_below(module.name, "reworker") and module.unit in allowed):
                yield Violation(module.path, line, f"{module.name} may not import {target}")


def no_cycles(tree: SourceTree) -> Iterator[Violation]:
    """No module reaches itself through imports; those for type checking count."""
    for group in strongly_connected(tree.graph):
        yield Violation(tree.modules[group[0]].path, 1, f"import cycle: {', '.join(group)}")


def libraries(tree: SourceTree) -> Iterator[Violation]:
    """Each foreign library stays behind its one edge."""
    for module in tree:
        for found in module.imports:
            allowed = LIBRARIES.get(found.target.split(".")[0])
            if allowed is not None and not is_below(module.name, *allowed):
                yield Violation(module.path, found.line, f"{found.target} may only be imported in {allowed}")


def worker_names_pika(tree: SourceTree) -> Iterator[Violation]:
    """The worker module shows the name pika to old test suites and does not use it."""
    for module in tree.below("reworker.worker"):
        for node in module.nodes:
            if isinstance(node, ast.Attribute) and dotted(node).startswith("pika."):
                yield Violation(module.path, node.lineno, f"uses {dotted(node)}; the bus does that")


def pure_fsm(tree: SourceTree) -> Iterator[Violation]:
    """The machine has no I/O, clock, chance, log or thread; only its playbook parser reads YAML."""
    for module in tree.below("reworker.fsm"):
        for found in module.imports:
            if not _is_pure(module, found.target):
                yield Violation(module.path, found.line, f"fsm may not import {found.target}")
        for node in module.nodes:
            if isinstance(node, ast.Call) and dotted(node.func) in {"open", "print", "input"}:
                yield Violation(module.path, node.lineno, f"fsm may not call {dotted(node.func)}")


def _is_pure(module: Module, target: str) -> bool:
    if is_below(target, "reworker"):
        return is_below(target, "reworker.fsm", "reworker.errors", "reworker.ids")
    if is_below(target, "yaml"):
        return is_below(module.name, *YAML_READERS)
    return is_stdlib(target) and target.split(".")[0] in PURE_STDLIB


def plugin_api(tree: SourceTree) -> Iterator[Violation]:
    """The bundled workers use the worker's public names only; one of them the code packages too."""
    users = set()
    for module in tree.below("replugin"):
        for target, line in our_imports(tree, module):
            if is_below(target, PLUGIN_CODES):
                users.add(module.unit)
            elif not is_below(target, *PLUGIN_API):
                yield Violation(module.path, line, f"a plugin may not import {target}")
    if len(users) > 1:
        yield Violation(
            "replugin", 1, f"only one plugin may import {PLUGIN_CODES}: {', '.join(sorted(users))}"
        )


IMPORT_RULES = (
    unknown_unit,
    layers,
    narrow_units,
    closed_units,
    no_cycles,
    libraries,
    worker_names_pika,
    pure_fsm,
    plugin_api,
)
