"""How large things may be, what they may be called, and what no file may hold."""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator

from tests.support.house_rules import Violation
from tests.support.source_tree import Module, SourceTree, dotted, functions

MODULE_LINES = 400
INIT_LINES = 40
FUNCTION_LINES = 40
NESTING = 3
PARAMETERS = 7
PUBLIC_METHODS = 15

#: Names that say nothing about a role.
EMPTY_MODULE_NAMES = frozenset({"common", "helpers", "misc", "util"})
EMPTY_CLASS_ENDINGS = ("Manager", "Helper", "Handler", "Util", "Utils")

#: Reads of the clock; only `reworker/clock.py` may do that.
CLOCK_READS = frozenset(
    f"{base}.{name}"
    for base, names in {
        "time": "time monotonic perf_counter time_ns monotonic_ns perf_counter_ns",
        "datetime": "now utcnow today",
        "datetime.datetime": "now utcnow today",
        "date": "today",
    }.items()
    for name in names.split()
)

BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.TryStar, ast.Match)
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)

SILENCER = re.compile(r"#\s*(?:noqa(?::\s*[A-Z0-9]+(?:[,\s]+[A-Z]+[0-9]+)*)?|type:\s*ignore(?:\[[^\]]*\])?)")


def module_size(tree: SourceTree) -> Iterator[Violation]:
    """A module has at most 400 lines, an `__init__.py` 40; but a plugin's is its one module."""
    for module in tree:
        is_plugin = module.name.startswith("replugin.")
        limit = INIT_LINES if module.is_package and not is_plugin else MODULE_LINES
        count = len(module.source.splitlines())
        if count > limit:
            yield Violation(module.path, count, f"{count} lines; at most {limit}")


def function_size(tree: SourceTree) -> Iterator[Violation]:
    """A function has at most 40 lines of code; docstring, comments and blank lines do not count."""
    for module in tree:
        code = _code_lines(module.source)
        for function in functions(module):
            body = function.node.body
            if ast.get_docstring(function.node, clean=False) is not None:
                body = body[1:]
            if not body:
                continue
            count = len(code & set(range(body[0].lineno, (body[-1].end_lineno or 0) + 1)))
            if count > FUNCTION_LINES:
                line = function.node.lineno
                yield Violation(function.where, line, f"{count} lines of code; at most {FUNCTION_LINES}")


def _code_lines(source: str) -> set[int]:
    """Return the numbers of the lines that hold more than a comment."""
    nothing = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in nothing:
            lines.update(range(token.start[0], token.end[0] + 1))
    return lines


def nesting(tree: SourceTree) -> Iterator[Violation]:
    """Blocks stand at most three deep in a function; an `elif` is no deeper than its `if`."""
    for module in tree:
        for function in functions(module):
            depth = max((_depth(child) for child in function.node.body), default=0)
            if depth > NESTING:
                yield Violation(
                    function.where, function.node.lineno, f"nested {depth} deep; at most {NESTING}"
                )


def _depth(node: ast.AST) -> int:
    if isinstance(node, (*DEFINITIONS, ast.ClassDef)):
        return 0
    deepest = 0
    for child in ast.iter_child_nodes(node):
        is_elif = isinstance(node, ast.If) and node.orelse == [child] and isinstance(child, ast.If)
        deepest = max(deepest, _depth(child) - (1 if is_elif else 0))
    return deepest + isinstance(node, BLOCKS)


def parameters(tree: SourceTree) -> Iterator[Violation]:
    """A function takes at most seven parameters; self and cls do not count."""
    for module in tree:
        for function in functions(module):
            given = function.node.args
            named = [*given.posonlyargs, *given.args]
            is_bound = function.is_method and bool(named) and named[0].arg in {"self", "cls"}
            count = len(named) + len(given.kwonlyargs) - is_bound + bool(given.vararg) + bool(given.kwarg)
            if count > PARAMETERS:
                yield Violation(
                    function.where, function.node.lineno, f"{count} parameters; at most {PARAMETERS}"
                )


