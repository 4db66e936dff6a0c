"""Tables of the pages name what is in the code, so that a new key, command or limit cannot be forgotten."""

import re

import pytest

from reworker.cli.main import COMMANDS
from reworker.config import MQ_KEYS
from reworker.core.settings import KEYS
from reworker.fsm.control_parsing import APPROVAL_KEYS, RETRY_KEYS, WHEN_KEYS
from reworker.fsm.parsing import PLAYBOOK_KEYS
from reworker.fsm.playbook import OnUnknown
from reworker.fsm.sequence_parsing import SEQUENCE_KEYS, STRATEGY_KEYS
from reworker.fsm.step_parsing import CONTROL_KEYS
from reworker.jobs.job import Job
from reworker.jobs.settings import PROPERTIES
from reworker.messages import STATUSES, StepHeaders, headers_of_step
from reworker.testing.harness import Transcript
from reworker.topology import names
from reworker.topology.parsing import (
    BINDING_KEYS,
    CLIENT_KEYS,
    CORE_KEYS,
    EXCHANGE_KEYS,
    QUEUE_KEYS,
    SECTIONS,
    WORKER_KEYS,
)
from tests.docs.pages import PAGES, ROOT

DOCS = ROOT / "docs"
LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
TEST = re.compile(r"`([\w/]+\.py)::(\w+)`")
HEADERS = headers_of_step(StepHeaders(deadline_s=1.0, heartbeat_s=1.0, traceparent="x"))
QUEUES = (names.REPLY_QUEUE, names.OUTPUT_QUEUE, names.JOB_QUEUE, names.DEAD_QUEUE, names.CONTROL_EXCHANGE)


def public(kind):
    return [name for name in vars(kind) if not name.startswith("_")]


@pytest.mark.parametrize(
    ("page", "wanted"),
    [
        ("configuration.md", PROPERTIES),
        ("configuration.md", KEYS),
        ("configuration.md", sorted(MQ_KEYS)),
        ("configuration.md", ("ssl.ca", "ssl.cert", "ssl.key", "ssl.verify", "ssl.server_name")),
        ("configuration.md", (*SECTIONS, *EXCHANGE_KEYS, *QUEUE_KEYS, *BINDING_KEYS)),
        ("configuration.md", (*WORKER_KEYS, *CORE_KEYS, *CLIENT_KEYS)),
        ("playbooks.md", PLAYBOOK_KEYS),
        ("playbooks.md", SEQUENCE_KEYS),
        ("playbooks.md", STRATEGY_KEYS),
        ("playbooks.md", CONTROL_KEYS),
        ("playbooks.md", (*RETRY_KEYS, *WHEN_KEYS, *APPROVAL_KEYS)),
        ("playbooks.md", [str(one) for one in OnUnknown]),
        ("messages.md", sorted(STATUSES)),
        ("messages.md", sorted(HEADERS)),
        ("messages.md", QUEUES),
        ("testing.md", public(Transcript)),
    ],
)
def test_page_names_everything_that_there_is(page, wanted):
    text = (DOCS / page).read_text()
    assert [name for name in wanted if not re.search(rf"[`\"]{re.escape(name)}[`\" ,:]", text)] == []


def test_configuration_names_every_command():
    commands = (DOCS / "configuration.md").read_text().partition("## Commands")[2]
    assert [name for name in COMMANDS if f"`{name}" not in commands] == []


def test_tutorial_names_everything_that_a_job_can_do():
    text = (DOCS / "tutorial.md").read_text()
    assert [name for name in public(Job) if not re.search(rf"`job\.{name}\b", text)] == []


def test_architecture_names_every_dependency():
    text = (DOCS / "architecture.md").read_text().lower()
    setup = (ROOT / "setup.py").read_text()
    packages = re.findall(r"\"([A-Za-z-]+)(?:>=[^\"]*)?\"[,\]]", setup.partition("install_requires")[2])
    found = [one.lower() for one in packages if not one.startswith("pytest-")]
    assert len(found) > 10
    assert [one for one in found if one not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in LINK.findall(page.read_text()):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path) if path else page
        assert found.exists(), target
        assert not anchor or anchor in anchors_of(found.read_text()), target


@pytest.mark.parametrize(
    "title", ["Core", "Worker", "Tasks of code packages", "Messages", "Broker", "Database"]
)
def test_every_fault_of_the_matrix_has_a_test_that_is_there(title):
    section = (DOCS / "failure-matrix.md").read_text().partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")][2:]
    assert len(rows) > 5
    for row in rows:
        named = TEST.findall(row)
        assert named, row
        assert [name for file, name in named if not is_defined(file, name)] == []


def test_tests_that_the_words_of_the_matrix_name_are_there():
    named = TEST.findall((DOCS / "failure-matrix.md").read_text())
    assert [name for file, name in named if not is_defined(file, name)] == []


def test_figures_of_the_readme_are_those_of_the_page():
    section = (ROOT / "README.md").read_text().partition("\n## How fast\n")[2].partition("\n## ")[0]
    shown = [line for line in section.splitlines() if line.startswith(("|", "- "))]
    assert len(shown) > 5
    assert set(shown) <= set((DOCS / "benchmarks.md").read_text().splitlines()), "make bench wrote others"


def is_defined(file, name):
    path = ROOT / "tests" / file
    return path.exists() and f"\ndef {name}(" in path.read_text()


def anchors_of(text):
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
