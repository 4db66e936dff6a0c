"""The source as data for the architecture test: modules, what they import, what they define."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path


@dataclass(frozen=True)
class Import:
    """One import, wherever it stands: also in a function or under TYPE_CHECKING.

    ``target`` is the full name, for ``from a.b import c`` it is ``a.b.c``.
    """

    target: str
    line: int


@dataclass(frozen=True)
class Module:
    """One parsed file; ``path`` is relative to the root, with slashes."""

    path: str
    source: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.source, self.path)

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """All of the tree; most rules look at every node, and walking takes longer than looking."""
        return tuple(ast.walk(self.tree))

    @cached_property
    def functions(self) -> tuple[Function, ...]:
        return tuple(_functions(self.tree, self.path, False))

    @property
    def is_package(self) -> bool:
        return self.path.endswith("/__init__.py")

    @cached_property
    def name(self) -> str:
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @property
    def package(self) -> str:
        """The package that relative imports start from."""
        return self.name if self.is_package else self.name.rpartition(".")[0]

    @cached_property
    def unit(self) -> str:
        """The row of the layer table: the package or module below the top one."""
        parts = self.name.split(".")
        return parts[1] if len(parts) > 1 else "__init__"

    @cached_property
    def imports(self) -> tuple[Import, ...]:
        return tuple(found for node in self.nodes for found in self._imports_of(node))

    def _imports_of(self, node: ast.AST) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = self._base_of(node)
            yield from (Import(f"{base}.{alias.name}", node.lineno) for alias in node.names)
        elif isinstance(node, ast.Call) and _name_of(node.func) == "import_module":
            texts = [word.value for word in node.args if isinstance(word, ast.Constant)]
            yield from (Import(text, node.lineno) for text in texts[:1] if isinstance(text, str))

    def _base_of(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        parts = self.package.split(".")
        kept = parts[: len(parts) - node.level + 1]
        return ".".join([*kept, node.module] if node.module else kept)


class SourceTree:
    """All modules by name."""

    def __init__(self, files: Mapping[str, str]) -> None:
        modules = [Module(path, source) for path, source in sorted(files.items())]
        self.modules = {module.name: module for module in modules}

    @classmethod
    def load(cls, root: Path, *tops: str) -> SourceTree:
        """Read every Python file below the top folders of ``root``."""
        paths = [path for top in tops for path in (root / top).rglob("*.py")]
        return cls({path.relative_to(root).as_posix(): path.read_text(encoding="utf-8") for path in paths})

    def __iter__(self) -> Iterator[Module]:
        return iter(self.modules.values())

    def below(self, *tops: str) -> list[Module]:
        """Return the modules of these packages."""
        return [module for module in self if is_below(module.name, *tops)]

    def resolve(self, target: str) -> str | None:
        """Return the module of ours that holds an imported name, None for foreign ones."""
        name = target
        while name:
            if name in self.modules:
                return name
            name = name.rpartition(".")[0]
        return None

    @cached_property
    def graph(self) -> dict[str, set[str]]:
        """Who imports whom, ours only."""
        edges: dict[str, set[str]] = {}
        for module in self:
            targets = {self.resolve(found.target) for found in module.imports}
            edges[module.name] = {target for target in targets if target and target != module.name}
        return edges


def is_below(name: str, *tops: str) -> bool:
    """Tell whether a dotted name is one of these or inside one of them."""
    return any(name == top or name.startswith(f"{top}.") for top in tops)


def is_foreign(target: str, library: str) -> bool:
    """Tell whether an import is of this library."""
    return is_below(target, library)


def is_stdlib(target: str) -> bool:
    """Tell whether an import is of the standard library."""
    return target.split(".")[0] in sys.stdlib_module_names


def _name_of(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def dotted(node: ast.expr) -> str:
    """Return ``a.b.c`` for such an expression, else an empty text."""
    if isinstance(node, ast.Attribute):
        base = dotted(node.value)
        return f"{base}.{node.attr}" if base else ""
    return node.id if isinstance(node, ast.Name) else ""


@dataclass(frozen=True)
class Function:
    """A function with the name of its classes and outer functions before its own."""

    where: str
    node: ast.FunctionDef | ast.AsyncFunctionDef
    is_method: bool


def functions(module: Module) -> Sequence[Function]:
    """Return every function of a module, nested ones too."""
    return module.functions


def _functions(node: ast.AST, where: str, is_in_class: bool) -> Iterator[Function]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            name = f"{where}::{child.name}"
            yield Function(name, child, is_in_class)
            yield from _functions(child, name, False)
        elif isinstance(child, ast.ClassDef):
            yield from _functions(child, f"{where}::{child.name}", True)
        else:
            yield from _functions(child, where, is_in_class)


def strongly_connected(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Return the groups of two and more that reach each other, sorted."""
    reach = {name: _reachable(graph, name) for name in graph}
    groups = {
        frozenset(other for other in reach[name] if name in reach[other])
        for name in graph
        if name in reach[name]
    }
    return sorted(sorted(group) for group in groups)


def _reachable(graph: Mapping[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    ahead = [start]
    while ahead:
        for target in graph.get(ahead.pop(), set()) - seen:
            seen.add(target)
            ahead.append(target)
    return seen
