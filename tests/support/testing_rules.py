"""What the tests themselves may not do."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.support.house_rules import Violation
from tests.support.source_tree import SourceTree, dotted, is_below

#: Modules that a test without a network and without processes has no use for.
OUTSIDE_WORLD = (
    "socket",
    "subprocess",
    "multiprocessing",
    "asyncio.subprocess",
    "http.client",
    "urllib.request",
)

#: Calls that replace a part of a module.
PATCHES = ("patch", "setattr", "delattr")

#: Globals that the plugins' suites of 2014 patch, so our compatibility test does too.
PATCHED_BY_OLD_SUITES = ("reworker.worker.pika", "reworker.worker.logging", "reworker.worker.Output")


def unit_tests_stay_inside(tree: SourceTree) -> Iterator[Violation]:
    """A unit test opens no socket, starts no process and does not sleep; nor does one of a whole core."""
    for module in tree.below("tests.unit", "tests.component"):
        for found in module.imports:
            if is_below(found.target, *OUTSIDE_WORLD):
                yield Violation(module.path, found.line, f"a unit test imports {found.target}")
        for node in module.nodes:
            if isinstance(node, ast.Call) and dotted(node.func) == "time.sleep":
                yield Violation(module.path, node.lineno, "a unit test sleeps")


def own_modules_are_not_patched(tree: SourceTree) -> Iterator[Violation]:
    """No test patches a module of ours; a seam is missing where one must.

    Three names in `reworker.worker` are there to be patched by old test suites.
    """
    for module in tree.below("tests"):
        for node in module.nodes:
            if not isinstance(node, ast.Call) or dotted(node.func).rpartition(".")[2] not in PATCHES:
                continue
            target = _text_of(node.args[0]) if node.args else ""
            is_ours = is_below(target, "reworker", "replugin")
            if is_ours and not is_below(target, *PATCHED_BY_OLD_SUITES):
                yield Violation(module.path, node.lineno, f"patches {target}")


def _text_of(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


TESTING_RULES = (unit_tests_stay_inside, own_modules_are_not_patched)
