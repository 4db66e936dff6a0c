"""The house's rules, enforced; and for each rule, that it catches what it forbids.

The rules are in `tests/support/house_rules.py` (imports), `style_rules.py`
(sizes, names, texts in the code) and `repository_text.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from tests.support import repository_text, style_rules
from tests.support.house_rules import IMPORT_RULES, LISTED, Violation
from tests.support.source_tree import SourceTree
from tests.support.style_rules import STYLE_RULES
from tests.support.testing_rules import TESTING_RULES

ROOT = Path(__file__).parent.parent

Rule = Callable[[SourceTree], Iterable[Violation]]

#: Rules that hold for the tests: their own, and those of size and text.
TEST_RULES = (
    *TESTING_RULES,
    style_rules.module_size,
    style_rules.function_size,
    style_rules.nesting,
    style_rules.parameters,
    style_rules.silencers,
)

PROJECT_RULES = (*IMPORT_RULES, *STYLE_RULES)
ALL_RULES = (*PROJECT_RULES, *TESTING_RULES)

#: (rule, path or path::name) -> why this one may break it. Kept as short as it is.
EXCEPTIONS: dict[tuple[str, str], str] = {}


@pytest.fixture(scope="module")
def project() -> SourceTree:
    return SourceTree.load(ROOT, "reworker", "replugin")


@pytest.fixture(scope="module")
def tests_tree() -> SourceTree:
    return SourceTree.load(ROOT, "tests")


def unexcused(rule: Rule, tree: SourceTree) -> list[str]:
    return [str(found) for found in rule(tree) if (rule.__name__, found.where) not in EXCEPTIONS]


@pytest.mark.parametrize("rule", PROJECT_RULES, ids=lambda rule: rule.__name__)
def test_project_keeps_the_rule_when_read(rule: Rule, project: SourceTree) -> None:
    assert unexcused(rule, project) == [], rule.__doc__


@pytest.mark.parametrize("rule", TEST_RULES, ids=lambda rule: rule.__name__)
def test_tests_keep_the_rule_when_read(rule: Rule, tests_tree: SourceTree) -> None:
    assert unexcused(rule, tests_tree) == [], rule.__doc__


def test_exceptions_have_a_reason_and_are_needed_when_listed(
    project: SourceTree, tests_tree: SourceTree
) -> None:
    excused = {name for name, _ in EXCEPTIONS}  # of the others, no finding would change anything below
    needed = {
        (rule.__name__, found.where)
        for tree in (project, tests_tree)
        for rule in ALL_RULES
        if rule.__name__ in excused
        for found in rule(tree)
    }
    unknown = excused - {rule.__name__ for rule in ALL_RULES}
    assert not unknown, f"no rule is called so: {unknown}"
    assert set(EXCEPTIONS) <= needed
    assert all(len(reason.split()) > 3 for reason in [*EXCEPTIONS.values(), *LISTED.values()])


def test_repository_names_no_machine_and_no_registry_when_read() -> None:
    found = [
        str(violation)
        for path, text in repository_text.texts(ROOT)
        for violation in repository_text.forbidden_text(path, text)
    ]
    assert found == []


# From here on: each rule catches a violation. (rule, files, part of the complaint)

LONG_BODY = "def f():\n    '''Doc.'''\n" + "    x = 1\n" * 41
DEEP = (
    "def f(a):\n    for b in a:\n"
    "        if b:\n            with b:\n                if b:\n                    pass\n"
)
MANY_METHODS = "class A:\n" + "".join(f"    def m{index}(self): ...\n" for index in range(16))

CAUGHT: dict[str, list[tuple[dict[str, str], str]]] = {
    "unknown_unit": [({"reworker/extra.py": ""}, "extra has no layer: add it to the table")],
    "layers": [
        ({"reworker/errors.py": "import reworker.config", "reworker/config.py": ""}, "up: reworker.config"),
        (
            {"reworker/output.py": "from reworker import notify", "reworker/notify.py": ""},
            "sideways: reworker.notify",
        ),
        ({"reworker/bus/a.py": "from ..worker import W", "reworker/worker.py": ""}, "up: reworker.worker"),
        (
            {
                "reworker/ids.py": "def f():\n    from reworker.logs import g",
                "reworker/logs.py": "",
            },
            "up: reworker.logs",
        ),
        (
            {
                "reworker/topology/a.py": "from reworker.bus.memory import B",
                "reworker/bus/memory.py": "",
            },
            "sideways: reworker.bus.memory",
        ),
        (
            {
                "reworker/bus/a.py": "import importlib\nimportlib.import_module('reworker.cli')",
                "reworker/cli/__init__.py": "",
            },
            "up: reworker.cli",
        ),
    ],
    "narrow_units": [
        ({"reworker/core/a.py": "import reworker.worker", "reworker/worker.py": ""}, "core may not import"),
        (
            {"reworker/broker/a.py": "import reworker.topology.plan", "reworker/topology/plan.py": ""},
            "broker may not import reworker.topology.plan",
        ),
    ],
    "closed_units": [
        (
            {"reworker/runner.py": "from reworker.broker.server import B", "reworker/broker/server.py": ""},
            "reworker.runner may not import reworker.broker.server",
        ),
        (
            {"reworker/cli/a.py": "from reworker import testing", "reworker/testing/__init__.py": ""},
            "reworker.cli.a may not import reworker.testing",
        ),
        (
            {"replugin/cli/a.py": "import reworker.broker", "reworker/broker/__init__.py": ""},
            "replugin.cli.a may not import reworker.broker",
        ),
    ],
    "no_cycles": [
        (
            {
                "reworker/bus/a.py": "from .b import B",
                "reworker/bus/b.py": "from .c import C",
                "reworker/bus/c.py": (
                    "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from reworker.bus import a"
                ),
            },
            "reworker.bus.a, reworker.bus.b, reworker.bus.c",
        ),
        (
            {"reworker/bus/__init__.py": "from .a import A", "reworker/bus/a.py": "from . import B"},
            "reworker.bus, reworker.bus.a",
        ),
    ],
    "libraries": [
        ({"reworker/core/a.py": "import pika"}, "pika may only"),
        ({"reworker/broker/server.py": "from pika import spec"}, "pika.spec may only"),
        (
            {"reworker/cli/a.py": "def f():\n    from sqlalchemy.engine import E"},
            "sqlalchemy.engine.E may only",
        ),
        ({"reworker/core/a.py": "import starlette.routing"}, "starlette.routing may only"),
        ({"replugin/xworker/__init__.py": "import pika"}, "pika may only"),
    ],
    "worker_names_pika": [({"reworker/worker.py": "import pika\npika.spec.Basic.Ack()"}, "uses pika.spec")],
    "pure_fsm": [
        ({"reworker/fsm/a.py": "import time"}, "may not import time"),
        ({"reworker/fsm/a.py": "from os import path"}, "may not import os.path"),
        ({"reworker/fsm/machine.py": "import yaml"}, "may not import yaml"),
        (
            {"reworker/fsm/a.py": "import reworker.clock", "reworker/clock.py": ""},
            "may not import reworker.clock",
        ),
        ({"reworker/fsm/a.py": "open('x')"}, "may not call open"),
    ],
    "plugin_api": [
        (
            {"replugin/xworker/__init__.py": "from reworker.bus import B", "reworker/bus/__init__.py": ""},
            "a plugin may not import reworker.bus",
        ),
        (
            {
                "replugin/xworker/__init__.py": "import reworker.codes",
                "replugin/yworker/__init__.py": "import reworker.codes",
                "reworker/codes/__init__.py": "",
            },
            "only one plugin",
        ),
    ],
    "module_size": [
        ({"reworker/a.py": "x = 1\n" * 401}, "401 lines"),
        ({"reworker/bus/__init__.py": "x = 1\n" * 41}, "41 lines"),
    ],
    "function_size": [
        ({"reworker/a.py": LONG_BODY}, "41 lines of code"),
        (
            {"reworker/a.py": "class A:\n    async def f(self):\n" + "        x = 1\n" * 41},
            "41 lines of code",
        ),
    ],
    "nesting": [({"reworker/a.py": DEEP}, "nested 4 deep")],
    "parameters": [
        ({"reworker/a.py": "def f(a, b, c, d, *, e, f, g, h): ..."}, "8 parameters"),
        ({"reworker/a.py": "class A:\n    def f(self, a, b, c, d, e, f, *g, **h): ..."}, "8 parameters"),
    ],
    "public_methods": [({"reworker/a.py": MANY_METHODS}, "16 public methods")],
    "names": [
        ({"reworker/bus/queue.py": ""}, "standard module queue"),
        ({"reworker/bus/common.py": ""}, "says nothing"),
        ({"reworker/a.py": "class QueueManager: ..."}, "name the role"),
    ],
    "docstrings": [
        ({"reworker/a.py": "x = 1"}, "no docstring"),
        ({"reworker/__main__.py": ""}, "no docstring"),
        ({"replugin/__init__.py": "x = 1"}, "must be empty"),
    ],
    "environment_reads": [
        ({"reworker/a.py": "import os\nX = os.environ['X']"}, "reads os.environ"),
        ({"reworker/a.py": "from os import getenv\nX = getenv('X')"}, "reads getenv"),
        ({"reworker/a.py": "import os\ndef f(x=os.getenv('X')): ..."}, "reads os.getenv"),
        ({"reworker/a.py": "import os\nclass A:\n    x = os.environ.get('X')"}, "reads os.environ"),
    ],
    "module_state": [({"reworker/a.py": "def f():\n    global x\n    x = 1"}, "global x")],
    "clock_reads": [
        ({"reworker/a.py": "import time\ndef f():\n    return time.monotonic()"}, "time.monotonic"),
        ({"reworker/a.py": "from datetime import datetime\nx = datetime.now()"}, "datetime.now"),
        ({"reworker/a.py": "def f(read=time.time): ..."}, "time.time"),
    ],
    "silencers": [
        ({"reworker/a.py": "x = 1  # no" + "qa: E501"}, "no reason"),
        ({"reworker/a.py": "x = 1  # type: " + "ignore[attr-defined]"}, "no reason"),
    ],
    "unit_tests_stay_inside": [
        ({"tests/unit/test_a.py": "from socket import socket"}, "imports socket.socket"),
        ({"tests/unit/test_a.py": "def test_a():\n    time.sleep(1)"}, "sleeps"),
    ],
    "own_modules_are_not_patched": [
        (
            {"tests/test_a.py": "@mock.patch('reworker.ids.new_id')\ndef test_a(m): ..."},
            "patches reworker.ids",
        ),
        ({"tests/test_a.py": "monkeypatch.setattr('replugin.aworker.x', 1)"}, "patches replugin.aworker.x"),
    ],
}


def caught_cases() -> list[object]:
    rules = {rule.__name__: rule for rule in ALL_RULES}
    return [
        pytest.param(rules[name], files, text, id=f"{name}-{text.replace(' ', '_')}")
        for name, cases in CAUGHT.items()
        for files, text in cases
    ]


@pytest.mark.parametrize(("rule", "files", "text"), caught_cases())
def test_rule_catches_the_violation_when_there_is_one(rule: Rule, files: dict[str, str], text: str) -> None:
    complaints = [str(found) for found in rule(SourceTree(files))]
    assert any(text in complaint for complaint in complaints), complaints


def test_every_rule_has_a_violation_to_catch_when_added() -> None:
    assert set(CAUGHT) == {rule.__name__ for rule in ALL_RULES}


#: What all rules let pass: close to the edge, on the right side of it.
RIGHT = {
    "reworker/__init__.py": "'''Doc.'''\n__version__ = '1'",
    "reworker/errors.py": "'''Doc.'''",
    "reworker/clock.py": "'''Doc.'''\nimport time\ndef now():\n    return time.time()",
    "reworker/bus/_private.py": "",
    "replugin/__init__.py": "",
    "reworker/bus/contract.py": "'''Doc.'''\nimport pika\nfrom .. import errors",
    "reworker/topology/names.py": "'''Doc.'''\nfrom reworker.bus.contract import B",
    "reworker/broker/codec.py": "'''Doc.'''\nimport pika.spec\nfrom reworker.topology import names",
    "reworker/fsm/playbook.py": "'''Doc.'''\nimport yaml, re\nfrom reworker.errors import E",
    "reworker/storage/sql.py": "'''Doc.'''\nimport sqlalchemy",
    "reworker/worker.py": "'''Doc.'''\nimport pika\ndef runner(cls):\n    from reworker.runner import runner",
    "reworker/runner.py": "'''Doc.'''\nimport os\ndef f():\n    return os.environ['X']",
    "reworker/codes/__init__.py": "'''Doc.'''",
    "reworker/cli/main.py": "'''Doc.'''\nfrom reworker.broker import codec\nfrom reworker import __version__",
    "reworker/logs.py": "'''Doc.'''\n"
    + LONG_BODY.replace("    x = 1\n", "", 1).replace("    x", "    # no code\n\n    x", 1),
    "reworker/ids.py": "'''Doc.'''\nclass A:\n    def f(self, a, b, c, d, e, f, g): ...",
    "reworker/backoff.py": "'''Doc.'''\ndef f(a):\n    for b in a:\n        if b:\n            ...\n"
    "        elif a:\n"
    "            ...\n        elif f:\n            with a:\n                ...",
    "replugin/aworker/__init__.py": "'''Doc.'''\nfrom reworker.worker import W\nimport reworker.codes",
    "tests/unit/test_a.py": "'''Doc.'''\nmock.patch('reworker.worker.pika.SelectConnection')",
    "tests/integration/test_a.py": "'''Doc.'''\nimport socket",
    "reworker/config.py": "'''Doc.'''\nx = f()  # no" + "qa: F821  the name is injected by the loader",
}


@pytest.mark.parametrize("rule", ALL_RULES, ids=lambda rule: rule.__name__)
def test_rule_is_silent_when_all_is_right(rule: Rule) -> None:
    assert [str(found) for found in rule(SourceTree(RIGHT))] == []


SLASH = "/"


@pytest.mark.parametrize(
    "text",
    [
        f"cd {SLASH}work{SLASH}main",
        f"'{SLASH}work'",
        f"see shared{SLASH}design",
        f"{SLASH}home{SLASH}someone{SLASH}x",
        "https://py" + "pi.org/simple",
        "http://deb.deb" + "ian.org/x",
        "# TO" + "DO later",
    ],
)
def test_repository_rule_catches_the_text_when_a_file_says_it(text: str) -> None:
    found = list(repository_text.forbidden_text("a.txt", f"first\n{text}\n"))
    assert [violation.line for violation in found] == [2]


@pytest.mark.parametrize(
    "text", ["/api/v0/worker", "reworker/worker.py", "a /workers route", "~/homework", "at work"]
)
def test_repository_rule_is_silent_when_the_text_is_harmless(text: str) -> None:
    assert list(repository_text.forbidden_text("a.txt", text)) == []