def public_methods(tree: SourceTree) -> Iterator[Violation]:
    """A class has at most 15 public methods and properties."""
    for module in tree:
        for node in module.nodes:
            if not isinstance(node, ast.ClassDef):
                continue
            defined = [
                child for child in node.body if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            ]
            count = len({child.name for child in defined if not child.name.startswith("_")})
            if count > PUBLIC_METHODS:
                where = f"{module.path}::{node.name}"
                yield Violation(where, node.lineno, f"{count} public methods; at most {PUBLIC_METHODS}")


def names(tree: SourceTree) -> Iterator[Violation]:
    """No module is called like a standard one or says nothing; classes are named for their role."""
    for module in tree:
        stem = module.name.rpartition(".")[2]
        if not module.is_package and stem in sys.stdlib_module_names:
            yield Violation(module.path, 1, f"called like the standard module {stem}")
        if stem in EMPTY_MODULE_NAMES:
            yield Violation(module.path, 1, f"the name {stem} says nothing")
        for node in module.nodes:
            if isinstance(node, ast.ClassDef) and node.name.endswith(EMPTY_CLASS_ENDINGS):
                yield Violation(f"{module.path}::{node.name}", node.lineno, "name the role instead")


def docstrings(tree: SourceTree) -> Iterator[Violation]:
    """Every module that is not private says what it is.

    But `replugin/__init__.py` is empty: other packages bring the same file.
    """
    for module in tree:
        if module.name == "replugin":
            if module.source.strip():
                yield Violation(module.path, 1, "must be empty: other packages bring the same file")
            continue
        is_private = module.name.rpartition(".")[2].startswith("_") and not module.name.endswith("__main__")
        if not is_private and not ast.get_docstring(module.tree):
            yield Violation(module.path, 1, "no docstring")


def environment_reads(tree: SourceTree) -> Iterator[Violation]:
    """Nothing reads the environment when it is imported."""
    for module in tree:
        for node in _run_at_import(module.tree):
            if isinstance(node, ast.Attribute | ast.Name) and _is_environment(module, dotted(node)):
                yield Violation(module.path, node.lineno, f"reads {dotted(node)} at import")


def _is_environment(module: Module, name: str) -> bool:
    if name in {"os.environ", "os.getenv", "os.environb"}:
        return True
    is_imported = any(found.target in {"os.environ", "os.getenv"} for found in module.imports)
    return is_imported and name in {"environ", "getenv"}


def _run_at_import(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes that importing runs: no function bodies, but their defaults and decorators."""
    yield node
    if isinstance(node, ast.Lambda):
        children: list[ast.AST] = [node.args]
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        children = [node.args, *node.decorator_list]
    else:
        children = list(ast.iter_child_nodes(node))
    for child in children:
        yield from _run_at_import(child)


def module_state(tree: SourceTree) -> Iterator[Violation]:
    """No function rebinds a module's name: the wiring owns all state."""
    for module in tree:
        for node in module.nodes:
            if isinstance(node, ast.Global):
                yield Violation(module.path, node.lineno, f"global {', '.join(node.names)}")


def clock_reads(tree: SourceTree) -> Iterator[Violation]:
    """Only reworker.clock reads the time."""
    for module in tree.below("reworker"):
        if module.name == "reworker.clock":
            continue
        for node in module.nodes:
            if isinstance(node, ast.Attribute) and dotted(node) in CLOCK_READS:
                yield Violation(module.path, node.lineno, f"{dotted(node)}: take a Clock instead")


def silencers(tree: SourceTree) -> Iterator[Violation]:
    """A silenced check has its reason beside it."""
    for module in tree:
        for token in tokenize.generate_tokens(io.StringIO(module.source).readline):
            if token.type != tokenize.COMMENT or not SILENCER.search(token.string):
                continue
            reason = SILENCER.sub("", token.string)
            if sum(char.isalpha() for char in reason) < 8:
                yield Violation(module.path, token.start[0], f"no reason beside {token.string!r}")


STYLE_RULES = (
    module_size,
    function_size,
    nesting,
    parameters,
    public_methods,
    names,
    docstrings,
    environment_reads,
    module_state,
    clock_reads,
    silencers,
)
